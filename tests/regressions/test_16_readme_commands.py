"""Bug: the README showed commands and options that the program did not have.

Here every command in the READMEs and in docs/ is held against the real parsers, without being run, and the English and
the Japanese page show the same ones.
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from chestfold.cli.experiment import read_command
from chestfold.cli.main import create_parser
from chestfold.core import hooks
from chestfold.core.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"(\w+=\S* +)*(\.venv/bin/)?(chestfold|make|python +\S+\.py|torchrun)( |$)")
JAPANESE = Path("docs/ja")


def all_pages() -> list[str]:
    """Every page with commands: the READMEs, docs/, CONTRIBUTING and the pages of input/ and submissions/."""
    found = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("[is]*/README*.md")]
    made_from_results = CHECKOUT / "RESULTS.md"
    return sorted(str(path.relative_to(CHECKOUT)) for path in found if path != made_from_results)


def pairs() -> list[tuple[str, str]]:
    """English pages with their Japanese ones."""
    english = [Path(page) for page in all_pages() if page.startswith("docs/") and not page.startswith("docs/ja/")]
    of_docs = [(str(page), str(JAPANESE / page.relative_to("docs"))) for page in english]
    return [("README.md", "README.ja.md"), ("input/README.md", "input/README.ja.md"), *of_docs]


PAGES = all_pages()


def code_blocks(page: str) -> list[str]:
    """The commands in a page's code blocks, without comments, prompts and variables."""
    assert (CHECKOUT / page).exists(), f"{page} is missing"
    found: list[str] = []
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", (CHECKOUT / page).read_text(), re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            found += [part.strip().removeprefix("$ ").removeprefix("!") for part in re.split(r"&&|;|\|", line)]
    return [plain(text) for text in found if COMMAND.match(text)]


def inline_code(page: str) -> list[str]:
    """The commands in the text, between single backticks."""
    text = re.sub(r"^```.*?^```", "", (CHECKOUT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    spans = [span.split("|")[0] for span in re.findall(r"`([^`\n]+)`", text)]
    return [plain(span) for span in spans if COMMAND.match(span)]


def plain(command: str) -> str:
    words = shlex.split(command, comments=True)
    while "=" in words[0]:
        words.pop(0)
    return shlex.join([words[0].removeprefix(".venv/bin/"), *words[1:]])


def complaint(command: str) -> str:
    """What the program would say against a command; empty when it would run it."""
    program, *words = shlex.split(command)
    try:
        if program == "make":
            return unknown_target([w for w in words if "=" not in w])
        if program == "chestfold":
            create_parser().parse(words)
        else:
            script = next(n for n, word in enumerate(words) if word.endswith(".py"))
            return script_complaint(Path(words[script]), words[script + 1 :])
    except InputError as error:
        return str(error)
    except SystemExit as stop:  # --help
        return "" if stop.code in (0, None) else f"exit code {stop.code}"
    return ""


def unknown_target(words: list[str]) -> str:
    targets = set(re.findall(r"^([a-z]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    return "" if set(words) <= targets else f"no such target: {sorted(set(words) - targets)}"


def script_complaint(path: Path, words: list[str]) -> str:
    if not (CHECKOUT / path).exists():
        return f"no such file: {path}"
    if path.parts[0] == "exps":
        spec = importlib.util.spec_from_file_location(path.stem, CHECKOUT / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        read_command(module.EXP, words, CHECKOUT / path)
    return ""


@pytest.fixture(autouse=True)
def _experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT / "exps"))
    monkeypatch.setattr(hooks, "load_own", lambda name: None)  # an option that runs a file, as soon as it is read
    monkeypatch.setattr(hooks, "trust", lambda: None)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_code_block_would_run(page, capsys):
    assert {c: complaint(c) for c in code_blocks(page) if complaint(c)} == {}


@pytest.mark.parametrize("page", ["README.md", "README.ja.md"])
def test_the_readmes_show_every_kind_of_command(page):
    for kind in ("make demo", "chestfold ", "python exps/"):
        assert any(c.startswith(kind) for c in code_blocks(page)), f"no line with {kind!r} was found in {page}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_text_is_known(page, capsys):
    """A command may be named there without what it needs: `chestfold ensemble`."""
    said = {c: complaint(c) for c in inline_code(page)}
    assert {c: text for c, text in said.items() if text and "are required" not in text} == {}


@pytest.mark.parametrize(("english", "japanese"), pairs())
def test_both_languages_show_the_same_commands(english, japanese):
    assert code_blocks(english) == code_blocks(japanese)
    assert set(inline_code(english)) == set(inline_code(japanese))


def test_every_japanese_page_has_an_english_one():
    japanese = {page for page in PAGES if ".ja." in page or page.startswith("docs/ja/")}
    assert japanese == {page for _, page in pairs()}


@pytest.mark.parametrize(
    "command",
    ["chestfold fly", "chestfold board --best", "make cake", "python exps/exp999.py", "python exps/exp000.py --lrr 1"],
)
def test_an_invented_command_is_noticed(command):
    assert complaint(command)
