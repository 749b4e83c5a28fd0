"""Figures with their doubt: replicates of a bootstrap over patients, and the intervals of figures of no known kind."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from chestfold.core.records import Figure
from chestfold.core.rng import generator

REPLICATES = 1000
AT_ONCE = 32_000
"""Weights of rows that are looked at together: few enough for a processor's cache."""
Statistic = Callable[[np.ndarray], np.ndarray]
"""Figures (R, F) of the row weights (R, N) of many replicates."""
UNDEFINED = "-"
"""How a figure that is not defined is written, as 0 of 0."""


@dataclass(frozen=True)
class Score:
    """A figure and the ends of its 95 % interval; NaN where it is not defined."""

    value: Figure
    low: Figure
    high: Figure

    def __str__(self) -> str:
        return self._text("{:.4f}")

    def format_gain(self) -> str:
        """As a difference: with its signs."""
        return self._text("{:+.4f}")

    def _text(self, form: str) -> str:
        if math.isnan(self.value):
            return UNDEFINED
        value = form.format(self.value)
        if math.isnan(self.low) or math.isnan(self.high):
            return value
        return f"{value} [{form.format(self.low)}, {form.format(self.high)}]"


def patient_weights(groups: np.ndarray, replicates: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients: yields row weights, float64 (N,), how often each row's patient was drawn."""
    names, patient = np.unique(groups, return_inverse=True)
    rng = generator("bootstrap", len(names))
    for _ in range(replicates):
        drawn = rng.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names)).astype(float)[patient]


def draw(statistic: Statistic, groups: np.ndarray) -> np.ndarray:
    """The figures of a statistic in each replicate: float (R, F)."""
    rows = patient_weights(groups, REPLICATES)
    block = max(1, AT_ONCE // len(groups))
    found = []
    while weights := list(islice(rows, block)):
        found.append(statistic(np.array(weights)))
    return np.concatenate(found)


def drawn(statistic: Statistic, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The figures (F,) of a statistic, and those of its replicates (R, F)."""
    (point,) = statistic(np.ones((1, len(groups))))
    return point, draw(statistic, groups)


def percentiles(value: float, draws: np.ndarray) -> Score:
    """A figure with the middle 95 % of its replicates (R,); one that is NaN (a class was not drawn) does not count."""
    counted = draws[~np.isnan(draws)]
    if math.isnan(value) or not len(counted):
        return Score(float(value), math.nan, math.nan)
    low, high = np.percentile(counted, [2.5, 97.5])
    return Score(float(value), float(low), float(high))


def class_means(values: np.ndarray, members: np.ndarray, groups: np.ndarray) -> list[Score]:
    """The mean of `values` (N,) over the rows of each class, and last the mean of these means.

    `members`: bool (N, C), which rows belong to which class; `groups` (N,): patients.
    """

    def means(weights: np.ndarray) -> np.ndarray:
        total = weights @ members
        each = np.divide(
            weights @ (members * values[:, None]), total, out=np.full(total.shape, np.nan), where=total > 0
        )
        return np.column_stack([each, each.mean(axis=1)])

    point, draws = drawn(means, groups)
    return [percentiles(value, column) for value, column in zip(point, draws.T, strict=True)]
