"""Thresholds on probabilities: chosen where they are not scored.

Of two exclusive classes there is one, on the positive class; of several labels each has its own.
"""

import numpy as np

from chestfold.core.task import Labels, Task
from chestfold.evaluate.metrics import METRICS, Evaluation, Metric, Predicted

CANDIDATES = 200
"""Thresholds that are tried for a metric, at most: quantiles of the scores."""
UNFITTED = 0.5
"""The threshold of a label of which nothing is known."""


def have_thresholds(task: Task) -> bool:
    """Whether a decision of `task` depends on a threshold: not where the most probable of several classes is taken."""
    return not task.sums_to_one or len(task.classes) == 2


def best_thresholds(task: Task, labels: Labels, probs: np.ndarray, metric: Metric | None = None) -> np.ndarray:
    """The threshold of each scored class, float (C,): the one with the highest `metric`, or F1 where that decides none.

    Args:
        task: one that has thresholds.
        labels: N of them.
        probs: float (N, K).
        metric: what shall be high.
    """
    chosen = []
    for number in task.scored_classes:
        truth = task.truth(labels)[:, number]
        known = ~np.isnan(truth)
        if not known.any():
            chosen.append(UNFITTED)
        elif metric is None or not metric.decides or metric is METRICS["f1"]:
            chosen.append(best_f1_threshold(truth[known] == 1, probs[known, number]))
        else:
            rows = Predicted(task, labels[known], probs[known])
            chosen.append(_best_threshold(rows, number, metric))
    return np.array(chosen)


def best_f1_threshold(positive: np.ndarray, scores: np.ndarray) -> float:
    """The threshold on `scores` (N,) with the highest F1 for `positive`, bool (N,), half-way between two scores."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    predicted = np.arange(1, len(scores) + 1)
    f1_scores = 2 * hits / (predicted + positive.sum())
    ends = np.flatnonzero(np.r_[scores[order][1:] != scores[order][:-1], True])
    last = ends[np.argmax(f1_scores[ends])]
    below = scores[order][min(last + 1, len(scores) - 1)]
    return float((scores[order][last] + below) / 2)


def _best_threshold(rows: Predicted, number: int, metric: Metric) -> float:
    """Of the quantiles of a class's scores the one with the best metric of this class; of equals the middle one."""
    candidates = threshold_candidates(rows.probs[:, number])
    gains = []
    for candidate in candidates:
        decided = Predicted(rows.task, rows.labels, rows.probs, candidate)
        value = metric.function(Evaluation(decided, np.ones(len(rows.probs)), [number]))
        gains.append(metric.worth(value))
    best = np.flatnonzero(np.array(gains) == max(gains))
    return float(candidates[best[len(best) // 2]])


def threshold_candidates(scores: np.ndarray) -> np.ndarray:
    """Places between the different `scores` (N,), ascending, and one below all of them; at most `CANDIDATES`."""
    different = np.unique(scores)
    between = np.r_[different[0] / 2, (different[1:] + different[:-1]) / 2]
    if len(between) <= CANDIDATES:
        return between
    return between[np.linspace(0, len(between) - 1, CANDIDATES).round().astype(int)]


def cross_fitted_thresholds(
    task: Task, labels: Labels, probs: np.ndarray, folds: np.ndarray, metric: Metric | None = None
) -> np.ndarray:
    """Thresholds for every row, float (N, C), chosen on the rows of the other folds only."""
    thresholds = np.empty((len(probs), len(task.scored_classes)))
    for fold in np.unique(folds):
        others = folds != fold
        thresholds[~others] = best_thresholds(task, labels[others], probs[others], metric)
    return thresholds


def as_given(task: Task, thresholds: np.ndarray) -> np.ndarray:
    """Thresholds (C,) or (N, C) as `Task.decide` takes them: of two exclusive classes without the last axis."""
    return thresholds[..., 0] if task.sums_to_one else thresholds
