"""The 95 % intervals: one rule for each kind of figure, from its value, its standard error, and its patients.

The standard error is the deviation of a figure among the replicates of a bootstrap over patients. Quantiles are those
of Student's t for the patients that a figure rests on: of few ill ones a deviation is itself not well known. How often
such intervals hold the truth: `benchmarks/coverage.py`.
"""

import math
from dataclasses import dataclass

import numpy as np

from chestfold.evaluate.bootstrap import Score

TAIL = 0.025
"""Of a 95 % interval, at each end."""
LARGEST = 100
"""Logarithm of the largest factor between a loss and an end of its interval."""


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error, and how many patients it rests on, by effective number."""

    value: float
    error: float
    patients: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the error."""
        return max(self.patients - 1, 1)

    @property
    def quantile(self) -> float:
        """Student's t, of which the share `TAIL` is above."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - TAIL))


def deviation(draws: np.ndarray) -> float:
    """The standard error by replicates (R,); those that are NaN (a class was not drawn) do not count."""
    counted = draws[~np.isnan(draws)]
    return float(counted.std(ddof=1)) if len(counted) > 1 else math.nan


def effective_patients(weights: np.ndarray, groups: np.ndarray) -> float:
    """How many patients of equal weight say as much: (sum of weights)² / sum of weights² (Kish, Survey Sampling, 1965).

    Args:
        weights: of the rows (N,); or of several kinds of rows (N, S) that are set against each other, as ill and well
            ones. Then it is the number of such sets with no patient in two of them.
        groups: patients (N,).
    """
    columns = weights.reshape(len(weights), -1)
    counts = [_of_kind(column, groups) for column in columns.T]
    return min(*counts, _of_kind(columns.sum(axis=1), groups) / len(counts))


def _of_kind(weights: np.ndarray, groups: np.ndarray) -> float:
    of_patients = np.bincount(np.unique(groups, return_inverse=True)[1], weights)
    squares = float((of_patients**2).sum())
    return float(of_patients.sum()) ** 2 / squares if squares else 0.0


def of_share(found: Estimate) -> Score:
    """Of a figure from 0 to 1: Wilson's score interval (J. Am. Stat. Assoc. 22, 1927, page 209).

    The number of trials is the one that has this error (Korn and Graubard, Survey Methodology 24, 1998, page 193).
    Where there is no error to be seen, as at 0 and 1, a trial is a patient.
    """
    value, trials = found.value, found.patients
    if not trials:
        return Score(value, math.nan, math.nan)
    if found.error > 0 and 0 < value < 1:
        trials = value * (1 - value) / found.error**2
    t = found.quantile
    shrinkage = 1 + t**2 / trials
    middle = (value + t**2 / (2 * trials)) / shrinkage
    variance = value * (1 - value) / trials + t**2 / (4 * trials**2)
    half = t * math.sqrt(variance) / shrinkage
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Score(value, min(value, low), max(value, high))  # of 0 and 1 rounding may leave them by a hair


def of_loss(found: Estimate) -> Score:
    """Of a figure from 0 upwards: symmetric on the scale of its logarithm."""
    if not found.value:
        return Score(found.value, math.nan, math.nan)
    factor = math.exp(min(found.quantile * found.error / found.value, LARGEST))
    return Score(found.value, found.value / factor, found.value * factor)


def of_difference(found: Estimate) -> Score:
    """Of a figure of any sign: symmetric."""
    half = found.quantile * found.error
    return Score(found.value, found.value - half, found.value + half)
