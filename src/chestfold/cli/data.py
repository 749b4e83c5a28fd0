"""`chestfold data` and `chestfold folds`."""

import argparse
import shlex
from typing import Any

from chestfold.cli.parser import add_verb
from chestfold.core.console import say, show
from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, input_dir, require_plain_name


def add_verbs(verbs: Any) -> None:
    """Add `data` and `folds`."""
    data = verbs.add_parser("data", help="list, fetch or check data sets").add_subparsers(required=True, metavar="VERB")
    add_verb(data, "list", list_datasets, "the data sets that are known by name")
    fetch = add_verb(data, "fetch", fetch_data, "make the phantom; download a data set or a competition from Kaggle")
    fetch.add_argument("name", nargs="?", help="a data set of `chestfold data list`")
    fetch.add_argument("--competition", metavar="SLUG", help="all files of a competition, into input/SLUG")
    init = add_verb(data, "init", guess_declaration, "a first dataset.toml for a folder: guesses, to be confirmed")
    init.add_argument("folder", help="the folder that holds the images and tables, in input/ or elsewhere")
    init.add_argument("--name", help="what the data set is to be called [as its folder]")
    check = add_verb(data, "check", check_data, "unreadable files, duplicates, label conflicts, leaks")
    check.add_argument("name", help="a data set")
    folds = verbs.add_parser("folds", help="make or check fold files").add_subparsers(required=True, metavar="VERB")
    make = add_verb(folds, "make", make_folds, "write folds/NAME.csv and .json: stratified, grouped, duplicates joined")
    make.add_argument("data", help="a data set")
    make.add_argument("--folds", type=int, default=5, help="number of folds [5]")
    make.add_argument("--seed", type=int, default=0, help="another seed gives another split [0]")
    make.add_argument("--name", help="name of the fold file [the data set's]")
    again = add_verb(folds, "check", check_folds, "prove a fold file again, and search for leaks")
    again.add_argument("data", help="a data set")
    again.add_argument("--name", help="name of the fold file [the data set's]")


def list_datasets(arguments: argparse.Namespace) -> None:
    """Print the catalogue."""
    from rich.table import Table

    from chestfold.data.catalogue import catalogue, folders_of

    table = Table("name", "what", "classes (* positive)", "patient", "licence", "here")
    for dataset in catalogue().values():
        classes = ", ".join(f"{name}*" if name == dataset.positive else name for name in dataset.classes)
        here = "yes" if all(folder.is_dir() for folder in folders_of(dataset)) else "no"
        about = f"{dataset.about} (warning: {dataset.warning})" if dataset.warning else dataset.about
        table.add_row(dataset.name, about, classes, dataset.patient, dataset.licence, here)
    show(table)
    say(f"they belong in {input_dir()}; your own set: a folder there with a dataset.toml (see input/README.md)")


def fetch_data(arguments: argparse.Namespace) -> None:
    """Make the phantom set, or download a data set or a competition; what is there is proven by its checksums."""
    from chestfold.integrations.kaggle.download import fetch_competition, fetch_dataset

    if (arguments.name is None) == (arguments.competition is None):
        raise InputError("give the name of a data set (chestfold data list), or --competition and its slug")
    if arguments.name:
        fetch_dataset(arguments.name)
    else:
        fetch_competition(arguments.competition)


def guess_declaration(arguments: argparse.Namespace) -> None:
    """Write a first dataset.toml, and say what it needs."""
    from pathlib import Path

    from chestfold.data.catalogue import catalogue
    from chestfold.data.declaration import read_declaration
    from chestfold.data.guess import write_declaration

    given = Path(arguments.folder).expanduser()
    folder = given if given.is_dir() else input_dir() / given
    name = arguments.name or folder.resolve().name
    require_plain_name(name, "--name")
    if name in catalogue():
        raise InputError(f"{name} is the name of a data set of `chestfold data list`; choose another one with --name")
    path = write_declaration(folder, name)
    say(path.read_text(encoding="utf-8").rstrip())
    say(f"wrote {path}")
    place = input_dir() / name
    if folder.resolve() != place.resolve():
        say(f"it is found once the folder is in input/: ln -s {shlex.quote(str(folder.resolve()))} {place}")
    read_declaration(name, path)
    say(f"if the guesses are right: chestfold data check {name}")


def check_data(arguments: argparse.Namespace) -> None:
    """Print a data set's report; exit code 2 when a file cannot be read."""
    from chestfold.data.catalogue import open_index
    from chestfold.data.check import check, summary

    index = open_index(arguments.name)
    report = check(index)
    for line in summary(index, report):
        say(line)
    if report.unreadable:
        raise InputError(f"{len(report.unreadable)} unreadable file(s) in {index.root}; replace or remove them")


def make_folds(arguments: argparse.Namespace) -> None:
    """Write a fold file."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    if arguments.folds < 2:
        raise InputError(f"--folds {arguments.folds}: at least 2 are needed")
    name = arguments.name or arguments.data
    require_plain_name(name, "--name")
    made, new = folds.make(open_index(arguments.data), name, arguments.folds, arguments.seed)
    what = "wrote" if new else "is there already, the same:"
    say(f"{what} {folds_dir() / name}.csv: {len(made.table)} images in {made.count} folds, no leak")


def check_folds(arguments: argparse.Namespace) -> None:
    """Prove a fold file again; exit code 2 when something straddles."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    name = arguments.name or arguments.data
    report = folds.check(name, open_index(arguments.data))
    for kind, count in report["straddling"].items():
        say(f"{kind} of the training images: {report['found'][kind]} found, {count} in more than one fold")
    if any(report["straddling"].values()):
        raise InputError(f"folds/{name}.csv leaks; make a new one")
