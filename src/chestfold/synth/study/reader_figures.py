"""How well a reader tells two kinds of image apart. The figures of a rating experiment, with 95 % intervals.

One of the two kinds is the signal: of real and synthetic images the synthetic ones, of a data set's classes the second.
A reader rates each image from 1 (certainly not the signal) over 3 (undecided) to 5 (certainly the signal); from 4 on
the signal is called, which makes the figures of a yes-no task:

- d' = z(hit rate) - z(false alarm rate), each rate with 0.5 added to its count and 1 to its number, so that no rate is
  0 or 1 (the log-linear correction: Hautus, Behavior Research Methods 27(1), 1995, page 46). Its variance is that of
  Gourevitch and Galanter (Psychometrika 32(1), 1967, page 25).
- The intervals of proportions are Wilson's (JASA 22, 1927, page 209).

The ratings themselves make the empirical ROC curve. The area under it is the Mann-Whitney statistic; its interval is
method 5 of Newcombe (Statistics in Medicine 25, 2006, pages 559-573), which an area of 1 does not make a point. The
difference between two areas over the same images has the variance of DeLong, DeLong and Clarke-Pearson (Biometrics 44,
1988, pages 837-845).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest

from chestfold.core.errors import InputError
from chestfold.data.tables import Table, each_cell, open_table
from chestfold.evaluate.bootstrap import Score

NORMAL = NormalDist()
Z_975 = NORMAL.inv_cdf(0.975)
RATINGS = 5
CALLED_FROM = 4
"""The lowest rating that calls an image a signal."""
BESIDE = 1e-9
"""So far from the area its bounds are searched: both equations hold for 0 and 1 themselves."""
ANSWER_COLUMNS = ["reader", "number", "id", "truth", "signal", "rating", "seconds", "model"]
OLD_COLUMNS = ["number", "id", "truth", "answer", "seconds"]
"""Of quizzes that asked for real or synthetic alone."""


@dataclass(frozen=True)
class Answers:
    """What a reader answered about N images. `is_signal`, `called`: bool (N,).

    `ratings`: int (N,), None where there was no scale. `model`: a model's probability of the signal, float (N,), or
    None.
    """

    is_signal: np.ndarray
    called: np.ndarray
    ratings: np.ndarray | None = None
    model: np.ndarray | None = None


@dataclass(frozen=True)
class Reading:
    """What a reader's answers are worth. `p_chance`: two-sided, exact, of the accuracy against guessing.

    `auc`: of the ratings. `against_model`: that minus the model's; None also where both are without a doubt.
    """

    accuracy: Score
    sensitivity: Score
    specificity: Score
    d_prime: Score
    p_chance: float
    auc: Score | None = None
    model_auc: Score | None = None
    against_model: Score | None = None


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


def rating_auc(is_signal: np.ndarray, scores: np.ndarray) -> Score:
    """The area under the empirical ROC curve of `scores` (N,), with Newcombe's interval."""
    signals, noises = int(is_signal.sum()), int((~is_signal).sum())
    area = float(_wins(is_signal, scores).mean())
    return Score(area, *_newcombe(area, signals, noises))


def auc_difference(is_signal: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> Score | None:
    """The area of `ours` (N,) minus that of `theirs`, paired; None where no two images differ in it."""
    gained = _wins(is_signal, ours) - _wins(is_signal, theirs)
    of_signals, of_noises = gained.mean(axis=1), gained.mean(axis=0)
    if min(len(of_signals), len(of_noises)) < 2:
        return None
    variance = of_signals.var(ddof=1) / len(of_signals) + of_noises.var(ddof=1) / len(of_noises)
    if not variance:
        return None
    value, half = float(gained.mean()), Z_975 * math.sqrt(variance)
    return Score(value, max(value - half, -1.0), min(value + half, 1.0))


def _wins(is_signal: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of each signal (row) over each noise (column): 1, or 1/2 where both have the same score."""
    signals, noises = scores[is_signal][:, None], scores[~is_signal][None]
    return (signals > noises) + (signals == noises) / 2


def _newcombe(area: float, signals: int, noises: int) -> tuple[float, float]:
    """The areas whose own standard error, as Hanley and McNeil have it, reaches just to `area`."""
    others = (signals + noises) / 2 - 1

    def deviation(true: float) -> float:
        spread = 1 + others * ((1 - true) / (2 - true) + true / (1 + true))
        return Z_975 * math.sqrt(true * (1 - true) * spread / (signals * noises))

    low = _crossing(lambda x: x + deviation(x) - area, 0.0, max(area - BESIDE, 0.0))
    high = _crossing(lambda x: x - deviation(x) - area, min(area + BESIDE, 1.0), 1.0)
    return low, high


def _crossing(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function is 0; at an end that it does not pass."""
    if function(low) >= 0:
        return low
    if function(high) <= 0:
        return high
    return float(brentq(function, low, high, xtol=1e-12))


def read_answers(answers: Answers) -> Reading:
    """The figures of one reader, or of several taken together.

    Raises:
        InputError: there are no images of one of the two kinds.
    """
    truth, called = answers.is_signal, answers.called
    signals, noises = int(truth.sum()), int((~truth).sum())
    if not (signals and noises):
        raise InputError("the answers must be about both kinds of image, some of each")
    hits = int((truth & called).sum())
    rejections = int((~truth & ~called).sum())
    return Reading(
        proportion(hits + rejections, signals + noises),
        proportion(hits, signals),
        proportion(rejections, noises),
        d_prime(hits, signals, noises - rejections, noises),
        against_chance(hits + rejections, signals + noises),
        None if answers.ratings is None else rating_auc(truth, answers.ratings),
        None if answers.model is None else rating_auc(truth, answers.model),
        _against_model(answers),
    )


def _against_model(answers: Answers) -> Score | None:
    if answers.ratings is None or answers.model is None:
        return None
    return auc_difference(answers.is_signal, answers.ratings, answers.model)


def together(readers: list[Answers]) -> Answers:
    """The answers of all, as if they were one reader's; a scale or a model that some lack is left out."""

    def joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None

    return Answers(
        np.concatenate([reader.is_signal for reader in readers]),
        np.concatenate([reader.called for reader in readers]),
        joined([reader.ratings for reader in readers]),
        joined([reader.model for reader in readers]),
    )


def load_answers(path: Path) -> Answers:
    """A CSV that the quiz page has saved.

    Raises:
        InputError: it is not such a file, or a line of it holds something else.
    """
    table = open_table(path)
    table.require("id")
    if table.columns == OLD_COLUMNS:
        return _old_answers(table)
    if table.columns != ANSWER_COLUMNS:
        raise InputError(f"{path} is not a quiz's CSV: its columns are not {', '.join(ANSWER_COLUMNS)}")
    truth, signal = table.frame["truth"], table.frame["signal"]
    if signal.nunique() > 1:
        raise InputError(f"{path} holds the answers of several quizzes: its column signal is not the same in each line")
    ratings = np.array(each_cell(table.cells("rating"), _rating, table.where), int)
    model = None
    if (table.frame["model"] != "").any():
        model = np.array(each_cell(table.cells("model"), _probability, table.where))
    return Answers((truth == signal).to_numpy(), ratings >= CALLED_FROM, ratings, model)


def _old_answers(table: Table) -> Answers:
    for column in ("truth", "answer"):
        wrong = table.frame.index[~table.frame[column].isin(["real", "synthetic"])]
        if len(wrong):
            raise InputError(f"{table.where(wrong[0])}: {column} is real or synthetic")
    said = table.frame[["truth", "answer"]] == "synthetic"
    return Answers(said["truth"].to_numpy(), said["answer"].to_numpy())


def _rating(cell: str) -> int:
    if cell not in [str(rating) for rating in range(1, RATINGS + 1)]:
        raise ValueError(f"rating is a whole number from 1 to {RATINGS}, not {cell!r}")
    return int(cell)


def _probability(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"model is a number from 0 to 1, not {cell!r}")
    return value
