"""The folds of others, of a competition or split by time: proven like ours, and kept like them."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file
from chestfold.data.dataset import Index
from chestfold.data.folds.checks import first_lack, leak_report, ways_on
from chestfold.data.folds.file import Folds, describe, store
from chestfold.data.folds.splitting import Images, linked_images
from chestfold.data.readers import IMAGE_SUFFIXES
from chestfold.data.tables import open_table


@dataclass(frozen=True)
class Row:
    """A line of a CSV of folds."""

    line: int
    id: str
    fold: str


@dataclass(frozen=True)
class GivenFolds:
    """The fold of each training image, int64 (N,) from 0 on; `first`: the number of the first one in the file."""

    path: Path
    fold_of: np.ndarray
    count: int
    first: int


def import_folds(
    index: Index, path: Path, name: str, fold_column: str = "fold", id_column: str = "id"
) -> tuple[Folds, bool, list[str]]:
    """Write folds/NAME.csv and .json from a CSV of ids and folds; whether they are new, and what was changed.

    Raises:
        InputError: the file is not readable; an image twice, missing or unknown; folds not numbered from 0 or 1 on;
            a patient or a duplicate in two folds; a fold without some class; another split of this name exists.
    """
    given = read_given_folds(index, path, fold_column, id_column)
    images = linked_images(index)
    _require_no_leak(images, given)
    _require_all_kinds(images, given)
    table = images.table.assign(fold=given.fold_of)
    scheme = f"imported from {path.name} ({sha256_file(path)})"
    leaks = leak_report(table, images.exact, images.near)
    made, new = store(name, index, table, describe(index, table, leaks, scheme, given.count))
    renumbered = f"folds 1 to {given.count} of {path.name} are numbered 0 to {given.count - 1}"
    return made, new, [renumbered] if given.first else []


# Reading


def read_given_folds(index: Index, path: Path, fold_column: str, id_column: str) -> GivenFolds:
    """The folds in a CSV, for every training image once; raises as `import_folds`."""
    line_of: dict[str, int] = {}
    number_of: dict[str, int] = {}
    names = _names(index)
    for row in read_rows(path, fold_column, id_column):
        where = f"{path}, line {row.line}"
        # The suffix may be another than here: that of the DICOM file, say, which the image was made of.
        image = names.get(_plain(row.id)) or names.get(_without_suffix(_plain(row.id)))
        if image is None:
            raise InputError(f"{where}: {row.id!r} is no training image of {index.dataset.name}")
        if image in line_of:
            raise InputError(f"{where}: {row.id!r} was in line {line_of[image]} already; every image has one fold")
        line_of[image] = row.line
        number_of[image] = _number(row.fold, f"{where}: {fold_column}")
    missing = [image for image in index.train["id"] if image not in number_of]
    if missing:
        which = f"{len(missing)} training image(s), the first is {missing[0]!r}"
        raise InputError(f"{path} has no row for {which}; add them")
    numbers = np.array([number_of[image] for image in index.train["id"]])
    first, count = _range(path, numbers)
    return GivenFolds(path, numbers - first, count, first)


def read_rows(path: Path, fold_column: str, id_column: str) -> Iterator[Row]:
    """The rows of a CSV of folds, with the numbers of their lines; lines without any cell are left out."""
    table = open_table(path)
    table.require(id_column, declared_in="--id-column")
    table.require(fold_column, declared_in="--fold-column")
    cells = zip(table.lines, table.cells(id_column), table.cells(fold_column), strict=True)
    for line, image_id, fold in cells:
        yield Row(line, image_id.strip(), fold.strip())


def _plain(name: str) -> str:
    """A name as it is compared: the same letters are the same, however they are composed."""
    return unicodedata.normalize("NFC", name)


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _names(index: Index) -> dict[str, str]:
    """What a file may call a training image -> its id: the id, its path, both with and without the suffix.

    A name that would fit two images is none, but for the id itself.
    """
    names: dict[str, str] = {}
    doubtful: set[str] = set()
    for row in index.train.itertuples():
        suffix = PurePosixPath(row.path).suffix
        for name in {_without_suffix(row.id), f"{row.id}{suffix}", row.path, _without_suffix(row.path)}:
            if names.setdefault(_plain(name), row.id) != row.id:
                doubtful.add(_plain(name))
    for name in doubtful:
        del names[name]
    return names | {_plain(image): image for image in index.train["id"]}


def _number(cell: str, where: str) -> int:
    """A whole number, also as other programs write one: `3`, `3.0`."""
    try:
        number = float(cell)
    except ValueError:
        number = np.nan
    if not number.is_integer():
        raise InputError(f"{where} is {cell!r}; a whole number is needed, 0 for the first fold")
    return int(number)


def _range(path: Path, numbers: np.ndarray) -> tuple[int, int]:
    """The first number, 0 or 1, and how many folds there are."""
    found = np.unique(numbers).tolist()
    count = len(found)
    if count < 2:
        raise InputError(f"{path} has all images in fold {found[0]}; at least 2 folds are needed")
    for first in (0, 1):
        if found == list(range(first, first + count)):
            return first, count
    shown = ", ".join(map(str, found[:8])) + (", ..." if count > 8 else "")
    raise InputError(f"{path} has the folds {shown}; number them from 0 (or 1) on without a gap")


# Proving


def _require_no_leak(images: Images, given: GivenFolds) -> None:
    """Raise `InputError` where a patient or a duplicate is in two folds; it names the first two images."""
    patients = images.index.train["group"]
    of_patients = list(patients.groupby(patients, sort=False).indices.values())
    kinds: list[tuple[str, Sequence[Sequence[int]]]] = [
        ("are of one patient, {!r}", of_patients),
        ("are the same image, byte for byte", images.exact),
        ("are nearly the same image", images.near),
    ]
    for what, sets in kinds:
        leaks = [members for members in sets if len(set(given.fold_of[list(members)])) > 1]
        if leaks:
            _refuse_leak(images, given, what, leaks)


def _refuse_leak(images: Images, given: GivenFolds, what: str, leaks: Sequence[Sequence[int]]) -> None:
    train = images.index.train
    one = min(min(members) for members in leaks)
    members = next(members for members in leaks if one in members)
    other = next(n for n in sorted(members) if given.fold_of[n] != given.fold_of[one])
    pair = [f"{train['id'][n]!r} (fold {given.fold_of[n] + given.first})" for n in (one, other)]
    more = f", and {len(leaks) - 1} more like them" if len(leaks) > 1 else ""
    raise InputError(
        f"{given.path} leaks: {pair[0]} and {pair[1]} {what.format(train['group'][one])}{more}; put them in one fold, "
        f"or let chestfold folds make {images.index.dataset.name} split them"
    )


def _require_all_kinds(images: Images, given: GivenFolds) -> None:
    lack = first_lack(images.kinds, given.fold_of, given.count)
    if lack:
        fold, kind = lack
        way = ways_on(given.count, "deal the patients out differently")
        raise InputError(f"{given.path}: fold {fold + given.first} has no image {kind}, and could not be scored; {way}")
