"""The images that a sample submission asks for, where a data set keeps its test images: for a competition's hidden set.

Nothing is read of the training images, which need not be there.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.data.dataset import COLUMNS, Dataset, Index
from chestfold.data.readers import READERS
from chestfold.data.readers.files import id_key, list_images, split_suffix
from chestfold.data.readers.folders import read_test_folders
from chestfold.data.readers.places import open_places
from chestfold.data.readers.table import TEST_TABLE
from chestfold.data.tables import open_table

Find = Callable[[str], Path]
"""From an id to its image; `InputError` where there is none, or more than one."""
WITHOUT_PLACES = ("joined", "npz")
"""Readers whose declaration says nothing of where a competition's images lie."""


@dataclass(frozen=True)
class Wanted:
    """The images of some ids. `index`: those that are there, sorted by id, with the columns beside the image.

    `lost`: id -> why it is not there. `names`: each id that was asked for -> the one that `index` or `lost` has for it.
    `how`: in words, where they were looked for.
    """

    index: Index
    lost: dict[str, str]
    names: dict[str, str]
    how: str


def find_wanted(dataset: Dataset, root: Path, ids: Iterable[str], columns: Sequence[str] = ()) -> Wanted:
    """Look for the images of `ids` in a competition's folder.

    Where the declared places hold one of them at least, they are the places of all. Else each is known by its name, one
    in a folder that begins with "test" before others: what networks were trained on may lie otherwise than the
    competition's images.

    Args:
        dataset: the declaration.
        root: the folder.
        ids: with or without the suffix of an image; two that differ in it alone are one.
        columns: what networks see beside the image, from the table of the test images.

    Raises:
        InputError: that table cannot be read, or lacks a column.
    """
    wanted: dict[str, str] = {}
    names = {image_id: wanted.setdefault(id_key(image_id), image_id) for image_id in ids}
    paths, lost = _located(_declared(dataset, root), wanted.values())
    how = f"where {dataset.name} declares its test images"
    if not paths:
        paths, lost = _located(_by_name(root), wanted.values())
        how = f"by their names: none lies where {dataset.name} declares its test images"
    values = _values(dataset, root, columns) if columns else {}
    rows = []
    for image_id in sorted(paths):
        row = {"id": image_id, "path": paths[image_id].relative_to(root).as_posix(), "label": "", "split": "test"}
        if not columns:
            rows.append(row)
        elif id_key(image_id) in values:
            rows.append(row | values[id_key(image_id)])
        else:
            lost[image_id] = f"no row of the table of test images is of {image_id!r}"
    table = pd.DataFrame(rows, columns=[*COLUMNS, *columns]).fillna("")
    return Wanted(Index(dataset, root, table), lost, names, how)


def _located(find: Find, ids: Iterable[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Id -> image of those that are found, and id -> complaint of the others."""
    paths: dict[str, Path] = {}
    lost: dict[str, str] = {}
    for image_id in ids:
        try:
            paths[image_id] = find(image_id)
        except InputError as error:
            lost[image_id] = str(error)
    return paths, lost


def _declared(dataset: Dataset, root: Path) -> Find:
    """By the declaration, which may say nothing of this folder."""
    if dataset.reader in WITHOUT_PLACES:
        return _nowhere
    if dataset.reader == "csv":
        try:
            places = open_places(root, dataset.test_images or dataset.images)
        except InputError:  # its folder is not here: these images lie otherwise
            return _nowhere
        return lambda image_id: places.find(image_id, "the sample submission")
    if dataset.reader == "folders":
        rows = read_test_folders(dataset, root)
    else:
        rows = READERS[dataset.reader](dataset, root).test.to_dict("records")
    path_of = {id_key(row["id"]): root / row["path"] for row in rows}

    def find(image_id: str) -> Path:
        if id_key(image_id) not in path_of:
            raise InputError(f"no test image of {root} has the id {image_id!r}")
        return path_of[id_key(image_id)]

    return find


def _nowhere(image_id: str) -> Path:
    raise InputError(f"nothing is declared of {image_id!r}")


def _by_name(root: Path) -> Find:
    """By the name of the file: an id is that, or a path, with or without its suffix."""
    named: dict[str, list[Path]] = {}
    for path in list_images(root).images:
        named.setdefault(_key(path.name), []).append(path)

    def find(image_id: str) -> Path:
        parts = PurePosixPath(split_suffix(normalize("NFC", image_id))[0]).parts or ("",)
        suffix = split_suffix(image_id)[1].lower()
        found = []
        for path in named.get(parts[-1], []):
            own = (*path.relative_to(root).parts[:-1], _key(path.name))
            if own[-len(parts) :] == parts and suffix in ("", path.suffix.lower()):
                found.append(path)
        tests = [path for path in found if _is_in_a_test_folder(path.relative_to(root))]
        found = tests or found
        if len(found) != 1:
            raise InputError(f"{len(found)} images are called {image_id!r}; exactly one is needed")
        return found[0]

    return find


def _key(name: str) -> str:
    return split_suffix(normalize("NFC", name))[0]


def _is_in_a_test_folder(path: Path) -> bool:
    return any(part.startswith("test") for part in path.parts[:-1])


def _values(dataset: Dataset, root: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Key of an id -> column -> cell, from the table of the test images; of two rows of an image the first."""
    table = open_table(root / (dataset.test_table or TEST_TABLE))
    table.require(dataset.id, *columns, declared_in="dataset.toml")
    values: dict[str, dict[str, str]] = {}
    for row in table.frame[[dataset.id, *columns]].to_dict("records"):
        cells = {name: str(row[name]) for name in columns}
        values.setdefault(id_key(str(row[dataset.id])), cells)
    return values
