"""One column of scores, sorted once: what its ROC and precision-recall curves hold, under any weights of the rows."""

from functools import cached_property

import numpy as np


class Ranking:
    """Scores and what is positive; a weighted figure costs one pass. Exact: tied scores are one place of a curve."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        """`positive`: bool (N,); `scores`: float (N,)."""
        self.order = np.argsort(scores, kind="stable")
        self.ordered = scores[self.order]
        self.positive = positive[self.order]

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each different score begins."""
        return np.flatnonzero(np.r_[True, self.ordered[1:] != self.ordered[:-1]])

    def _counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of the positives and of the negatives at each different score, the lowest first."""
        w = weights[self.order]
        pos = np.add.reduceat(w * self.positive, self._starts)
        neg = np.add.reduceat(w * ~self.positive, self._starts)
        return pos, neg

    @cached_property
    def _positives(self) -> np.ndarray:
        """Row numbers, the lowest score first."""
        return self.order[self.positive]

    @cached_property
    def _negatives(self) -> np.ndarray:
        return self.order[~self.positive]

    @cached_property
    def _beaten(self) -> tuple[np.ndarray, np.ndarray]:
        """For each positive, how many negatives have a lower score, and how many a lower one or the same."""
        pos, neg = self.ordered[self.positive], self.ordered[~self.positive]
        return np.searchsorted(neg, pos, "left"), np.searchsorted(neg, pos, "right")

    def auc(self, weights: np.ndarray) -> float:
        """Area under the ROC curve with row weights (N,); NaN when a class has no weight.

        Exact where the weights are whole numbers, as in a bootstrap: so are all sums of them.
        """
        pos = weights[self._positives]
        neg = np.zeros(len(self._negatives) + 1)
        np.cumsum(weights[self._negatives], out=neg[1:])
        lower, not_higher = self._beaten
        total = float(pos.sum() * neg[-1])
        won = (neg[lower] + neg[not_higher]) / 2
        return float(pos @ won) / total if total else float("nan")

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
