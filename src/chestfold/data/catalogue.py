"""The data sets that are known by name, and those that a user declares in a `dataset.toml` of his own."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir
from chestfold.data.channels import what_is_missing
from chestfold.data.dataset import Dataset, Index
from chestfold.data.readers import join, read_index

CATALOGUE_ONLY = ("name", "kaggle", "parts")
"""Fields that a user's own declaration does not have: its folder is there already."""


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
    if Path(name).name == name and declaration.exists():
        return read_declaration(name, declaration)
    hint = did_you_mean(name, catalogue()) or "; `chestfold data list` names them"
    raise InputError(f"unknown data set {name!r}{hint}, or declare your own in {declaration}")


def read_declaration(name: str, path: Path) -> Dataset:
    """The data set that a dataset.toml declares.

    Raises:
        InputError: it is not valid TOML, or a field is unknown, missing or wrong; says which.
    """
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML ({error})") from error
    for field in values:
        if field in CATALOGUE_ONLY or field not in Dataset.model_fields:
            known = set(Dataset.model_fields) - set(CATALOGUE_ONLY)
            raise InputError(f"{path}: unknown field {field!r}{did_you_mean(field, known)}")
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    try:
        dataset = Dataset.model_validate({**given, "name": name}, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_complaint(error, values)}") from error
    if len(dataset.classes) < 2:
        raise InputError(f"{path}: classes is a list of two or more different texts, not {list(dataset.classes)!r}")
    if dataset.reader == "joined" or dataset.positive not in dataset.classes:
        raise InputError(f"{path}: reader is folders, csv or npz, and positive is one of the classes")
    if dataset.value_range and dataset.ct_window:
        raise InputError(f"{path}: value_range and ct_window both say what is black and white; keep one of them")
    if complaint := what_is_missing(dataset):
        raise InputError(f"{path}: {complaint}")
    return dataset


def _first_complaint(error: ValidationError, values: dict[str, Any]) -> str:
    """What is wrong with the first wrong field."""
    first = error.errors()[0]
    field = str(first["loc"][0])
    if first["type"] == "missing" and field not in values:
        return f"the field {field!r} is missing"
    return f"{field} is {Dataset.model_fields[field].description}, not {values[field]!r}"


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
