"""What no page and no log gives away: keys, and folders of this machine."""

import os
import re
from collections.abc import Sequence
from functools import cache

_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_KEY = re.compile(r"\b(hf_|KGAT_|wandb_v1_|sk-|ghp_|github_pat_)\w{16,}")
_PATH = re.compile(r"(?<![\w.+=/\\-])(?:~|[A-Za-z]:|/[\w.@+~-]+)(?:[\\/]+[\w.@+~-]+)+[\\/]?|(?<![\w.+=/\\-])/root\b")
"""Absolute paths of two parts or more, on any system; a home folder is one."""
_SHORTEST_SECRET = 8
"""Characters; a shorter value of such a variable is no key, and might be a word of the page."""


def hide_secrets(text: str, others: Sequence[str] = ()) -> str:
    """`text` without keys and without absolute paths.

    Keys are those of this environment, `others` that are known, and what looks like one.
    """
    for secret in (*_secrets(), *others):
        text = text.replace(secret, "(hidden)")
    return _PATH.sub("(path)", _KEY.sub("(hidden)", text))


@cache
def _secrets() -> list[str]:
    """Values of the environment variables named like keys, the longest first: one may be a part of another."""
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    return sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
