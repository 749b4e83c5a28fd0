"""Can readers tell real from synthetic? The figures of a yes-no task, with 95 % intervals.

A signal is a synthetic picture; "synthetic" is the answer yes. d' = z(hit rate) - z(false alarm rate), each rate with
0.5 added to its count and 1 to its number, so that no rate is 0 or 1 (the log-linear correction: Hautus, Behavior
Research Methods 27(1), 1995, page 46). Its variance is that of Gourevitch and Galanter (Psychometrika 32(1), 1967, page
25). The intervals of proportions are Wilson's (JASA 22, 1927, page 209).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import pandas as pd

from chestfold.core.errors import InputError

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
ANSWER_COLUMNS = ["number", "id", "truth", "answer", "seconds"]


@dataclass(frozen=True)
class Figure:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Reading:
    """What a reader's answers are worth. `p_chance`: two-sided, exact, of the accuracy against guessing."""

    accuracy: Figure
    sensitivity: Figure
    specificity: Figure
    d_prime: Figure
    p_chance: float


def proportion(successes: int, number: int) -> Figure:
    """A share with Wilson's interval."""
    share, weight = successes / number, _Z**2 / number
    middle = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / number + weight / number / 4) / (1 + weight)
    return Figure(share, middle - half, middle + half)


def d_prime(hits: int, signals: int, false_alarms: int, noises: int) -> Figure:
    """d' with its interval; 0 is guessing."""
    value, variance = 0.0, 0.0
    for sign, count, number in ((1, hits, signals), (-1, false_alarms, noises)):
        rate = (count + 0.5) / (number + 1)
        z = _NORMAL.inv_cdf(rate)
        value += sign * z
        variance += rate * (1 - rate) / (number * _NORMAL.pdf(z) ** 2)
    half = _Z * math.sqrt(variance)
    return Figure(value, value - half, value + half)


def against_chance(right: int, number: int) -> float:
    """Two-sided exact binomial p of `right` answers out of `number`, if each were a coin's."""
    extreme = max(right, number - right)
    tail = sum(math.comb(number, k) for k in range(extreme, number + 1)) / 2**number
    return min(1.0, 2 * tail)


def read_answers(truth: list[str], answers: list[str]) -> Reading:
    """The figures of one reader, or of several taken together.

    Args:
        truth: "real" or "synthetic", for each picture.
        answers: the same, in the same order.

    Raises:
        InputError: there are no pictures of one of the two kinds.
    """
    pairs = list(zip(truth, answers, strict=True))
    signals, noises = truth.count("synthetic"), truth.count("real")
    if not (signals and noises):
        raise InputError("the answers must be about real and synthetic pictures, some of each")
    hits, rejections = pairs.count(("synthetic", "synthetic")), pairs.count(("real", "real"))
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
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a readable CSV ({' '.join(str(error).split())})") from error
    if list(table.columns) != ANSWER_COLUMNS:
        raise InputError(f"{path} is not a quiz's CSV: its columns are not {', '.join(ANSWER_COLUMNS)}")
    for column in ("truth", "answer"):
        odd = table[~table[column].isin(["real", "synthetic"])]
        if len(odd):
            raise InputError(f"{path}, line {odd.index[0] + 2}: {column} is real or synthetic")
    return table
