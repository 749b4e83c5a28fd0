"""The figures behind the charts: from labels and probabilities to points and bins."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from chestfold.core.run_folder import History
from chestfold.core.task import Labels, Task
from chestfold.evaluate.metrics import ECE_BINS, Predicted, confidences
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


@dataclass(frozen=True)
class Column:
    """One class against the rest: its known rows. `positive`: bool (N,); `scores`: float (N,)."""

    name: str
    positive: np.ndarray
    scores: np.ndarray


def columns(task: Task, labels: Labels, probs: np.ndarray) -> list[Column]:
    """The classes that have a curve: those that are scored, if there are rows of both kinds."""
    truth = task.truth(labels)
    found = []
    for number in task.scored_classes:
        known = ~np.isnan(truth[:, number])
        positive = truth[known, number] == 1
        if 0 < positive.sum() < len(positive):
            found.append(Column(task.classes[number], positive, probs[known, number]))
    return found


def roc(drawn: list[Column]) -> list[Curve]:
    """False and true positive rates."""
    curves = []
    for column in drawn:
        fpr, tpr, _ = roc_curve(column.positive, column.scores)
        area = roc_auc_score(column.positive, column.scores)
        curves.append(Curve(f"{column.name}, AUC {area:.4f}", fpr, tpr))
    return curves


def precision_recall(drawn: list[Column]) -> list[Curve]:
    """Recall and precision, recall rising."""
    curves = []
    for column in drawn:
        precision, recall, _ = precision_recall_curve(column.positive, column.scores)
        name = f"{column.name}, average precision {average_precision_score(column.positive, column.scores):.4f}"
        curves.append(Curve(name, recall[::-1], precision[::-1]))
    return curves


def reliability(task: Task, labels: Labels, probs: np.ndarray) -> list[Bin]:
    """The bins of the calibration error, `ECE_BINS` equal ones, that hold a prediction.

    Of exclusive classes the top one of each image counts, of labels every one that is known.
    """
    count = ECE_BINS
    confidence, right = confidences(Predicted(task, labels, probs))
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
