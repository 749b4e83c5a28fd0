"""Columns beside the images, such as age, sex and view: from the cells of a table to the numbers that a network sees.

What is fitted (means, spreads, categories) is fitted to the training images of one fold and kept with its network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.records import Record
from chestfold.data.dataset import Dataset

MISSING = ("", "nan")
"""Cells, in small letters, that hold no value."""
MOST_CATEGORIES = 50
"""Different values of a column that are no numbers: more of them are no categories, but names, dates or free text."""


def is_missing(cell: str) -> bool:
    """Whether a cell holds no value."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number."""
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


@dataclass(frozen=True)
class Cells:
    """What the table says of some images. `texts`: (N, C), a column for each of `names`; `numbers`: which hold numbers.

    Whether a column holds numbers is a property of the whole data set: it is the same in every fold.
    """

    names: tuple[str, ...]
    numbers: frozenset[str]
    texts: np.ndarray

    def take(self, positions: np.ndarray) -> Self:
        """Those of the images at some positions, int (K,)."""
        return type(self)(self.names, self.numbers, self.texts[positions])


def read_cells(table: pd.DataFrame, names: Sequence[str], dataset: Dataset) -> Cells:
    """The columns `names` of an index.

    Args:
        table: the index: id, split, and the columns that the data set declares as `tabular`.
        names: what an experiment asks for.
        dataset: its declaration.

    Raises:
        InputError: there is no such column; it holds neither numbers nor categories.
    """
    for name in names:
        if name not in dataset.tabular:
            known = ", ".join(dataset.tabular) or "none"
            raise InputError(
                f"tabular: {dataset.name} declares no column {name!r} (declared: {known}); name it in dataset.toml, "
                "tabular"
            )
    numbers = [name for name in names if _holds_numbers(table, name, dataset.name)]
    return Cells(tuple(names), frozenset(numbers), table[list(names)].to_numpy(str))


def _holds_numbers(table: pd.DataFrame, name: str, where: str) -> bool:
    """Whether all cells of a column that hold a value are numbers, in the training images and in the test images."""
    given = [cell for cell in table[name] if not is_missing(cell)]
    other = next((cell for cell in given if not is_number(cell)), None)
    categories = {cell.strip() for cell in given}
    if other is not None and len(categories) > MOST_CATEGORIES:
        raise InputError(
            f"tabular: column {name!r} of {where} holds {len(categories)} different values, and {other!r} is no "
            f"number; a column holds numbers or at most {MOST_CATEGORIES} categories: change the table, or leave it out"
        )
    return other is None


class NumberColumn(Record):
    """A number, standardised; a missing one is the mean. `flagged`: a second number is 1 where it is missing."""

    kind: Literal["number"] = "number"
    name: str
    mean: float
    spread: float
    flagged: bool

    @classmethod
    def fit(cls, name: str, cells: np.ndarray) -> Self:
        """To the cells (N,) of the training images. A flag that they never raise would have no trained weight."""
        values = _values(name, cells)
        known = values[~np.isnan(values)]
        mean = float(known.mean()) if len(known) else 0.0
        spread = float(known.std()) if len(known) else 0.0
        return cls(name=name, mean=mean, spread=spread or 1.0, flagged=len(known) < len(values))

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """Cells (N,) to float32 (N, 1 or 2)."""
        values = _values(self.name, cells)
        missing = np.isnan(values)
        standard = np.where(missing, 0, (values - self.mean) / self.spread)
        return np.stack([standard, missing] if self.flagged else [standard], axis=1).astype(np.float32)


class CategoryColumn(Record):
    """One of several texts: 1 at the place of the category; a missing or unknown one is 0 at all places."""

    kind: Literal["category"] = "category"
    name: str
    categories: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, cells: np.ndarray) -> Self:
        """To the cells (N,) of the training images."""
        return cls(name=name, categories=tuple(sorted({cell.strip() for cell in cells if not is_missing(cell)})))

    def encode(self, cells: np.ndarray) -> np.ndarray:
        """Cells (N,) to float32 (N, categories)."""
        texts = np.array([cell.strip() for cell in cells])
        return (texts[:, None] == np.array(self.categories, str)[None, :]).astype(np.float32)

    def unknown(self, cells: np.ndarray) -> int:
        """How many cells hold a category that was not fitted to."""
        return sum(not is_missing(cell) and cell.strip() not in self.categories for cell in cells)


class Encoding(Record):
    """How the cells of an image become numbers: a checkpoint carries it."""

    columns: tuple[NumberColumn | CategoryColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        """How many numbers an image has."""
        return self.encode(np.full((1, len(self.columns)), "")).shape[1]

    def encode(self, texts: np.ndarray) -> np.ndarray:
        """Cells (N, C) to float32 (N, D).

        Raises:
            InputError: a cell of a column of numbers holds none.
        """
        parts = [column.encode(texts[:, n]) for n, column in enumerate(self.columns)]
        return np.concatenate(parts, axis=1)

    def unknown(self, cells: Cells) -> dict[str, int]:
        """Column -> how many images have a category that no training image has: it is encoded as a missing one."""
        counts = {}
        for n, column in enumerate(self.columns):
            if isinstance(column, CategoryColumn):
                counts[column.name] = column.unknown(cells.texts[:, n])
        return {name: count for name, count in counts.items() if count}

    def describe(self) -> str:
        """The columns in words."""
        parts = []
        for column in self.columns:
            if isinstance(column, NumberColumn):
                parts.append(f"{column.name} (mean {column.mean:.4g}, spread {column.spread:.4g})")
            else:
                parts.append(f"{column.name} ({', '.join(column.categories)})")
        return "; ".join(parts)


def fit_encoding(train: Cells) -> Encoding:
    """The encoding that the training images of a fold ask for: a pure function of their cells.

    Raises:
        InputError: no column holds anything.
    """
    columns: list[NumberColumn | CategoryColumn] = []
    for n, name in enumerate(train.names):
        kind = NumberColumn if name in train.numbers else CategoryColumn
        columns.append(kind.fit(name, train.texts[:, n]))
    encoding = Encoding(columns=tuple(columns))
    if not encoding.width:
        raise InputError(f"tabular: no training image has a value of {', '.join(train.names)}")
    return encoding


def _values(name: str, cells: np.ndarray) -> np.ndarray:
    """float64 (N,), NaN where a value is missing."""
    for cell in cells:
        if not is_missing(cell) and not is_number(cell):
            raise InputError(f"{name} = {str(cell)!r} is not a number; leave it empty where it is not known")
    return np.array([math.nan if is_missing(cell) else float(cell) for cell in cells])
