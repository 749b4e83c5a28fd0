"""Every verb's help: an example that the command itself reads, and a word for each option."""

import argparse
import shlex
from collections.abc import Iterator

import pytest

from chestfold.cli.examples import EXAMPLES
from chestfold.cli.main import create_parser


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of verbs that do something."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for below in group.choices.values():
            yield from verbs(below)


VERBS = {parser.prog: parser for parser in verbs(create_parser())}


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_ends_with_an_example_that_can_be_typed(verb):
    assert VERBS[verb].epilog.endswith(f"example: {EXAMPLES[verb]}")
    command, *words = shlex.split(EXAMPLES[verb])
    assert command == "chestfold" and EXAMPLES[verb].startswith(verb)
    assert callable(create_parser().parse(words).verb)


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained_by_more_than_its_default(verb):
    for action in VERBS[verb]._actions:
        assert action.help and not action.help.startswith("["), action.option_strings


TAKES_A_RESULT = ["ensemble", "calibrate", "compare", "report", "track", "publish", "submit", "kernel", "folds cost"]


@pytest.mark.parametrize("verb", [*TAKES_A_RESULT, "predict", "app", "explain"])
def test_what_asks_for_hooks_to_be_trusted_can_be_told_so(verb):
    """A run from elsewhere may need its hooks wherever it is scored or predicts; the sentence names this option."""
    options = [option for action in VERBS[f"chestfold {verb}"]._actions for option in action.option_strings]
    assert "--trust-hooks" in options
