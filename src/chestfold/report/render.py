"""HTML pages from the templates of this package: one file each, which loads nothing and runs no script but its own.

Every value that a template shows is escaped, and gives away no key and no folder of this machine.
"""

import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from chestfold.evaluate.leaderboard import format_value
from chestfold.report.charts import Axes, series, short_count, ticks

_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_KEY = re.compile(r"\b(hf_|KGAT_|wandb_v1_|sk-|ghp_|github_pat_)\w{16,}")
_PATH = re.compile(r"(?<![\w.+=/\\-])(?:~|[A-Za-z]:|/[\w.@+~-]+)(?:[\\/]+[\w.@+~-]+)+[\\/]?|(?<![\w.+=/\\-])/root\b")
"""Absolute paths of two parts or more, on any system; a home folder is one."""
_SHORTEST_SECRET = 8
"""Characters; a shorter value of such a variable is no key, and might be a word of the page."""


@dataclass(frozen=True)
class Table:
    """What the macro `table` shows. From column number `figures_from` on the texts are scores with intervals."""

    title: str
    head: list[str]
    rows: list[list[str]]
    figures_from: int
    note: str = ""


def render(template: str, styles: Sequence[str], script: str = "", **values: Any) -> str:
    """The page that `template` makes of `values`, with style sheets and perhaps a script of this package in it."""
    code = _asset(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    style = "".join(_asset(name) for name in styles)
    page = _environment().get_template(template)
    return page.render(script=code, script_sha256=digest, style=style, **values)


def _asset(name: str) -> str:
    return files("chestfold.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("chestfold.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"Axes": Axes, "ticks": ticks}
    environment.filters |= {"series": series, "setting": format_value, "short_count": short_count}
    return environment


def _shown(value: Any) -> Any:
    """What is shown of a value. Markup was made of values that have been here already."""
    if hasattr(value, "__html__"):
        return value
    return f"{value:.10g}" if isinstance(value, float) else hide_secrets(str(value))


def hide_secrets(text: str) -> str:
    """`text` without the keys of this environment, without what looks like a key, and without absolute paths."""
    for secret in _secrets():
        text = text.replace(secret, "(hidden)")
    return _PATH.sub("(path)", _KEY.sub("(hidden)", text))


@cache
def _secrets() -> list[str]:
    """Values of the environment variables named like keys, the longest first: one may be a part of another."""
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    return sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)
