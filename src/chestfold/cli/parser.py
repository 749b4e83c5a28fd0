"""argparse with one sentence for what is wrong, and the nearest right word beside it."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from chestfold.cli.examples import EXAMPLES
from chestfold.core import hooks
from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError


class Parser(argparse.ArgumentParser):
    """Raises its complaint instead of printing the usage first. `--image_size` is read as `--image-size`."""

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """The options in `argv`.

        Raises:
            InputError: one is unknown, ill-typed or missing.
        """
        given, unknown = self.parse_known_args([_with_dashes(word) for word in argv])
        if unknown:
            known = [option for action in self._actions for option in action.option_strings]
            word = unknown[0].partition("=")[0]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(word, known)}")
        return given

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as `InputError`."""
        choice = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message)
        if choice:
            known = re.findall(r"'(.*?)'", choice[2])
            message += did_you_mean(choice[1], known)
        raise InputError(f"{message} (--help lists the options)")


def _with_dashes(word: str) -> str:
    if not re.match(r"--[a-z]\w*(=|$)", word):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def add_verb(parent: Any, name: str, function: Callable[[argparse.Namespace], None], text: str) -> Any:
    """A verb of a command: its parser, whose options the caller adds; `function` does it."""
    parser = parent.add_parser(name, help=text, description=text, allow_abbrev=False)
    if parser.prog in EXAMPLES:
        parser.epilog = f"example: {EXAMPLES[parser.prog]}"
    parser.set_defaults(verb=function)
    return parser


class _Trust(argparse.Action):
    """Trusts as soon as it is read: what follows may load hooks."""

    def __call__(self, *_: Any) -> None:
        hooks.trust()


def add_trust(parser: Any) -> None:
    """Add `--trust-hooks` to a verb that uses trained runs."""
    parser.add_argument(
        "--trust-hooks", nargs=0, action=_Trust, help="run the hooks.py that came with a run from elsewhere: it is code"
    )


def add_calibrate(parser: Any) -> None:
    """Add `--calibrate` to a verb that uses the probabilities of a result, NAME."""
    parser.add_argument(
        "--calibrate", action="store_true", help="take NAME-calibrated, made now where it is not there: calibrate NAME"
    )


def chosen_name(arguments: argparse.Namespace) -> str:
    """NAME, or with `--calibrate` its calibrated copy."""
    if not arguments.calibrate:
        return str(arguments.name)
    from chestfold.evaluate.calibrated import calibrate

    return calibrate(arguments.name).name


class _LoadHooks(argparse.Action):
    """Runs the hooks as soon as they are named: what follows may need their reader."""

    def __call__(self, _parser: Any, _given: Any, values: Any, _option: Any = None) -> None:
        hooks.load_own(values)


def add_hooks(parser: Any) -> None:
    """Add `--hooks` to a verb that reads a data set."""
    parser.add_argument(
        "--hooks",
        action=_LoadHooks,
        metavar="FILE",
        help="your own readers, as experiments name it: exps/my_hooks.py",
    )


def add_device(parser: Any) -> None:
    """The option `--device`, for `choose_device`."""
    parser.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda, cuda:N, or mps (Apple, untried) [auto: CUDA if there is one]"
    )
