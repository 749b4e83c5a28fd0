"""`chestfold compare`: one result against others."""

import argparse
from typing import Any

from chestfold.cli.parser import add_trust, add_verb
from chestfold.core.console import print_written, show_lines, terminal_width, waiting
from chestfold.core.errors import InputError

ABOUT = (
    "one result against others on the images that both have: settings that differ, what it gains and whether to "
    "believe it, images that changed sides, parts of the data"
)


def add_verbs(verbs: Any) -> None:
    """Add the verb of this module."""
    parser = add_verb(verbs, "compare", compare, ABOUT)
    parser.add_argument("name", help="a finished result: what is said is about it")
    parser.add_argument("others", nargs="+", metavar="OTHER", help="one or more that it is compared with")
    written = parser.add_mutually_exclusive_group()
    written.add_argument("--json", dest="written", action="store_const", const="json", help="print JSON: everything")
    written.add_argument("--csv", dest="written", action="store_const", const="csv", help="print CSV: the figures")
    add_trust(parser)


def compare(arguments: argparse.Namespace) -> None:
    """Print what differs between a result and each of the others."""
    from chestfold.evaluate.results import find_result
    from chestfold.evaluate.versus import versus
    from chestfold.report import compare as shown

    if len(set(arguments.others)) < len(arguments.others):
        raise InputError(f"{' '.join(arguments.others)}: a result is named twice; name each once")
    ours, others = find_result(arguments.name), [find_result(name) for name in arguments.others]
    with waiting("comparing"):
        found = [versus(ours, other) for other in others]
    if arguments.written:
        print_written(shown.FORMATS[arguments.written](found), arguments.written)
        return
    for one in found:
        show_lines(shown.lines(one, terminal_width()))
