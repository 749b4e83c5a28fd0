"""`chestfold data`."""

import argparse
import shlex
from typing import Any

from chestfold.cli.parser import add_hooks, add_verb
from chestfold.core.console import say, show
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, require_plain_name


def add_verbs(verbs: Any) -> None:
    """Add `data`."""
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
    add_hooks(check)


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
    from chestfold.core.task import create_task
    from chestfold.data.catalogue import open_index
    from chestfold.data.check import check, summary
    from chestfold.evaluate.metrics import declared_metric

    index = open_index(arguments.name)
    dataset = index.dataset
    declared_metric(dataset, create_task(dataset.task, dataset.classes, dataset.positive))
    report = check(index)
    for line in summary(index, report):
        say(line)
    if report.unreadable:
        raise InputError(f"{len(report.unreadable)} unreadable file(s) in {index.root}; replace or remove them")
