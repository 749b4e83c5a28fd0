"""`chestfold folds`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chestfold.cli.parser import add_hooks, add_trust, add_verb
from chestfold.core.console import plural, say, show
from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, require_plain_name

if TYPE_CHECKING:
    from chestfold.data.dataset import Index
    from chestfold.data.folds import Folds
    from chestfold.evaluate.results import Result

OWN_NAME = "name of the fold file [the data set's]"


def add_verbs(verbs: Any) -> None:
    """Add `folds`."""
    about = "make, import or check fold files"
    folds = verbs.add_parser("folds", help=about).add_subparsers(required=True, metavar="VERB")
    make = add_verb(folds, "make", make_folds, "write folds/NAME.csv and .json: stratified, grouped, duplicates joined")
    make.add_argument("data", help="a data set")
    add_hooks(make)
    make.add_argument("--folds", type=int, help="number of folds [5]")
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
    cost = add_verb(
        folds, "cost", show_cost, "what leaks would have added to a run's score: the same run, leaking folds"
    )
    cost.add_argument("name", help="a finished run, all folds")
    add_trust(cost)


def show_cost(arguments: argparse.Namespace) -> None:
    """Compare a run with its twin on leaking folds; where that is not trained, write the folds and say how."""
    from chestfold.core.files import runs_dir
    from chestfold.evaluate.leak_cost import leak_cost, leaky_name
    from chestfold.evaluate.results import find_result, published_results

    sound = find_result(arguments.name)
    name = leaky_name(sound.name)
    if not (runs_dir() / name / "scores.json").exists() and name not in published_results():
        _prepare_cost(sound, name)
        return
    cost = leak_cost(sound, find_result(name))
    say(f"{cost.title} of {cost.images} images, out-of-fold")
    say(f"  patients and duplicates together in a fold: {cost.sound}   {sound.name}")
    say(f"  split by image, as if each were a patient:  {cost.leaky}   {name}")
    say(f"  what the leak adds:                         {cost.added.format_gain()}   paired, 95 % patient bootstrap")


def _prepare_cost(sound: "Result", name: str) -> None:
    """Write the leaking folds, and say how the run is trained on them."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index
    from chestfold.report.commands import command

    record = sound.record
    if record.kind != "experiment" or record.folds.missing:
        raise InputError(f"{sound.name}: the cost of leaks is measured on an experiment with all its folds")
    made, _ = folds.make_leaky(open_index(record.data), f"{record.folds.file}_leaky", record.folds.count, 0)
    found = ", ".join(f"{count} {kind}" for kind, count in made.record.leaks["straddling"].items())
    say(f"folds/{made.name}.csv leaks on purpose: in more than one fold are {found}")
    tag = name.partition("@")[0].partition("-")[2]
    settings = command(record).partition(" --tag ")
    rest = settings[2].partition(" ")[2]
    words = [settings[0], f"--tag {tag}", *filter(None, [rest]), f"--folds {made.name}"]
    say(f"next: {' '.join(words)}; then this command again")


def make_folds(arguments: argparse.Namespace) -> None:
    """Write a fold file, or several splits of the same images."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    count = folds.DEFAULT_COUNT if arguments.folds is None else arguments.folds
    if count < 2:
        raise InputError(f"--folds {count}: at least 2 are needed")
    if arguments.repeats is not None and arguments.repeats < 2:
        raise InputError(f"--repeats {arguments.repeats}: at least 2 are needed; leave it out for one split")
    name = _name(arguments)
    index = open_index(arguments.data)
    if arguments.repeats is None:
        made = [folds.make(index, name, count, arguments.seed)]
    else:
        made = folds.make_repeats(index, name, arguments.repeats, count, arguments.seed)
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
