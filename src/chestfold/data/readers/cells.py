"""What the cells of a table say about an image's labels.

Texts are compared in composed letters without the spaces around them, and whole numbers by their value: "1.0" is "1".
Labels are rows of numbers in the order of the classes: 1, 0, or NaN for not known.
"""

from collections.abc import Iterable
from functools import partial

import numpy as np

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.task.multilabel import label_text
from chestfold.data.dataset import ANY_OTHER, Dataset, comparable, tidy
from chestfold.data.tables import Table, each_cell

PRESENT, ABSENT = {"1", "true", "yes"}, {"0", "false", "no"}


def is_one_of(cell: str, texts: tuple[str, ...]) -> bool:
    """Whether a cell is one of some declared texts."""
    return comparable(cell) in map(comparable, texts)


def has_labels(dataset: Dataset, table: Table) -> bool:
    """Whether a table has any column of labels."""
    return any(column in table.frame for column in label_columns(dataset))


def label_columns(dataset: Dataset) -> tuple[str, ...]:
    """The columns that labels are read from."""
    return dataset.labels if isinstance(dataset.labels, tuple) else (dataset.label,)


def row_labels(dataset: Dataset, table: Table) -> np.ndarray:
    """The labels of each row, float (N, K).

    Raises:
        InputError: a column is missing; a cell is empty and that is not declared to mean anything, or it is no class;
            an image of one class has several or none. Names the line.
    """
    if isinstance(dataset.labels, tuple):
        return _one_hot(dataset, table)
    cells = table.cells(dataset.label)
    rows = each_cell(cells, partial(cell_labels, dataset), table.where)
    return np.array(rows, float).reshape(len(rows), len(dataset.classes))


def cell_labels(dataset: Dataset, cell: str) -> np.ndarray:
    """The labels in one cell, float (K,); `ValueError` says what is wrong with it."""
    found = np.zeros(len(dataset.classes))
    if is_one_of(cell, dataset.unknown):
        return np.full_like(found, np.nan)
    if is_one_of(cell, dataset.no_finding):
        return found
    if not tidy(cell) and "" not in dataset.labels:
        raise ValueError(_missing("the label", dataset))
    parts = [part for part in cell.split(dataset.separator) if tidy(part)] if dataset.separator else [cell]
    for part in parts:
        name = "" if is_one_of(part, dataset.no_finding) else _class_of(dataset, part)
        if name:
            found[dataset.classes.index(name)] = 1
    return found


def _missing(what: str, dataset: Dataset) -> str:
    ways = "unknown or no_finding" if dataset.task == "multilabel" else "unknown"
    return f'{what} is missing; fill it in, or declare what "" means ({ways} in dataset.toml)'


def _class_of(dataset: Dataset, text: str) -> str:
    """The class that a text stands for; "" where `labels` says that it is none."""
    meanings = dataset.labels or {name: name for name in dataset.classes}
    assert isinstance(meanings, dict)
    for same in (tidy, comparable):
        for value, name in meanings.items():
            if same(value) == same(text):
                return name
    if ANY_OTHER in meanings:
        return meanings[ANY_OTHER]
    raise ValueError(f"unknown class {text!r}; declared are {', '.join(meanings)}{_way_on(text, meanings)}")


def _way_on(text: str, known: Iterable[str]) -> str:
    """What could be declared, or written, about a text that is no class."""
    if "|" in text:
        return '; several labels in a cell: task = "multilabel", separator = "|"'
    near = did_you_mean(text, known)
    return near or '; words for them are declared in labels, and those for "not known" in unknown'


def _one_hot(dataset: Dataset, table: Table) -> np.ndarray:
    """Columns of 0 and 1, one for each class."""
    columns = []
    for column in label_columns(dataset):
        where = partial(_where_in_column, table, column)
        columns.append(each_cell(table.cells(column), partial(one_hot_cell, dataset), where))
    labels = np.array(columns, float).T
    if dataset.task != "multilabel":
        _require_one_each(dataset, table, labels)
    return labels


def _where_in_column(table: Table, column: str, row: int) -> str:
    return f"{table.where(row)}, column {column!r}"


def one_hot_cell(dataset: Dataset, cell: str) -> float:
    """1, 0 or NaN; `ValueError` says what is wrong."""
    text = comparable(cell).lower()
    if is_one_of(cell, dataset.unknown):
        return np.nan
    if is_one_of(cell, dataset.no_finding) or text in ABSENT:
        return 0
    if text in PRESENT:
        return 1
    if not text:
        raise ValueError(_missing("the label", dataset))
    raise ValueError(
        f"{cell!r} is neither 1 nor 0; if it means that the label is not known, declare it as unknown, else write one "
        "of them"
    )


def _require_one_each(dataset: Dataset, table: Table, labels: np.ndarray) -> None:
    """Make a row with an unknown cell unknown as a whole, and refuse one without exactly one 1."""
    labels[np.isnan(labels).any(axis=1)] = np.nan
    wrong = np.flatnonzero(~np.isnan(labels[:, 0]) & (np.nansum(labels, axis=1) != 1))
    if len(wrong):
        row = int(wrong[0])
        count = int(labels[row].sum())
        raise InputError(
            f"{table.where(row)}: {count} of the columns {', '.join(label_columns(dataset))} are 1, and an image has "
            'exactly one class; several labels an image: task = "multilabel"'
        )


def text_of(dataset: Dataset, labels: np.ndarray) -> str:
    """The labels of an image, float (K,), as an index has them."""
    if dataset.task == "multilabel":
        return label_text(dataset.classes, labels.tolist())
    return "" if np.isnan(labels).any() else dataset.classes[int(labels.argmax())]
