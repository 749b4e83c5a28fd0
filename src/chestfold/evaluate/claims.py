"""A claim, "A is better than B", and the probability that it is false.

Christodoulou et al., False promises in medical imaging AI? Assessing validity of outperformance claims, arXiv
2505.04720 (2025): most published claims have never been asked for it.
"""

import math

import numpy as np

from chestfold.core.records import Figure, Record
from chestfold.evaluate.bootstrap import UNDEFINED, Score
from chestfold.evaluate.intervals import Estimate


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


def false_by_error(gain: Estimate) -> float:
    """The probability that a claim is false, by the standard error of a gain: the share of Student's t beyond 0.

    So it is below 0.025 where the gain's interval excludes 0. NaN where the gain is not defined.
    """
    from scipy.special import stdtr

    if math.isnan(gain.value) or math.isnan(gain.error):
        return math.nan
    return float(stdtr(gain.freedom, -abs(gain.value) / gain.error)) if gain.error else 0.5


def false_by_agreement(right: np.ndarray, right_of_other: np.ndarray, groups: np.ndarray) -> float:
    """The probability that a claim about shares of right answers is false, by the agreement of the two.

    Four counts have a Dirichlet distribution after a uniform one before: both right, only ours, only the other's,
    neither. Of these the two that differ decide, in the proportion of a Beta distribution (arXiv 2505.04720). Images of
    one patient are not independent of each other: counts are divided by their `design_effect`.

    Args:
        right: bool (N,), whether each answer of ours is right.
        right_of_other: the same of the other.
        groups: patients (N,).
    """
    from scipy.special import betainc

    if not len(groups):
        return math.nan
    effect = design_effect(right.astype(float) - right_of_other, groups)
    ours = float((right & ~right_of_other).sum()) / effect
    theirs = float((right_of_other & ~right).sum()) / effect
    return float(betainc(max(ours, theirs) + 1, min(ours, theirs) + 1, 0.5))


def design_effect(values: np.ndarray, groups: np.ndarray) -> float:
    """How many times the variance of a mean of `values` (N,) is what it were if no images were of one patient.

    Never below 1 (Kish, Survey Sampling, 1965, section 8.2).
    """
    off = values - values.mean()
    of_patients = np.bincount(np.unique(groups, return_inverse=True)[1], off)
    alone = float((off**2).sum())
    return max(1.0, float((of_patients**2).sum()) / alone) if alone else 1.0


def in_words(p_false: float) -> str:
    """A probability that a claim is false, for people."""
    if math.isnan(p_false):
        return UNDEFINED
    return "< 0.001" if p_false < 0.001 else f"{p_false:.3f}"
