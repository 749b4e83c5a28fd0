"""`chestfold folds`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chestfold.cli.parser import add_hooks, add_verb
from chestfold.core.console import plural, say, show
from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, require_plain_name

if TYPE_CHECKING:
    from chestfold.data.dataset import Index
    from chestfold.data.folds import Folds

OWN_NAME = "name of the fold file [the data set's]"


def add_verbs(verbs: Any) -> None:
    """Add `folds`."""
    about = "make, import or check fold files"
    folds = verbs.add_parser("folds", help=about).add_subparsers(required=True, metavar="VERB")
    make = add_verb(folds, "make", make_folds, "write folds/NAME.csv and .json: stratified, grouped, duplicates joined")
    make.add_argument("data", help="a data set")
    add_hooks(make)
    make.add_argument("--folds", type=int, default=5, help="number of folds [5]")
    make.add_argument("--seed", type=int, default=0, help="another seed gives another split [0]")
    make.add_argument("--repeats", type=int, help="so many splits, NAME-r1, NAME-r2, ..., of this seed and the next")
    make.add_argument("--name", help=OWN_NAME)
    own = add_verb(folds, "import", import_folds, "take over folds from a CSV, if they are sound")
    own.add_argument("file", type=Path, help="a CSV with a line for each training image")
    own.add_argument("--data", required=True, help="a data set")
    own.add_argument("--name", help=OWN_NAME)
    own.add_argument("--id-column", default="id", help="column of the image, with or without its suffix [id]")
    own.add_argument("--fold-column", default="fold", help="column of its fold, numbered from 0 or 1 on [fold]")
    add_hooks(own)
    again = add_verb(folds, "check", check_folds, "prove a fold file again, and search for leaks")
    again.add_argument("data", help="a data set")
    add_hooks(again)
    again.add_argument("--name", help=OWN_NAME)


def make_folds(arguments: argparse.Namespace) -> None:
    """Write a fold file, or several splits of the same images."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    if arguments.folds < 2:
        raise InputError(f"--folds {arguments.folds}: at least 2 are needed")
    if arguments.repeats is not None and arguments.repeats < 2:
        raise InputError(f"--repeats {arguments.repeats}: at least 2 are needed; leave it out for one split")
    name = _name(arguments)
    index = open_index(arguments.data)
    if arguments.repeats is None:
        made = [folds.make(index, name, arguments.folds, arguments.seed)]
    else:
        made = folds.make_repeats(index, name, arguments.repeats, arguments.folds, arguments.seed)
    for each, new in made:
        _say_made(index, each, new)


def import_folds(arguments: argparse.Namespace) -> None:
    """Prove the folds in a CSV, and write them as a fold file."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    name = _name(arguments)
    index = open_index(arguments.data)
    columns = (arguments.fold_column, arguments.id_column)
    made, new, notes = folds.import_folds(index, arguments.file, name, *columns)
    for note in notes:
        say(note)
    _say_made(index, made, new)


def check_folds(arguments: argparse.Namespace) -> None:
    """Prove a fold file again; exit code 2 when something straddles."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    name, index = _name(arguments), open_index(arguments.data)
    report = folds.check(name, index)
    for kind, count in report["straddling"].items():
        say(f"{kind} of the training images: {report['found'][kind]} found, {count} in more than one fold")
    _say_how_even(index, folds.load(name, index))
    if any(report["straddling"].values()):
        raise InputError(f"folds/{name}.csv leaks; make a new one")


def _name(arguments: argparse.Namespace) -> str:
    name = arguments.name or arguments.data
    require_plain_name(name, "--name")
    return name


def _say_made(index: "Index", made: "Folds", new: bool) -> None:
    what = "wrote" if new else "is there already, the same:"
    path = folds_dir() / f"{made.name}.csv"
    say(f"{what} {path}: {len(made.table)} images in {plural(made.count, 'fold')}, no leak")
    if made.record.seed_used is not None:
        used = f"the split is that of seed {made.record.seed_used}"
        say(f"by seed {made.record.seed} a fold would lack a class: {used}")
    if made.record.covered:
        say("no seed tried gave every fold all classes: a patient of each was placed first")
    _say_how_even(index, made)


def _say_how_even(index: "Index", made: "Folds") -> None:
    """The sizes of the folds, how the rate of each label differs between them, and groups that are too large."""
    from rich.table import Table

    from chestfold.data.folds import label_rates, large_groups

    say(f"images of each fold: {', '.join(map(str, made.sizes))}")
    table = Table("label", "rate %", "lowest in a fold", "highest", "largest deviation, points", "of the rate, %")
    for row in label_rates(made.table, made.task).itertuples():
        figures = [100 * value for value in (row.rate, row.lowest, row.highest, row.deviation, row.relative)]
        table.add_row(row.label, *(f"{figure:.2f}" for figure in figures))
    show(table)
    for line in large_groups(index, made.count, made.table):
        say(line)
