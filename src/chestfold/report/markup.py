"""HTML and SVG out of nested calls. Every text passes through one door, `text`: escaped, and nothing given away."""

import os
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from typing import Any

_VOID = {"meta", "img", "input"}
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_KEY = re.compile(r"\b(hf_|KGAT_|wandb_v1_|sk-|ghp_|github_pat_)\w{16,}")
_PATH = re.compile(r"(?<![\w.+=/\\-])(?:~|[A-Za-z]:|/[\w.@+~-]+)(?:[\\/]+[\w.@+~-]+)+[\\/]?|(?<![\w.+=/\\-])/root\b")
"""Absolute: with two parts or more, on either system; a home folder is one."""
_SHORTEST_SECRET = 8
"""Characters; a shorter value of such a variable is no key, and might be a word of the page."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A value as text of the page, or of an attribute: escaped, without keys and folders of this machine."""
    return value if isinstance(value, Html) else Html(escape(discreet(str(value))))


def discreet(words: str) -> str:
    """`words` without the keys of this environment, without what looks like a key, and without absolute paths."""
    for secret in _secrets():
        words = words.replace(secret, "(hidden)")
    return _PATH.sub("(path)", _KEY.sub("(hidden)", words))


@cache
def _secrets() -> list[str]:
    """Values of the variables that sound like keys, the longest first: one may be a part of another."""
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    return sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element. `class_` and `data_sort` become `class` and `data-sort`; an attribute that is None is left out."""
    words = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(children)}</{name}>")


def _attribute(key: str, value: Any) -> str:
    return f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'


def join(parts: Iterable[Any], between: str = "") -> Html:
    """Parts one after the other, each escaped unless it is markup."""
    return Html(between.join(text(part) for part in parts))


def table(head: Iterable[Any], rows: Iterable[Iterable[Any]], class_: str | None = None, label: str = "") -> Html:
    """A table in a box that scrolls where the table is wider than the page. Cells are texts, or ready `td`s and `th`s.

    `label` is for a wide table: it names the box, which the keyboard can then enter and scroll.
    """
    top = tag("thead", tag("tr", *[_cell("th", cell, scope="col") for cell in head]))
    body = tag("tbody", *[tag("tr", *[_cell("td", cell) for cell in row]) for row in rows])
    entered = {"tabindex": "0", "role": "region", "aria_label": label} if label else {}
    return tag("div", tag("table", top, body, class_=class_), class_="scroll", **entered)


def _cell(name: str, content: Any, **attributes: Any) -> Html:
    ready = isinstance(content, Html) and content.startswith(("<td", "<th"))
    return content if ready else tag(name, content, **attributes)
