"""Differences with their doubt: two predictions of the same rows, drawn with the same patients.

All are of one metric, AUC where none is named.
"""

from collections.abc import Sequence

import numpy as np

from chestfold.core.task import Labels, Task
from chestfold.evaluate import intervals
from chestfold.evaluate.bootstrap import Score, drawn
from chestfold.evaluate.intervals import Estimate
from chestfold.evaluate.metrics import METRICS, Evaluation, Metric, Predicted, difference, mean_of_defined

AUC = METRICS["auc"]


class FoldMean:
    """The mean over the folds of each fold's metric: it does not depend on offsets between the folds' predictions."""

    def __init__(self, task: Task, labels: Labels, probs: np.ndarray, folds: np.ndarray, metric: Metric = AUC) -> None:
        self._metric = metric
        self._rows = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        self._parts = [Predicted(task, labels[rows], probs[rows]) for rows in self._rows]

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """With row weights (N,), or those of many replicates (R, N); a fold without a figure does not count."""
        values = []
        for part, rows in zip(self._parts, self._rows, strict=True):
            values.append(_values(self._metric, part, weights[..., rows]))
        return mean_of_defined(np.stack(values, axis=-1))


def _values(metric: Metric, predicted: Predicted, weights: np.ndarray) -> np.ndarray:
    return metric.values(Evaluation(predicted, weights, predicted.task.scored_classes))


def folds_minus_pooled(task: Task, labels: Labels, probs: np.ndarray, groups: np.ndarray, folds: np.ndarray) -> Score:
    """The mean of the folds' AUCs minus the AUC of all images, drawn with the same patients.

    It is above 0 where the folds' probabilities are on different scales, so that images of two folds cannot be ranked
    together (Forman and Scholz, SIGKDD Explorations 12, 2010; Airola et al., MLSB 2009).
    """
    of_folds, pooled = FoldMean(task, labels, probs, folds), Predicted(task, labels, probs)
    point, draws = drawn(lambda weights: (of_folds(weights) - _values(AUC, pooled, weights))[:, None], groups)
    patients = AUC.patients(pooled, task.scored_classes, groups)
    return intervals.of_difference(Estimate(float(point[0]), intervals.deviation(draws[:, 0]), patients))


def mean_score(
    task: Task, labels: Labels, many: Sequence[np.ndarray], groups: np.ndarray, metric: Metric = AUC
) -> Score:
    """The mean metric of several predictions (N, K) of the same rows, all drawn with the same patients."""
    parts = [Predicted(task, labels, probs) for probs in many]

    def mean(weights: np.ndarray) -> np.ndarray:
        return np.mean([_values(metric, part, weights) for part in parts], axis=0)[:, None]

    point, draws = drawn(mean, groups)
    patients = min(metric.patients(part, task.scored_classes, groups) for part in parts)
    return metric.score(point[0], draws[:, 0], patients)


def paired_fold_gain(
    task: Task,
    labels: Labels,
    ours: np.ndarray,
    theirs: np.ndarray,
    groups: np.ndarray,
    folds: np.ndarray,
    metric: Metric = AUC,
) -> Score:
    """`FoldMean` of `ours` minus that of `theirs`, as a gain."""
    a, b = (FoldMean(task, labels, probs, folds, metric) for probs in (ours, theirs))
    point, draws = drawn(lambda weights: metric.sign * (a(weights) - b(weights))[:, None], groups)
    sides = [Predicted(task, labels, probs) for probs in (ours, theirs)]
    return intervals.of_difference(difference(metric, point[0], draws[:, 0], sides, groups))
