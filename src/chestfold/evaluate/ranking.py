"""One column of scores, sorted once: what its ROC and precision-recall curves hold, under any weights of the rows."""

import numpy as np


class Ranking:
    """Scores and what is positive; a weighted figure costs one pass. Exact: tied scores are one place of a curve.

    `below`, `not_above`: of each positive, how many negatives have a lower score, and how many no higher one.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        """`positive`: bool (N,); `scores`: float (N,)."""
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.positive = positive[self.order]
        self.positives = np.flatnonzero(positive)
        self.negatives = self.order[~self.positive]
        lower = scores[self.negatives]
        self.below = np.searchsorted(lower, scores[self.positives], "left")
        self.not_above = np.searchsorted(lower, scores[self.positives], "right")

    def _counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of the positives and of the negatives at each different score, the lowest first."""
        w = weights.take(self.order, axis=-1)
        pos = np.add.reduceat(w * self.positive, self.starts, axis=-1)
        neg = np.add.reduceat(w * ~self.positive, self.starts, axis=-1)
        return pos, neg

    def auc(self, weights: np.ndarray) -> np.ndarray:
        """Area under the ROC curve with row weights (N,), or of each of many (R, N); NaN when a class has no weight."""
        pos = weights.take(self.positives, axis=-1)
        neg = np.zeros((*weights.shape[:-1], len(self.negatives) + 1))
        weights.take(self.negatives, axis=-1).cumsum(axis=-1, out=neg[..., 1:])
        passed = neg.take(self.below, axis=-1) + neg.take(self.not_above, axis=-1)
        pairs = (pos * passed).sum(axis=-1) / 2
        return _share(pairs, pos.sum(axis=-1) * neg[..., -1])

    def average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Mean precision over the steps of recall, as scikit-learn has it; NaN when no positive has weight."""
        pos, neg = self._counts(weights)
        found, alarms = _from_the_top(pos), _from_the_top(neg)
        precision = np.nan_to_num(_share(found, found + alarms))
        return _share((pos * precision).sum(axis=-1), pos.sum(axis=-1))

    def sensitivity_at(self, specificity: float, weights: np.ndarray) -> np.ndarray:
        """The highest sensitivity of a threshold whose specificity is not below the given one, 0 to 1."""
        pos, neg = self._counts(weights)
        found, alarms = _from_the_top(pos), _from_the_top(neg)
        allowed = _share(alarms, alarms[..., :1]) <= 1 - specificity + 1e-12  # 0.05 of 20 negatives is one of them
        highest = np.where(allowed, found, 0).max(axis=-1)
        return np.where(alarms[..., 0] > 0, _share(highest, found[..., 0]), np.nan)


def _from_the_top(counts: np.ndarray) -> np.ndarray:
    """At each score, the sum of those at it and above."""
    return counts[..., ::-1].cumsum(axis=-1)[..., ::-1]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`; NaN where there is no whole."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
