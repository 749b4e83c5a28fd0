"""Scores with their doubt: every figure comes with a 95 % bootstrap interval over patients.

Probabilities are float (N, K), rows summing to 1; labels are int64 (N,), 0 <= label < K. For two classes the
figures are those of the positive class; for more they are macro averages over one-versus-rest.

To add a metric, write a function of an `Evaluation` and its line in `METRICS`: scores.json, the board, the page and
RESULTS.md show it, and "-" for results that were scored before.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chestfold.core.rng import generator

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

    def format_gain(self) -> str:
        """As a difference: with its signs."""
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


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


def scored_classes(probs: np.ndarray) -> list[int]:
    """The classes whose AUC counts: of two the second, of more each against the rest."""
    return [1] if probs.shape[1] == 2 else list(range(probs.shape[1]))


def rank_classes(labels: np.ndarray, probs: np.ndarray) -> list[Ranking]:
    """A ranking of each scored class."""
    return [Ranking(labels == c, probs[:, c]) for c in scored_classes(probs)]


def confusion(labels: np.ndarray, predicted: np.ndarray, count: int, weights: np.ndarray) -> np.ndarray:
    """Weighted counts, float (count, count): row = true class, column = predicted class."""
    flat = np.bincount(labels * count + predicted, weights, minlength=count * count)
    return flat.reshape(count, count)


def decide(probs: np.ndarray, positive: int, threshold: float | np.ndarray = 0.5) -> np.ndarray:
    """Predicted class, int64 (N,): by threshold on the positive class for two classes, else the most probable."""
    if probs.shape[1] == 2:
        return np.where(probs[:, positive] >= threshold, positive, 1 - positive)
    return probs.argmax(axis=1)


# The metrics


@dataclass(frozen=True)
class Evaluation:
    """What a metric sees: predictions of N rows, each of which counts with its weight."""

    labels: np.ndarray
    probs: np.ndarray
    predicted: np.ndarray
    positive: int
    rankings: list[Ranking]
    weights: np.ndarray

    @cached_property
    def matrix(self) -> np.ndarray:
        """Weighted confusion counts (K, K): row = true class, column = predicted class."""
        return confusion(self.labels, self.predicted, self.probs.shape[1], self.weights)

    @cached_property
    def hits(self) -> np.ndarray:
        """Weight of the right predictions of each class (K,)."""
        return np.diag(self.matrix)

    def of_classes(self, part: np.ndarray, total: np.ndarray) -> float:
        """`part` / `total` (K,), 0 where `total` is 0: of the positive class of two, else the mean over the classes."""
        shares = np.divide(part, total, out=np.zeros_like(part, float), where=total > 0)
        return float(shares[self.positive] if len(shares) == 2 else shares.mean())


def roc_auc(e: Evaluation) -> float:
    """Area under the ROC curve; the mean one-versus-rest area of more than two classes."""
    return float(np.mean([ranking.auc(e.weights) for ranking in e.rankings]))


def precision(e: Evaluation) -> float:
    """Share of the predictions of a class that are right."""
    return e.of_classes(e.hits, e.matrix.sum(axis=0))


def recall(e: Evaluation) -> float:
    """Share of a class that is found: sensitivity."""
    return e.of_classes(e.hits, e.matrix.sum(axis=1))


def specificity(e: Evaluation) -> float:
    """Share of the other classes that is not predicted as this one."""
    others = e.matrix.sum() - e.matrix.sum(axis=1)
    false_alarms = e.matrix.sum(axis=0) - e.hits
    return e.of_classes(others - false_alarms, others)


def f1(e: Evaluation) -> float:
    """Harmonic mean of precision and recall."""
    return e.of_classes(2 * e.hits, e.matrix.sum(axis=0) + e.matrix.sum(axis=1))


def accuracy(e: Evaluation) -> float:
    """Share of right predictions."""
    return float(e.hits.sum() / e.matrix.sum())


def calibration_error(e: Evaluation) -> float:
    """Expected calibration error of the top class, 15 equal bins (Guo et al., ICML 2017, eq. 3)."""
    confidence = e.probs.max(axis=1)
    right = (e.probs.argmax(axis=1) == e.labels).astype(float)
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gap = np.bincount(bins, e.weights * (right - confidence), minlength=ECE_BINS)
    return float(np.abs(gap).sum() / e.weights.sum())


METRICS: dict[str, Callable[[Evaluation], float]] = {
    "auc": roc_auc,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "f1": f1,
    "accuracy": accuracy,
    "ece": calibration_error,
}
"""Name in scores.json -> function, in the order of the board's columns."""
TITLES = {"auc": "AUC", "f1": "F1", "ece": "ECE"}
"""Name -> title of its column, where it is not the name itself."""


def evaluate(
    labels: np.ndarray,
    probs: np.ndarray,
    groups: np.ndarray,
    positive: int,
    threshold: float | np.ndarray = 0.5,
) -> dict[str, Score]:
    """All of `METRICS` with intervals. `groups` (N,) names each row's patient."""
    predicted = decide(probs, positive, threshold)
    rankings = rank_classes(labels, probs)

    def figures(weights: np.ndarray) -> np.ndarray:
        evaluation = Evaluation(labels, probs, predicted, positive, rankings, weights)
        return np.array([metric(evaluation) for metric in METRICS.values()])

    return dict(zip(METRICS, bootstrap(figures, groups), strict=True))


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Exact area under the ROC curve; `positive` bool (N,), `scores` float (N,)."""
    return Ranking(positive, scores).auc(np.ones(len(scores)))


def macro_auc(labels: np.ndarray, probs: np.ndarray) -> float:
    """AUC of two classes, or the mean one-versus-rest AUC of more."""
    return mean_auc_of(rank_classes(labels, probs), np.ones(len(labels)))


def mean_auc_of(rankings: list[Ranking], weights: np.ndarray) -> float:
    """The mean area of several rankings of the same rows, which count with `weights` (N,)."""
    return float(np.mean([ranking.auc(weights) for ranking in rankings]))


def validation_figures(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Log loss, AUC, macro F1 and accuracy of one validation pass: what `Experiment.monitor` chooses from."""
    matrix = confusion(labels, probs.argmax(axis=1), probs.shape[1], np.ones(len(labels)))
    hits, sizes = np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1)
    f1_of_classes = np.divide(2 * hits, sizes, out=np.zeros(len(hits)), where=sizes > 0)
    truth = probs[np.arange(len(labels)), labels]
    return {
        "loss": float(-np.log(np.maximum(truth, 1e-12)).mean()),
        "auc": macro_auc(labels, probs),
        "macro_f1": float(f1_of_classes.mean()),
        "accuracy": float(hits.sum() / len(labels)),
    }


# The bootstrap


def patient_weights(groups: np.ndarray, replicates: int) -> Iterator[np.ndarray]:
    """Bootstrap over patients: yields row weights, float64 (N,), how often each row's patient was drawn."""
    names, patient = np.unique(groups, return_inverse=True)
    rng = generator("bootstrap", len(names))
    for _ in range(replicates):
        drawn = rng.integers(0, len(names), len(names))
        yield np.bincount(drawn, minlength=len(names)).astype(float)[patient]


def bootstrap(statistic: Callable[[np.ndarray], np.ndarray], groups: np.ndarray) -> list[Score]:
    """The figures (F,) that `statistic` makes of row weights (N,), with 95 % intervals by resampling patients."""
    point = statistic(np.ones(len(groups)))
    replicates = [statistic(weights) for weights in patient_weights(groups, REPLICATES)]
    low, high = np.nanpercentile(replicates, [2.5, 97.5], axis=0)
    return [Score(float(v), float(a), float(b)) for v, a, b in zip(point, low, high, strict=True)]


def bootstrap_one(statistic: Callable[[np.ndarray], float], groups: np.ndarray) -> Score:
    """`bootstrap` of a single figure."""
    return bootstrap(lambda weights: np.array([statistic(weights)]), groups)[0]


def mean_auc(labels: np.ndarray, many: list[np.ndarray], groups: np.ndarray) -> Score:
    """Mean AUC of several predictions (N, K) of the same rows, all drawn with the same patients."""
    rankings = [ranking for probs in many for ranking in rank_classes(labels, probs)]
    return bootstrap_one(lambda weights: mean_auc_of(rankings, weights), groups)


def paired_auc(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray) -> Score:
    """AUC of `ours` minus AUC of `theirs` on the same rows, both drawn with the same patients."""
    a, b = rank_classes(labels, ours), rank_classes(labels, theirs)
    return bootstrap_one(lambda weights: mean_auc_of(a, weights) - mean_auc_of(b, weights), groups)


class FoldAuc:
    """The mean over the folds of each fold's AUC: it does not depend on offsets between the folds' predictions."""

    def __init__(self, labels: np.ndarray, probs: np.ndarray, folds: np.ndarray) -> None:
        self._rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        self._rankings = [rank_classes(labels[rows], probs[rows]) for rows in self._rows]

    def __call__(self, weights: np.ndarray) -> float:
        """With row weights (N,); a fold in which a class has no weight does not count."""
        areas = [mean_auc_of(r, weights[rows]) for r, rows in zip(self._rankings, self._rows, strict=True)]
        counted = [area for area in areas if not np.isnan(area)]
        return float(np.mean(counted)) if counted else float("nan")


def paired_fold_auc(
    labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray, folds: np.ndarray
) -> Score:
    """`FoldAuc` of `ours` minus that of `theirs` on the same rows, both drawn with the same patients."""
    a, b = FoldAuc(labels, ours, folds), FoldAuc(labels, theirs, folds)
    return bootstrap_one(lambda weights: a(weights) - b(weights), groups)


def class_means(values: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: list[int]) -> list[Score]:
    """The mean of `values` (N,) over the rows of each class, and last the mean of these means."""

    def means(weights: np.ndarray) -> np.ndarray:
        each = [_weighted_mean(values, weights * (labels == c)) for c in classes]
        return np.array([*each, np.mean(each)])

    return bootstrap(means, groups)


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = float(weights.sum())
    return float((weights * values).sum()) / total if total else float("nan")


def paired_recall(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray, positive: int) -> Score:
    """Recall of `ours` minus recall of `theirs` at 0.5 on the same rows, both drawn with the same patients."""
    found = [(decide(probs, positive) == positive).astype(float) for probs in (ours, theirs)]
    gained = found[0] - found[1]
    return bootstrap_one(lambda weights: _weighted_mean(gained, weights * (labels == positive)), groups)


# Thresholds


def best_threshold(labels: np.ndarray, scores: np.ndarray, positive: int) -> float:
    """The threshold on the positive class's probability with the highest F1, half-way between two scores."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order] == positive)
    predicted = np.arange(1, len(scores) + 1)
    f1_scores = 2 * hits / (predicted + (labels == positive).sum())
    ends = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    last = ends[np.argmax(f1_scores[ends])]
    below = scores[order][min(last + 1, len(scores) - 1)]
    return float((scores[order][last] + below) / 2)


def cross_fitted_thresholds(labels: np.ndarray, probs: np.ndarray, folds: np.ndarray, positive: int) -> np.ndarray:
    """A threshold for every row (N,), chosen on the rows of the other folds only."""
    thresholds = np.empty(len(labels))
    for fold in np.unique(folds):
        others = folds != fold
        thresholds[~others] = best_threshold(labels[others], probs[others, positive], positive)
    return thresholds
