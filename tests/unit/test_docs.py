"""The pages are complete: links lead somewhere; every option and setting is described, in both languages."""

import argparse
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from chestfold.cli.experiment import _format, _parser
from chestfold.cli.main import create_parser
from chestfold.core.config import Experiment, field_types, settings_of

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted({*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("[is]*/README*.md")})


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.strip().replace(" ", "-") for title in kept}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One & two\n[a](missing.md) [b](#three) [c](#one--two) [d](page.md#one--two)\n")
    assert broken_links(page) == ["missing.md", "#three"]


def test_the_readme_is_short():
    assert len((CHECKOUT / "README.md").read_bytes()) <= 10_000


def test_the_readme_begins_with_the_link_to_the_japanese_one():
    assert "(README.ja.md)" in (CHECKOUT / "README.md").read_text().split("\n\n")[1]


def rows(page: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of all tables of a page."""
    found = {}
    for line in (CHECKOUT / page).read_text().splitlines():
        if line.startswith("| `"):
            first, *others = [cell.strip() for cell in line.strip("|").split(" | ")]
            found[first.strip("` ")] = others
    return found


@pytest.mark.parametrize("page", ["docs/reference/settings.md", "docs/ja/reference/settings.md"])
def test_every_setting_is_described_with_its_choices_and_its_default(page):
    described = rows(page)
    assert list(described) == [field.name for field in settings_of(Experiment)]
    defaults = Experiment().to_dict()
    for name, kind in field_types().items():
        values, default, meaning = described[name]
        if get_origin(kind) is Literal:
            assert values == ", ".join(f"`{choice}`" for choice in get_args(kind)), name
        assert default == (f"`{_format(defaults[name])}`" if defaults[name] != "" else "-"), name
        assert meaning.strip(), name


def test_the_english_settings_say_what_the_help_says():
    described = rows("docs/reference/settings.md")
    for field in settings_of(Experiment):
        assert described[field.name][2].rstrip("| ") == field.metadata["help"].replace("<name>", "NAME"), field.name


def options_of(parser: Any, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Words of a command -> its options, without --help."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        return {words: {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}}
    found: dict[tuple[str, ...], set[str]] = {}
    for name, inner in nested[0].choices.items():
        found |= options_of(inner, (*words, name))
    return found


@pytest.mark.parametrize("page", ["docs/reference/commands.md", "docs/ja/reference/commands.md"])
def test_every_command_is_described_with_its_options(page):
    described = rows(page)
    for words, options in options_of(create_parser()).items():
        command = " ".join(["chestfold", *words])
        line = next(
            (f"{first} {others}" for first, others in described.items() if f"{first} ".startswith(f"{command} ")), ""
        )
        assert line, f"{command} is not in {page}"
        missing = {option for option in options if not re.search(rf"{option}\b", line)}
        assert missing == set(), command


@pytest.mark.parametrize("page", ["docs/reference/commands.md", "docs/ja/reference/commands.md"])
def test_every_option_of_an_experiment_is_described(page):
    actions = _parser(Experiment(), Path("exp000.py"))._actions
    options = {option for action in actions for option in action.option_strings if option.startswith("--")}
    settings = {f"--{name.replace('_', '-')}" for name in field_types()}
    described = {row.split()[0] for row in rows(page) if row.startswith("--")}
    assert described == options - settings - {"--help"}
