"""Readers by name: a folder per class, a table beside images, MedMNIST's .npz. Each ends in the same index.

To add one, write its file and its line in `READERS`.
"""

from collections.abc import Callable
from pathlib import Path

from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.data.dataset import Dataset, Index
from chestfold.data.readers.files import IMAGE_SUFFIXES
from chestfold.data.readers.folders import read_folders
from chestfold.data.readers.joined import join
from chestfold.data.readers.npz import load_arrays, read_npz
from chestfold.data.readers.table import read_csv
from chestfold.data.tables import read_table

__all__ = ["IMAGE_SUFFIXES", "READERS", "join", "load_arrays", "read_index", "read_table"]

READERS: dict[str, Callable[[Dataset, Path], Index]] = hooks.registry(
    "READERS", {"folders": read_folders, "csv": read_csv, "npz": read_npz}
)
"""`reader` of a declaration -> what makes an index of a data set and the folder that it lies in."""


def read_index(dataset: Dataset, root: Path) -> Index:
    """The index of `dataset`, whose files are in `root`.

    Raises:
        InputError: the folder is missing or its content is not what the declaration says.
    """
    if not root.is_dir():
        raise InputError(f"{root} does not exist; `chestfold data fetch {dataset.name}` says how to get it")
    if dataset.reader == "joined":
        raise ValueError(f"{dataset.name} is read by its parts: catalogue.open_index")
    if dataset.reader not in READERS:
        known = ", ".join(READERS)
        raise InputError(f"{dataset.name}: no reader {dataset.reader!r} ({known}); one of your own is known by --hooks")
    return READERS[dataset.reader](dataset, root)
