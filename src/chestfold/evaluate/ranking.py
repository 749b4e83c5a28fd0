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
        w = weights[self.order]
        pos = np.add.reduceat(w * self.positive, self.starts)
        neg = np.add.reduceat(w * ~self.positive, self.starts)
        return pos, neg

    def auc(self, weights: np.ndarray) -> float:
        """Area under the ROC curve with row weights (N,); NaN when a class has no weight."""
        pos = weights[self.positives]
        neg = np.r_[0.0, np.cumsum(weights[self.negatives])]
        total = pos.sum() * neg[-1]
        return float(pos @ (neg[self.below] + neg[self.not_above]) / 2 / total) if total else float("nan")

    def average_precision(self, weights: np.ndarray) -> float:
        """Mean precision over the steps of recall, as scikit-learn has it; NaN when no positive has weight."""
        pos, neg = self._counts(weights)
        found, alarms = _from_the_top(pos), _from_the_top(neg)
        predicted = found + alarms
        precision = np.divide(found, predicted, out=np.zeros_like(found), where=predicted > 0)
        return float((pos * precision).sum() / pos.sum()) if pos.sum() else float("nan")

    def sensitivity_at(self, specificity: float, weights: np.ndarray) -> float:
        """The highest sensitivity of a threshold whose specificity is not below the given one, 0 to 1."""
        pos, neg = self._counts(weights)
        if not pos.sum() or not neg.sum():
            return float("nan")
        false_alarms = _from_the_top(neg) / neg.sum()
        allowed = false_alarms <= 1 - specificity + 1e-12  # rounding: 0.05 of 20 negatives is one of them
        return float((_from_the_top(pos) / pos.sum())[allowed].max(initial=0.0))


def _from_the_top(counts: np.ndarray) -> np.ndarray:
    """At each score, the sum of those at it and above."""
    return counts[::-1].cumsum()[::-1]
