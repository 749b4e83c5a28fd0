"""A model card of a result: one page to print, in English, Japanese or both. What is not known, it says is not known.

The texts are in card.toml, their order is in card.html; `facts` is what they are filled with.
"""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from chestfold.core.console import waiting
from chestfold.core.files import require_file, write_text
from chestfold.core.hide import hide_secrets
from chestfold.core.provenance import today
from chestfold.evaluate.results import find_result
from chestfold.report.card.facts import Facts, gather
from chestfold.report.card.words import Words, asset

LANGUAGES = {"en": ["en"], "ja": ["ja"], "both": ["en", "ja"]}


def card(facts: Facts, language: str) -> str:
    """The page as text; `language` is a key of `LANGUAGES`."""
    pages = [Words(code) for code in LANGUAGES[language]]
    about = {"name": facts.result.name, "version": version("chestfold"), "date": today()}
    page = _environment().from_string(asset("card.html"))
    return page.render(style=asset("card.css"), pages=pages, facts=facts, **about)


@cache
def _environment() -> Environment:
    """Every value that the template shows is escaped, and gives away no key and no folder of this machine."""
    options: dict[str, Any] = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    return Environment(undefined=StrictUndefined, finalize=_shown, **options)


def _shown(value: Any) -> Any:
    """What is shown of a value. Markup was made of values that have been here already."""
    return value if hasattr(value, "__html__") else hide_secrets(str(value))


def write_card(name: str, language: str, path: Path) -> None:
    """Write the card of the result `name`.

    Raises:
        InputError: there is no such result, it is damaged, or `path` cannot be a file.
    """
    require_file(path)
    result = find_result(name)
    with waiting("counting images"):
        facts = gather(result)
    write_text(path, card(facts, language))
