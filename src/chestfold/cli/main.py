"""The `chestfold` command. Each verb is one thin function; heavy imports wait until the verb is known."""

import sys

from chestfold import __version__
from chestfold.cli import compare, data, explain, folds, predict, quiz, results, sweep, synth, weights
from chestfold.cli.parser import Parser
from chestfold.core.console import fail
from chestfold.core.errors import ChestfoldError
from chestfold.core.memory import collect_rarely, keep_freed

ABOUT = (
    "From a folder of chest images to a checked submission. Experiments are trained by their own files: "
    "python exps/exp021.py --help"
)


def main(argv: list[str] | None = None) -> None:
    """Entry point of `chestfold`; exits with code 2 and one sentence when something is wrong."""
    collect_rarely()
    try:
        arguments = create_parser().parse(sys.argv[1:] if argv is None else argv)
        keep_freed()
        arguments.verb(arguments)
    except ChestfoldError as error:
        fail(error)
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("interrupted; run the same command to resume", file=sys.stderr)
        sys.exit(130)


def create_parser() -> Parser:
    """The parser of all verbs."""
    parser = Parser(prog="chestfold", description=ABOUT, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"chestfold {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for module in (data, weights, folds, sweep, results, compare, explain, predict, quiz, synth):
        module.add_verbs(verbs)
    return parser


if __name__ == "__main__":
    main()
