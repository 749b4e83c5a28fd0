"""Can readers tell real from synthetic? The figures of a yes-no task, with 95 % intervals.

A signal is a synthetic image; "synthetic" is the answer yes. d' = z(hit rate) - z(false alarm rate), each rate with
0.5 added to its count and 1 to its number, so that no rate is 0 or 1 (the log-linear correction: Hautus, Behavior
Research Methods 27(1), 1995, page 46). Its variance is that of Gourevitch and Galanter (Psychometrika 32(1), 1967, page
25). The intervals of proportions are Wilson's (JASA 22, 1927, page 209).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import pandas as pd
from scipy.stats import binomtest

from chestfold.core.errors import InputError
from chestfold.data.tables import open_table
from chestfold.evaluate.bootstrap import Score

NORMAL = NormalDist()
Z_975 = NORMAL.inv_cdf(0.975)
ANSWER_COLUMNS = ["number", "id", "truth", "answer", "seconds"]


@dataclass(frozen=True)
class Reading:
    """What a reader's answers are worth. `p_chance`: two-sided, exact, of the accuracy against guessing."""

    accuracy: Score
    sensitivity: Score
    specificity: Score
    d_prime: Score
    p_chance: float


def proportion(successes: int, number: int) -> Score:
    """A share with Wilson's interval."""
    test = binomtest(successes, number)
    interval = test.proportion_ci(method="wilson")
    return Score(test.statistic, float(interval.low), float(interval.high))


def against_chance(right: int, number: int) -> float:
    """Two-sided exact binomial p of `right` answers out of `number`, if each were a coin's."""
    return float(binomtest(right, number).pvalue)


def d_prime(hits: int, signals: int, false_alarms: int, noises: int) -> Score:
    """d' with its interval; 0 is guessing."""
    hit_z, hit_variance = _corrected_z(hits, signals)
    false_z, false_variance = _corrected_z(false_alarms, noises)
    value = hit_z - false_z
    half = Z_975 * math.sqrt(hit_variance + false_variance)
    return Score(value, value - half, value + half)


def _corrected_z(count: int, number: int) -> tuple[float, float]:
    """z of a rate with the log-linear correction, and its variance."""
    rate = (count + 0.5) / (number + 1)
    z = NORMAL.inv_cdf(rate)
    return z, rate * (1 - rate) / (number * NORMAL.pdf(z) ** 2)


def read_answers(truth: list[str], answers: list[str]) -> Reading:
    """The figures of one reader, or of several taken together.

    Args:
        truth: "real" or "synthetic", for each image.
        answers: the same, in the same order.

    Raises:
        InputError: there are no images of one of the two kinds.
    """
    pairs = list(zip(truth, answers, strict=True))
    signals = truth.count("synthetic")
    noises = truth.count("real")
    if not (signals and noises):
        raise InputError("the answers must be about real and synthetic images, some of each")
    hits = pairs.count(("synthetic", "synthetic"))
    rejections = pairs.count(("real", "real"))
    return Reading(
        proportion(hits + rejections, signals + noises),
        proportion(hits, signals),
        proportion(rejections, noises),
        d_prime(hits, signals, noises - rejections, noises),
        against_chance(hits + rejections, signals + noises),
    )


def load_answers(path: Path) -> pd.DataFrame:
    """A CSV that the quiz page has saved.

    Raises:
        InputError: it is not such a file, or a line of it holds something else.
    """
    table = open_table(path)
    table.require("id")
    if table.columns != ANSWER_COLUMNS:
        raise InputError(f"{path} is not a quiz's CSV: its columns are not {', '.join(ANSWER_COLUMNS)}")
    for column in ("truth", "answer"):
        wrong = table.frame.index[~table.frame[column].isin(["real", "synthetic"])]
        if len(wrong):
            raise InputError(f"{table.where(wrong[0])}: {column} is real or synthetic")
    return table.frame
