"""Intervals where a bootstrap sees none: all replicates of a figure of 0 or 1 are equal, and that is no certainty.

They are those of Clopper and Pearson (Biometrika 26, 1934, page 404) for n of n trials. A trial is a patient, because
the images of one are not independent of each other.
"""

import math

import numpy as np

from chestfold.evaluate.bootstrap import Score

TAIL = 0.025
"""Of a 95 % interval, at each end."""


def lowest_share(trials: int) -> float:
    """The lowest share that n successes in n trials leave possible; NaN without trials."""
    return TAIL ** (1 / trials) if trials else math.nan


def share_interval(value: float, trials: int) -> Score:
    """A share of 0 or 1 with its exact interval."""
    least = lowest_share(trials)
    return Score(value, least, 1.0) if value == 1 else Score(value, 0.0, 1 - least)


def f1_of_share(share: float) -> float:
    """F1 of the share of hits among what is present or found (Hand, Christen and Kirielle, Mach. Learn. 110, 2021)."""
    return 2 * share / (1 + share)


def patients_with(rows: np.ndarray, groups: np.ndarray) -> int:
    """How many different `groups` (N,) have one of the `rows`, bool (N,)."""
    return len(np.unique(groups[rows]))


def independent_pairs(ill: np.ndarray, well: np.ndarray, groups: np.ndarray) -> int:
    """How many pairs of an ill and a well patient can be made with no patient in two of them.

    `ill`, `well`: bool (N,). An AUC is the share of pairs in the right order, so that n of n such pairs bound an AUC of
    1 as n of n trials bound a share (Hanley and Lippman-Hand, JAMA 249, 1983, page 1743, for the bound).
    """
    everyone = patients_with(ill | well, groups)
    return min(patients_with(ill, groups), patients_with(well, groups), everyone // 2)
