"""Predictions that were made elsewhere, as a result: proven like ours, scored by us, blended and submitted like others.

That each image was predicted by a model that had not seen it, only their maker knows. Everything else is proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import lock, require_plain_name, sha256_file
from chestfold.core.provenance import today
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import Task
from chestfold.core.task.multiclass import TOLERANCE
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, tidy
from chestfold.data.readers.cells import cell_labels, text_of
from chestfold.data.readers.files import id_key, short_names
from chestfold.data.tables import Table, open_table
from chestfold.evaluate import predictions, subgroups
from chestfold.evaluate.results import FoldsOfResult, Result, ResultRecord, about_dataset, find_result, write_result

ROUNDING = 1e-3
"""By which the probabilities of an image in a CSV may miss a sum of 1: they are rounded."""


@dataclass(frozen=True)
class Source:
    """The files of an import. `id_column`: which column names the images; empty: the data set's, else `id`."""

    oof: Path
    test: Path | None = None
    id_column: str = ""

    def hashes(self) -> dict[str, str]:
        """Name in the provenance -> hash of each file."""
        found = {"oof_source_sha256": sha256_file(self.oof)}
        if self.test:
            found["test_source_sha256"] = sha256_file(self.test)
        return found


@dataclass(frozen=True)
class Import:
    """What became of it. `notes`: what was left out or changed; `is_new`: it was not there already."""

    result: Result
    notes: tuple[str, ...]
    is_new: bool


def import_result(name: str, data: str, fold_file: str, source: Source, overwrite: bool = False) -> Import:
    """Take over predictions into runs/NAME.

    Args:
        name: of the result.
        data: the data set that they are of.
        fold_file: folds/NAME.csv that they were made with; empty: the one named like the data set.
        source: their files.
        overwrite: replace another result of this name.

    Raises:
        InputError: ids, columns, numbers, labels or folds are not those of the fold file; says where. Or another result
            of this name is there.
    """
    require_plain_name(name, "result")
    for path in (source.oof, source.test):
        if path and not path.is_file():
            raise InputError(f"{path} does not exist; name the CSV with the predictions")
    index = open_index(data)
    chosen = folds.load(fold_file or data, index)
    reader = _Reader(index.dataset, chosen.task, source.id_column)
    oof = reader.read(source.oof, chosen.table, f"folds/{chosen.name}.csv")
    predictions.check_against_folds(oof, chosen, range(chosen.count), str(source.oof), chosen.task)
    test = None
    if source.test:
        test = reader.read(source.test, index.test.assign(fold=-1), f"the test images of {data}")
    folder = RunFolder(name)
    with lock(folder.path):
        known = _claim(folder, source, chosen.sha256, overwrite)
        if known:
            return Import(known, (), is_new=False)
        origin: dict[str, Any] = {"experiment": name, "data": data, "folds": chosen.name, **source.hashes()}
        origin |= {"folds_sha256": chosen.sha256, "index_sha256": index.sha256()}
        origin |= predictions.task_identity(chosen.task)
        about = _describe(index.dataset, chosen, source)
        values = subgroups.values_in(index, oof["id"])
        result = write_result(folder.path, oof, test, None, origin, about, values=values)
        return Import(result, tuple(reader.notes), is_new=True)


def _claim(folder: RunFolder, source: Source, folds_sha256: str, overwrite: bool) -> Result | None:
    """The same import, where it is there already; None where there is nothing, or it may be replaced."""
    if folder.begun_folds():
        raise InputError(f"{folder.name} is the name of an experiment's run; choose another one")
    path = folder.path / "scores.json"
    if overwrite or not path.exists():
        return None
    if ResultRecord.from_json(path).kind == "imported":
        found = find_result(folder.name)
        origin = found.oof()[1]
        hashes = {key: value for key, value in origin.items() if key.endswith("_source_sha256")}
        if (hashes, origin["folds_sha256"]) == (source.hashes(), folds_sha256):
            return found
    raise InputError(f"{folder.path} holds another result; choose another name or add --overwrite")


def _describe(dataset: Dataset, chosen: folds.Folds, source: Source) -> dict[str, Any]:
    """The fields of scores.json besides its scores."""
    every = tuple(range(chosen.count))
    return about_dataset(dataset, chosen.task) | {
        "kind": "imported",
        "source": source.oof.name,
        "folds": FoldsOfResult(file=chosen.name, count=chosen.count, sha256=chosen.sha256, trained=every),
        "minutes": 0.0,
        "machine": "elsewhere",
        "date": today(),
    }


class _Reader:
    """Reads CSV files of predictions; `notes` say what it left out or changed."""

    def __init__(self, dataset: Dataset, task: Task, id_column: str) -> None:
        self.dataset = dataset
        self.task = task
        self.id_column = id_column
        self.notes: list[str] = []

    def read(self, path: Path, expected: pd.DataFrame, what: str) -> pd.DataFrame:
        """The predictions in a file for the `expected` rows (id, group, fold, label), in their order.

        `what` the rows are, for a complaint.
        """
        table = open_table(path)
        id_column = self._id_column(table)
        rows = self._rows(table, table.cells(id_column), expected["id"].tolist(), what)
        probs = self._probabilities(table, id_column)
        truth = expected.reset_index(drop=True)
        if "label" in table.frame:
            self._require_same(table, rows, "label", truth["label"].tolist(), what)
        if "fold" in table.frame and (truth["fold"] >= 0).all():
            self._require_same(table, rows, "fold", truth["fold"].tolist(), what)
        made = predictions.predictions(truth, 0, self.task.classes, probs[rows])
        return made.assign(fold=truth["fold"].astype(np.int64))

    def _id_column(self, table: Table) -> str:
        own = self.dataset.id if self.dataset.id in table.frame else "id"
        column = self.id_column or own
        table.require(column, declared_in="--id-column")
        return column

    def _rows(self, table: Table, cells: list[str], ids: list[str], what: str) -> list[int]:
        """The row of each of `ids`; both are compared in composed letters, with or without the suffix of an image."""
        own = _by_name(ids)
        row_of: dict[str, int] = {}
        for row, cell in enumerate(cells):
            image_id = own.get(tidy(cell)) or own.get(id_key(cell))
            if image_id is None:
                raise InputError(f"{table.where(row)}: {cell!r} is not one of {what}")
            first = row_of.setdefault(image_id, row)
            if first != row:
                raise InputError(f"{table.where(row)}: {cell!r} occurs twice, first in line {table.lines[first]}")
        missing = [image_id for image_id in ids if image_id not in row_of]
        if missing:
            raise InputError(
                f"{table.path} lacks {len(missing)} of the {len(ids)} images of {what}, the first is {missing[0]!r}"
            )
        return [row_of[image_id] for image_id in ids]

    def _probabilities(self, table: Table, id_column: str) -> np.ndarray:
        """float64 (N, K), in the order of the file's rows and of the classes."""
        columns = self._class_columns(table, id_column)
        left = [name for name in table.columns if name not in (id_column, "label", "fold", *columns)]
        if left:
            self.notes.append(f"{table.path.name}: left out {plural(len(left), 'column')} ({', '.join(left)})")
        values = np.stack([_numbers(table, column) for column in columns], axis=1)
        if len(columns) < len(self.task.classes):
            positive = values[:, 0]
            both = {self.task.positive_number: positive, 1 - self.task.positive_number: 1 - positive}
            return np.stack([both[0], both[1]], axis=1)
        return self._summing_to_one(table, values) if self.task.sums_to_one else values

    def _class_columns(self, table: Table, id_column: str) -> list[str]:
        """A column for each class, or of two exclusive classes one for the positive: by its name, or the only one."""
        classes = list(self.task.classes)
        if all(name in table.frame for name in classes):
            return classes
        given = [name for name in table.columns if name not in (id_column, "label", "fold")]
        if self.task.sums_to_one and len(classes) == 2:
            positive = self.task.positive
            if positive in given:
                return [positive]
            if len(given) == 1 and given[0] not in classes:
                self.notes.append(f"{table.path.name}: {given[0]!r} is taken as the probability of {positive!r}")
                return given
        missing = [name for name in classes if name not in table.frame]
        raise InputError(
            f"{table.path} has no column {missing[0]!r}; it needs one for each class ({', '.join(classes)}), and has "
            f"{', '.join(given) or 'none'}"
        )

    def _summing_to_one(self, table: Table, values: np.ndarray) -> np.ndarray:
        """Rows that sum to 1 but for rounding, as ones that do."""
        sums = values.sum(axis=1)
        away = np.abs(sums - 1)
        if (away > ROUNDING).any():
            row = int((away > ROUNDING).argmax())
            raise InputError(f"{table.where(row)}: the probabilities sum to {sums[row]:.4f}, not to 1")
        rounded = int((away > TOLERANCE).sum())
        if rounded:
            self.notes.append(f"{table.path.name}: {plural(rounded, 'row')} sum to 1 but for rounding, and are scaled")
        return values / sums[:, None]

    def _require_same(self, table: Table, rows: Sequence[int], column: str, expected: Sequence[Any], what: str) -> None:
        """Raise `InputError` with the first row whose label or fold is another one."""
        cells = table.cells(column)
        for row, value in zip(rows, expected, strict=True):
            same = self._is_label(cells[row], value) if column == "label" else _is_fold(cells[row], value)
            if not same:
                raise InputError(f"{table.where(row)}: {column} {cells[row]!r}, and {value!r} in {what}")

    def _is_label(self, cell: str, label: str) -> bool:
        """Whether a cell says the same as a label, in its own words or in those of the data set's table."""
        if tidy(cell) == label:
            return True
        if isinstance(self.dataset.labels, tuple):
            return False
        try:
            return text_of(self.dataset, cell_labels(self.dataset, cell)) == label
        except ValueError:
            return False


def _is_fold(cell: str, fold: int) -> bool:
    try:
        return float(cell) == fold
    except ValueError:
        return False


def _by_name(ids: Sequence[str]) -> dict[str, str]:
    """What an image may be called -> its id: without suffix, without folders, where that is one image's only."""
    without_suffix = pd.Series(list(ids)).map(id_key)
    unique = without_suffix[~without_suffix.duplicated(keep=False)]
    short = {name: ids[n] for n, name in unique.items()}
    return short_names(ids) | short | {tidy(image_id): image_id for image_id in ids}


def _numbers(table: Table, column: str) -> np.ndarray:
    """The probabilities in a column, float64 (N,)."""
    values = np.empty(len(table.lines))
    for row, cell in enumerate(table.cells(column)):
        try:
            values[row] = float(cell)
        except ValueError:
            values[row] = np.nan
        if not 0 <= values[row] <= 1:
            raise InputError(f"{table.where(row)}: {column} {cell!r} is not a probability, a number from 0 to 1")
    return values
