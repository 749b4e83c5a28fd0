"""The figures behind the charts: from labels and probabilities to points and bins.

Probabilities are float (N, K), rows summing to 1; labels are int64 (N,).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from chestfold.core.run_folder import History
from chestfold.evaluate import metrics
from chestfold.report.charts import Axes, Curve, spread, ticks


@dataclass(frozen=True)
class Bin:
    """Predictions whose top class has a probability from `low` to `high`: how many, how sure, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float

    def __str__(self) -> str:
        about = f"mean probability {self.confidence:.3f}, right {self.accuracy:.3f}"
        return f"{self.low:.3f} to {self.high:.3f}: {self.count} images, {about}"


@dataclass(frozen=True)
class OverEpochs:
    """A metric over the epochs. `curves`: fold, "training" or "", and the line; `best`: fold, epoch and value kept."""

    name: str
    axes: Axes
    ticks: list[float]
    curves: list[tuple[int, str, Curve]]
    best: list[tuple[int, int, float]]


def drawn_classes(labels: np.ndarray, classes: list[str], positive: str) -> list[int]:
    """The classes that have a curve: of two the positive one, of more each against the rest, if both are there."""
    wanted = [classes.index(positive)] if len(classes) == 2 else range(len(classes))
    return [number for number in wanted if 0 < (labels == number).sum() < len(labels)]


def roc(labels: np.ndarray, probs: np.ndarray, classes: list[str], drawn: list[int]) -> list[Curve]:
    """False and true positive rates of the `drawn` classes."""
    curves = []
    for number in drawn:
        truth = labels == number
        scores = probs[:, number]
        fpr, tpr, _ = roc_curve(truth, scores)
        curves.append(Curve(f"{classes[number]}, AUC {metrics.auc(truth, scores):.4f}", fpr, tpr))
    return curves


def precision_recall(labels: np.ndarray, probs: np.ndarray, classes: list[str], drawn: list[int]) -> list[Curve]:
    """Recall and precision of the `drawn` classes, recall rising."""
    curves = []
    for number in drawn:
        truth = labels == number
        scores = probs[:, number]
        precision, recall, _ = precision_recall_curve(truth, scores)
        name = f"{classes[number]}, average precision {average_precision_score(truth, scores):.4f}"
        curves.append(Curve(name, recall[::-1], precision[::-1]))
    return curves


def reliability(labels: np.ndarray, probs: np.ndarray) -> list[Bin]:
    """The bins of the calibration error, `metrics.ECE_BINS` equal ones, that hold a prediction."""
    count = metrics.ECE_BINS
    confidence = probs.max(axis=1)
    right = probs.argmax(axis=1) == labels
    number = np.minimum((confidence * count).astype(int), count - 1)
    bins = []
    for n in np.unique(number):
        inside = number == n
        found = Bin(
            low=n / count,
            high=(n + 1) / count,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        bins.append(found)
    return bins


def over_epochs(key: str, histories: Mapping[int, History], best: Mapping[int, int]) -> OverEpochs:
    """The validation metric `key` and, where it was measured, that of training, `train_KEY`.

    Args:
        key: of the metric.
        histories: fold -> its epochs.
        best: fold -> the epoch that was kept, from 1.
    """
    name = {"auc": "AUC"}.get(key, key)
    curves = []
    for fold, history in histories.items():
        for column, kind in ((f"train_{key}", "training"), (key, "")):
            rows = [row for row in history if column in row]
            if rows:
                epochs = np.array([row["epoch"] for row in rows], float)
                curves.append((fold, kind, Curve(name, epochs, np.array([row[column] for row in rows], float))))
    last = max(len(history) for history in histories.values())
    values = np.concatenate([curve.y for _, _, curve in curves])
    axes = Axes((0.5, last + 0.5), spread(values.tolist()))
    kept = [(fold, epoch, histories[fold][epoch - 1][key]) for fold, epoch in best.items() if fold in histories]
    return OverEpochs(name, axes, ticks(axes.x, integers=True), curves, kept)
