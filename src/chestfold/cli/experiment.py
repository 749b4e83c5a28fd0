"""The command lines. That of an experiment file: every setting is an option, typed by its field.

argparse, not a library that builds the parser from the dataclass: `--help` answers in a fifth of a second, and a
complaint is one sentence instead of a page.
"""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from chestfold.core.config import Experiment, Request, debug_settings, difference, field_help, field_types, parse_option
from chestfold.core.errors import InputError
from chestfold.integrations.tracker import TRACKERS


class Parser(argparse.ArgumentParser):
    """argparse that raises its complaint instead of printing the usage first."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as `InputError`."""
        raise InputError(f"{message} (--help lists the options)")


def add_verb(parent: Any, name: str, function: Callable[[argparse.Namespace], None], text: str) -> Any:
    """A verb of a command: its parser, whose options the caller adds; `function` does it."""
    parser = parent.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(verb=function)
    return parser


@dataclass(frozen=True)
class Command:
    """What was typed after `python exps/expNNN.py`. `wandb`: the mode asked for; None: as the environment says."""

    request: Request
    tracker: str
    wandb: str | None


def read_command(exp: Experiment, argv: list[str] | None = None, main: Path | None = None) -> Command:
    """The command that `argv` (default: this process's) makes of `exp`, whose file is `main`.

    Raises:
        InputError: an option is unknown or ill-typed.
    """
    main = main or Path(sys.modules["__main__"].__file__ or "exp")
    given = vars(_parser(exp, main).parse_args(argv))
    chosen = {name: parse_option(name, given[name]) for name in field_types() if given[name] is not None}
    final = replace(exp, **chosen)
    tag = _checked_tag(given["tag"])
    name = main.stem + (f"-{tag}" if tag else "") + (f"@{final.data}" if final.data != exp.data else "")
    if given["debug"]:
        final, name = debug_settings(final), f"{name}-debug"
    base = exp if tag else exp.parent or exp
    changed = difference(base.to_dict(), final.to_dict())
    parent = main.stem if tag else _module_of(base)
    request = Request(name, final, tuple(given["fold"] or ()), given["overwrite"], parent, changed)
    return Command(request, given["tracker"], given["wandb"])


def _checked_tag(tag: str | None) -> str:
    if tag and (tag == "debug" or not re.fullmatch(r"[a-z0-9_]+", tag)):
        raise InputError(f"--tag {tag}: small letters, digits and _ make a tag, and it is not 'debug'")
    return tag or ""


def _parser(exp: Experiment, main: Path) -> Parser:
    about = sys.modules["__main__"].__doc__ or ""
    parser = Parser(prog=f"python {main.name}", description=about, allow_abbrev=False)
    parser.add_argument("--fold", nargs="+", type=int, metavar="K", help="train these folds only (default: all)")
    parser.add_argument(
        "--debug", action="store_true", help="a two-minute pass: 2 short epochs, 64 px, real images, no weights"
    )
    parser.add_argument("--tag", help="name of this variant: runs/EXP-TAG, compared with the experiment itself")
    parser.add_argument(
        "--tracker", default="wandb", choices=list(TRACKERS), help="what shows the run elsewhere [wandb]"
    )
    parser.add_argument(
        "--wandb",
        choices=["offline", "online", "disabled"],
        help="default: WANDB_MODE, else online with a key, else off",
    )
    parser.add_argument("--overwrite", action="store_true", help="throw away what these folds hold, train anew")
    values = exp.to_dict()
    for name, about in field_help().items():
        options = {f"--{name}", f"--{name.replace('_', '-')}"}
        text = f"{about} [{values[name]}]".replace("%", "%%")
        parser.add_argument(*sorted(options), dest=name, nargs="+", metavar="X", help=text)
    return parser


def _module_of(exp: Experiment) -> str:
    """The experiment file that `exp` came from: the module whose EXP it is; empty for this file's own."""
    for name, module in list(sys.modules.items()):
        if name != "__main__" and getattr(module, "EXP", None) is exp:
            return name
    return ""
