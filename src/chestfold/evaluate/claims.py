"""A claim, "A is better than B", and the probability that it is false.

Christodoulou et al., False promises in medical imaging AI? Assessing validity of outperformance claims, arXiv
2505.04720 (2025): most published claims have never been asked for it.
"""

import math

import numpy as np

from chestfold.core.records import Figure, Record
from chestfold.evaluate.bootstrap import UNDEFINED, Score


class Comparison(Record):
    """A result against another one, on the images that both have.

    `sha256`: of the other's oof.parquet. `folds`: those in common. `gain`: in `metric`, above 0 where ours is better.
    `p_false`: the probability that the claim in the direction of the gain is false, 0 to 1.
    """

    other: str
    sha256: str
    folds: tuple[int, ...]
    images: int
    patients: int
    metric: str
    gain: Score
    p_false: Figure

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the gain's interval excludes 0, else `not told apart`."""
        return verdict_of(self.gain)


def verdict_of(gain: Score) -> str:
    """`better` or `worse` where the interval of a gain excludes 0, else `not told apart`."""
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "not told apart"


def false_by_draws(gain: float, draws: np.ndarray) -> float:
    """The probability that a claim is false, by the replicates (R,) of a paired gain: the share with the other sign.

    Replicates of 0 count half. r of R of them make (r + 0.5) / (R + 1), which is never 0: that none of a thousand had
    the other sign does not make a claim certain. NaN where the gain is not defined.
    """
    counted = draws[~np.isnan(draws)]
    if math.isnan(gain) or not len(counted):
        return math.nan
    against = counted < 0 if gain >= 0 else counted > 0
    others = against.sum() + (counted == 0).sum() / 2
    return float((others + 0.5) / (len(counted) + 1))


def false_by_agreement(right: np.ndarray, right_of_other: np.ndarray, groups: np.ndarray) -> float:
    """The probability that a claim about shares of right answers is false, by the agreement of the two.

    Four counts have a Dirichlet distribution after a uniform one before: both right, only ours, only the other's,
    neither. Of these the two that differ decide, in the proportion of a Beta distribution (arXiv 2505.04720). Images of
    one patient are not independent of each other: counts of images are scaled to the number of patients.

    Args:
        right: bool (N,), whether each answer of ours is right.
        right_of_other: the same of the other.
        groups: patients (N,).
    """
    from scipy.special import betainc

    if not len(groups):
        return math.nan
    scale = len(np.unique(groups)) / len(groups)
    ours = float((right & ~right_of_other).sum()) * scale
    theirs = float((right_of_other & ~right).sum()) * scale
    return float(betainc(max(ours, theirs) + 1, min(ours, theirs) + 1, 0.5))


def in_words(p_false: float) -> str:
    """A probability that a claim is false, for people."""
    if math.isnan(p_false):
        return UNDEFINED
    return "< 0.001" if p_false < 0.001 else f"{p_false:.3f}"
