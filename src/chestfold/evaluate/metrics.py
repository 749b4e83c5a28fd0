"""Scores with their doubt: every figure comes with a 95 % bootstrap interval over patients.

Probabilities are float (N, K), rows summing to 1; labels are int64 (N,), 0 <= label < K. For two classes the
figures speak of the positive class; for more they are macro averages over one-versus-rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chestfold.core.rng import generator

NAMES = ("auc", "precision", "recall", "specificity", "f1", "accuracy", "ece")
REPLICATES = 1000
ECE_BINS = 15


@dataclass(frozen=True)
class Score:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Ranking:
    """One score column sorted once, so that a weighted AUC costs one pass: exact, ties count half."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        """`positive`: bool (N,); `scores`: float (N,)."""
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self.positive = positive[self.order]

    def auc(self, weights: np.ndarray) -> float:
        """Area under the ROC curve with row weights (N,); NaN when a class has no weight."""
        w = weights[self.order]
        pos = np.add.reduceat(w * self.positive, self.starts)
        neg = np.add.reduceat(w * ~self.positive, self.starts)
        below = np.cumsum(neg) - neg
        total = pos.sum() * neg.sum()
        return float((pos * (below + neg / 2)).sum() / total) if total else float("nan")


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve; `positive` bool (N,), `scores` float (N,)."""
    return Ranking(positive, scores).auc(np.ones(len(scores)))


def macro_auc(labels: np.ndarray, probs: np.ndarray) -> float:
    """AUC of two classes, or the mean one-versus-rest AUC of more."""
    return float(np.mean([auc(labels == c, probs[:, c]) for c in _scored_classes(probs)]))


def _scored_classes(probs: np.ndarray) -> list[int]:
    return [1] if probs.shape[1] == 2 else list(range(probs.shape[1]))


def confusion(labels: np.ndarray, predicted: np.ndarray, count: int, weights: np.ndarray) -> np.ndarray:
    """Weighted counts, float (count, count): row = true class, column = predicted class."""
    flat = np.bincount(labels * count + predicted, weights, minlength=count * count)
    return flat.reshape(count, count)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part, float), where=whole > 0)


def from_confusion(matrix: np.ndarray, positive: int) -> dict[str, float]:
    """Precision, recall, specificity, F1 and accuracy; macro averages when there are more than two classes."""
    hit, total = np.diag(matrix), matrix.sum()
    truly, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    figures = {
        "precision": _share(hit, predicted),
        "recall": _share(hit, truly),
        "specificity": _share(total - truly - predicted + hit, total - truly),
        "f1": _share(2 * hit, truly + predicted),
    }
    two = len(matrix) == 2
    named = {k: float(v[positive] if two else v.mean()) for k, v in figures.items()}
    return named | {"accuracy": float(hit.sum() / total)}


def ece(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error of the top class, 15 equal bins (Guo et al., ICML 2017, eq. 3)."""
    confidence = probs.max(axis=1)
    right = (probs.argmax(axis=1) == labels).astype(float)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, weights * (right - confidence), minlength=ECE_BINS)
    return float(np.abs(gap).sum() / weights.sum())


def decide(probs: np.ndarray, positive: int, threshold: float | np.ndarray = 0.5) -> np.ndarray:
    """Predicted class, int64 (N,): by threshold on the positive class for two classes, else the most probable."""
    if probs.shape[1] == 2:
        return np.where(probs[:, positive] >= threshold, positive, 1 - positive)
    return probs.argmax(axis=1)


def patient_weights(groups: np.ndarray, replicates: int = REPLICATES) -> Iterator[np.ndarray]:
    """Bootstrap over patients: yields row weights, float64 (N,), how often each row's patient was drawn."""
    names, patient = np.unique(groups, return_inverse=True)
    rng = generator("bootstrap", len(names))
    for _ in range(replicates):
        drawn = rng.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names)).astype(float)[patient]


def _interval(value: float, replicates: list[float]) -> Score:
    low, high = np.nanpercentile(replicates, [2.5, 97.5])
    return Score(value, float(low), float(high))


def score(
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    positive: int,
    threshold: float | np.ndarray = 0.5,
) -> dict[str, Score]:
    """All figures of `NAMES` with intervals. `groups` (N,) names each row's patient."""
    predicted, classes = decide(probs, positive, threshold), probs.shape[1]
    rankings = [Ranking(labels == c, probs[:, c]) for c in _scored_classes(probs)]

    def figures(weights: np.ndarray) -> dict[str, float]:
        matrix = confusion(labels, predicted, classes, weights)
        area = float(np.mean([r.auc(weights) for r in rankings]))
        return {"auc": area, **from_confusion(matrix, positive), "ece": ece(labels, probs, weights)}

    point = figures(np.ones(len(labels)))
    draws = [figures(w) for w in patient_weights(groups)]
    return {name: _interval(point[name], [d[name] for d in draws]) for name in NAMES}


def mean_auc(labels: np.ndarray, many: list[np.ndarray], groups: np.ndarray) -> Score:
    """Mean AUC of several predictions (N, K) of the same rows, all drawn with the same patients."""
    rankings = [Ranking(labels == c, probs[:, c]) for probs in many for c in _scored_classes(probs)]

    def mean(weights: np.ndarray) -> float:
        return float(np.mean([r.auc(weights) for r in rankings]))

    return _interval(mean(np.ones(len(labels))), [mean(w) for w in patient_weights(groups)])


def paired_auc(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray) -> Score:
    """AUC of `ours` minus AUC of `theirs` on the same rows, both drawn with the same patients."""
    classes = _scored_classes(ours)
    pairs = [(Ranking(labels == c, ours[:, c]), Ranking(labels == c, theirs[:, c])) for c in classes]

    def gap(weights: np.ndarray) -> float:
        return float(np.mean([a.auc(weights) - b.auc(weights) for a, b in pairs]))

    return _interval(gap(np.ones(len(labels))), [gap(w) for w in patient_weights(groups)])


def class_means(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: list[int]) -> list[Score]:
    """The mean of `values` (N,) over the rows of each class, and last the mean of these means."""

    def means(weights: np.ndarray) -> list[float]:
        heavy = [weights * (labels == c) for c in classes]
        each = [float((w * values).sum() / w.sum()) if w.sum() else float("nan") for w in heavy]
        return [*each, float(np.mean(each))]

    draws = np.array([means(w) for w in patient_weights(groups)])
    return [_interval(point, draws[:, n].tolist()) for n, point in enumerate(means(np.ones(len(values))))]


def paired_recall(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray, positive: int) -> Score:
    """Recall of `ours` minus recall of `theirs` at 0.5 on the same rows, both drawn with the same patients."""
    truly = labels == positive
    gained = truly * ((decide(ours, positive) == positive).astype(float) - (decide(theirs, positive) == positive))

    def gap(weights: np.ndarray) -> float:
        total = float((weights * truly).sum())
        return float((weights * gained).sum()) / total if total else float("nan")

    return _interval(gap(np.ones(len(labels))), [gap(w) for w in patient_weights(groups)])


def best_threshold(labels: np.ndarray, scores: np.ndarray, positive: int) -> float:
    """The threshold on the positive class's probability with the highest F1, half-way between two scores."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order] == positive)
    predicted = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (predicted + (labels == positive).sum())
    ends = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    last = ends[np.argmax(f1[ends])]
    below = scores[order][min(last + 1, len(scores) - 1)]
    return float((scores[order][last] + below) / 2)


def cross_fitted_thresholds(labels: np.ndarray, probs: np.ndarray, folds: np.ndarray, positive: int) -> np.ndarray:
    """A threshold for every row (N,), chosen on the rows of the other folds only."""
    thresholds = np.empty(len(labels))
    for fold in np.unique(folds):
        others = folds != fold
        thresholds[~others] = best_threshold(labels[others], probs[others, positive], positive)
    return thresholds
