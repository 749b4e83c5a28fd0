"""The data sets that are known by name, and those that a user declares in a `dataset.toml` of his own."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, is_plain_name
from chestfold.data.dataset import Dataset, Index
from chestfold.data.declaration import read_declaration
from chestfold.data.readers import join, read_index


@cache
def catalogue() -> dict[str, Dataset]:
    """Name -> declaration, as they are written in catalogue.toml."""
    text = files("chestfold.data").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: Dataset(name=name, **values) for name, values in tomllib.loads(text).items()}


def find_dataset(name: str) -> Dataset:
    """The declaration of `name`: from the catalogue, else from input/NAME/dataset.toml.

    Raises:
        InputError: there is none, or the declaration is not valid.
    """
    if name in catalogue():
        return catalogue()[name]
    declaration = input_dir() / name / "dataset.toml"
    if is_plain_name(name) and declaration.exists():
        return read_declaration(name, declaration)
    hint = did_you_mean(name, catalogue()) or "; `chestfold data list` names them"
    raise InputError(f"unknown data set {name!r}{hint}, or declare your own in {declaration}")


def known_dataset(name: str) -> Dataset | None:
    """As `find_dataset`; None where nothing of that name is declared here: a result may come from elsewhere."""
    if name in catalogue() or (is_plain_name(name) and (input_dir() / name / "dataset.toml").exists()):
        return find_dataset(name)
    return None


def folders_of(dataset: Dataset) -> list[Path]:
    """The folders in input/ that hold the images of `dataset`."""
    if not dataset.parts:
        return [input_dir() / dataset.input_folder]
    folders = []
    for part in dataset.parts:
        folders += folders_of(find_dataset(part))
    return folders


def open_index(name: str) -> Index:
    """The index of the data set `name`, read from input/."""
    dataset = find_dataset(name)
    if dataset.parts:
        return join(dataset, input_dir(), [open_index(part) for part in dataset.parts])
    return read_index(dataset, input_dir() / dataset.input_folder)
