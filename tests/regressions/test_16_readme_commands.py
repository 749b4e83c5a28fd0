"""Bug: the README showed commands and options that the program did not have.

Here every command in both READMEs is held against the real parsers, without being run, and the two show the same ones.
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from chestfold.cli import main
from chestfold.cli.experiment import read_command
from chestfold.core.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "README.ja.md")
COMMAND = re.compile(r"(\w+=\S* +)*(\.venv/bin/)?(chestfold|make|python +\S+\.py|torchrun)( |$)")


def code_blocks(page: str) -> list[str]:
    """The commands in a page's code blocks, without comments, prompts and variables."""
    assert (CHECKOUT / page).exists(), f"{page} is missing"
    found: list[str] = []
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", (CHECKOUT / page).read_text(), re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            found += [part.strip().removeprefix("$ ") for part in re.split(r"&&|;|\|", line)]
    return [plain(text) for text in found if COMMAND.match(text)]


def inline_code(page: str) -> list[str]:
    """The commands that stand in the text between single backticks."""
    text = re.sub(r"^```.*?^```", "", (CHECKOUT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return [plain(span) for span in re.findall(r"`([^`\n]+)`", text) if COMMAND.match(span)]


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
            main._parser().parse_args(words)
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
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        read_command(module.EXP, words, CHECKOUT / path)
    return ""


@pytest.fixture(autouse=True)
def _experiments(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT / "exps"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_code_block_would_run(page, capsys):
    commands = code_blocks(page)
    for kind in ("make demo", "chestfold ", "python exps/"):
        assert any(c.startswith(kind) for c in commands), f"no line with {kind!r} was found in {page}"
    assert {c: complaint(c) for c in commands if complaint(c)} == {}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_text_is_known(page, capsys):
    """A command may be named there without what it needs: `chestfold ensemble`."""
    said = {c: complaint(c) for c in inline_code(page)}
    assert {c: text for c, text in said.items() if text and "are required" not in text} == {}


def test_both_pages_show_the_same_commands():
    english, japanese = (set(code_blocks(page)) for page in PAGES)
    assert english == japanese


@pytest.mark.parametrize(
    "command",
    ["chestfold fly", "chestfold board --all", "make cake", "python exps/exp999.py", "python exps/exp000.py --lrr 1"],
)
def test_an_invented_command_is_noticed(command):
    assert complaint(command)
