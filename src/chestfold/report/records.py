"""What the page of results is made of: the records that its script reads as JSON, and how they become that.

Arrays are `bytes`, little-endian, and base64 in the JSON. Every text passes `hide_secrets`, wherever it stands.
"""

import base64
import json
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

import numpy as np

from chestfold.core.hide import hide_secrets

WHOLE = 60_000
"""A probability of 1 as it is stored: every cut-off of two decimals is a whole number of these parts."""
PERCENT = WHOLE // 100

Interval = tuple[float, float, float]
"""A figure and the ends of its 95 % interval."""
Curves = dict[int, list[dict[str, float]]]
"""Fold -> a row of figures for each epoch."""


class Jpeg(bytes):
    """A picture, which the JSON has as an address."""


@dataclass(frozen=True)
class Grid:
    """A table of texts. From column number `figures_from` on they are figures."""

    title: str
    head: list[str]
    rows: list[list[str]]
    figures_from: int
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """An image that the page lists: its row in the cases, and the key of its picture, None where there is none.

    `outlines`: "lungs" and "lesion" where they are known, bits of a square over the whole picture, row by row.
    """

    row: int
    id: str
    thumb: str | None = None
    outlines: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Subgroup:
    """A column that divides the images. `codes`: uint8 (N,), numbers of `values`, 255: not known."""

    name: str
    values: list[str]
    codes: bytes


@dataclass(frozen=True)
class Cases:
    """The N images of a fold file, sorted by id.

    `labels`: uint8, class numbers (N,), of several labels 1 and 0 (N, K); 255: not known. `groups`: uint32 (N,),
    numbers of patients. `folds`: uint8 (N,). `shown`: the images that are listed, the hardest first.
    """

    n: int
    labels: bytes
    groups: bytes
    folds: bytes
    subgroups: list[Subgroup]
    shown: list[Shown]


@dataclass(frozen=True)
class Maps:
    """Heat maps of the middle `part` of each side of an image.

    `of`: row -> uint8 (2, rows, cols), of the predicted and of the positive class, by its own maximum.
    """

    rows: int
    cols: int
    part: float
    positive: str
    of: dict[int, bytes]


@dataclass(frozen=True)
class Run:
    """A result. `settings`: those that are not the default. `probs`: uint16, as `quantised` made them; of two exclusive
    classes that of the positive one (N,), else (N, K); of the images in the folds of its table."""

    name: str
    own: bool
    kind: str
    what: str
    date: str
    minutes: float
    machine: str
    command: str
    commit: str
    parent: str
    members: list[str]
    settings: dict[str, Any]
    scores: dict[str, Interval | None]
    gain: Interval | None
    p_false: float | None
    gain_images: int
    marks: list[dict[str, str]]
    fold_scores: list[float]
    confusion: list[list[int]]
    thresholds: dict[str, Any]
    probs: bytes
    history: Curves | None
    best_epochs: list[int]
    leaderboard: dict[str, Any] | None
    attention: list[Grid] | None
    maps: Maps | None


@dataclass(frozen=True)
class Table:
    """The results on the same images, the best first. `base`: the most frequent class and its share.
    `black`: the best run that saw no lungs, and its figure."""

    id: str
    title: str
    data: str
    warning: str
    task: str
    classes: list[str]
    positive: int
    metric: dict[str, Any]
    images: int
    patients: int
    counts: dict[str, int]
    base: dict[str, Any] | None
    black: dict[str, Any] | None
    cases: str
    folds: list[int]
    fold_count: int
    fold_file: str
    fold_hash: str
    own: int
    runs: list[Run]


@dataclass(frozen=True)
class Unfinished:
    """A run that is still training, or was stopped. `folds`: each with `fold, done, epochs, finished`."""

    name: str
    data: str
    folds: list[dict[str, Any]]
    history: Curves


@dataclass(frozen=True)
class Page:
    """All that the page shows. `made`: ISO time; `refresh`: seconds after which it looks for a newer one, 0: never."""

    version: str
    made: str
    refresh: float
    defaults: dict[str, Any]
    tables: list[Table]
    cases: dict[str, Cases]
    thumbs: dict[str, Jpeg]
    unfinished: list[Unfinished] = field(default_factory=list)
    synthetic: Grid | None = None
    sources: list[Grid] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many results it shows."""
        return sum(len(table.runs) for table in self.tables)


def to_json(page: Page) -> str:
    """The page as the JSON inside an HTML script: no text in it can end that."""
    text = json.dumps(_plain(page), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """A value as JSON has it. A number that is none (NaN) becomes null; six digits of the others are kept."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return hide_secrets(value)
        case float():
            return _number(value)
        case Jpeg():
            return "data:image/jpeg;base64," + base64.b64encode(value).decode()
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {hide_secrets(str(key)): _plain(content) for key, content in value.items()}
        case list() | tuple():
            return [_plain(content) for content in value]
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _number(value: float) -> float | None:
    """Six digits; whole ones without a fraction."""
    if not isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < 1e6 else float(f"{value:.6g}")


def array(values: np.ndarray, kind: str) -> bytes:
    """Whole numbers as bytes of `kind` "uint8", "uint16" or "uint32", little-endian; -1 and NaN become the largest."""
    largest = np.iinfo(kind).max
    known = np.where(np.isnan(values) | (values < 0), largest, values)
    return known.astype(np.dtype(kind).newbyteorder("<")).tobytes()


def parts(shares: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 in whole parts, int64 of the same shape: 600 k or more exactly where one is k / 100 or more.

    The next cut-off is compared as it is: a product may be rounded over it.
    """
    whole = np.floor(shares * WHOLE).astype(np.int64)
    percent = np.rint(shares * 100).astype(np.int64)
    cut = percent * PERCENT
    reached = shares >= percent / 100
    return np.clip(np.where(reached, np.maximum(whole, cut), np.minimum(whole, cut - 1)), 0, WHOLE)
