"""Figures with their doubt: 95 % intervals by a bootstrap over patients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from chestfold.core.rng import generator

REPLICATES = 1000


@dataclass(frozen=True)
class Score:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def format_gain(self) -> str:
        """As a difference: with its signs."""
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def patient_weights(groups: np.ndarray, replicates: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients: yields row weights, float64 (N,), how often each row's patient was drawn."""
    names, patient = np.unique(groups, return_inverse=True)
    rng = generator("bootstrap", len(names))
    for _ in range(replicates):
        drawn = rng.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names)).astype(float)[patient]


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], groups: np.ndarray) -> list[Score]:
    """The figures (F,) that `statistic` makes of row weights (N,), with 95 % intervals by resampling patients.

    A replicate in which a figure is NaN (a class was not drawn) does not count for it.
    """
    point = statistic(np.ones(len(groups)))
    replicates = np.array([statistic(weights) for weights in patient_weights(groups, REPLICATES)])
    scores = []
    for value, draws in zip(point, replicates.T, strict=True):
        counted = draws[~np.isnan(draws)]
        low, high = np.percentile(counted, [2.5, 97.5]) if len(counted) else (np.nan, np.nan)
        scores.append(Score(float(value), float(low), float(high)))
    return scores


def bootstrap_one(statistic: Callable[[np.ndarray], float], groups: np.ndarray) -> Score:
    """`bootstrap` of a single figure."""
    return bootstrap(lambda weights: np.array([statistic(weights)]), groups)[0]


def class_means(values: np.ndarray, members: np.ndarray, groups: np.ndarray) -> list[Score]:
    """The mean of `values` (N,) over the rows of each class, and last the mean of these means.

    `members`: bool (N, C), which rows belong to which class; `groups` (N,): patients.
    """

    def means(weights: np.ndarray) -> np.ndarray:
        each = [weighted_mean(values, weights * column) for column in members.T]
        return np.array([*each, np.mean(each)])

    return bootstrap(means, groups)


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Of `values` (N,); NaN where all weights (N,) are 0."""
    total = float(weights.sum())
    return float((weights * values).sum()) / total if total else float("nan")
