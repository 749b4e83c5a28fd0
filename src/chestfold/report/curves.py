"""The figures behind the charts: from labels and probabilities to points and bins.

Probabilities are float (N, K), rows summing to 1; labels are int64 (N,).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from chestfold.evaluate import metrics


@dataclass(frozen=True)
class Curve:
    """A line of a chart: what it is, in words, and its points, float (P,) each."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Bin:
    """Predictions whose top class has a probability from `low` to `high`: how many, how sure, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def drawn_classes(labels: np.ndarray, classes: list[str], positive: str) -> list[int]:
    """The classes that have a curve: of two the positive one, of more each against the rest, if both are there."""
    wanted = [classes.index(positive)] if len(classes) == 2 else range(len(classes))
    return [number for number in wanted if 0 < (labels == number).sum() < len(labels)]


def roc(labels: np.ndarray, probs: np.ndarray, classes: list[str], drawn: list[int]) -> list[Curve]:
    """False and true positive rates of the `drawn` classes."""
    curves = []
    for number in drawn:
        truth = labels == number
        fpr, tpr, _ = roc_curve(truth, probs[:, number])
        curves.append(Curve(f"{classes[number]}, AUC {metrics.auc(truth, probs[:, number]):.4f}", fpr, tpr))
    return curves


def precision_recall(labels: np.ndarray, probs: np.ndarray, classes: list[str], drawn: list[int]) -> list[Curve]:
    """Recall and precision of the `drawn` classes, recall rising."""
    curves = []
    for number in drawn:
        truth = labels == number
        precision, recall, _ = precision_recall_curve(truth, probs[:, number])
        average = average_precision_score(truth, probs[:, number])
        name = f"{classes[number]}, average precision {average:.4f}"
        curves.append(Curve(name, recall[::-1], precision[::-1]))
    return curves


def reliability(labels: np.ndarray, probs: np.ndarray) -> list[Bin]:
    """The bins of `metrics.ece` that hold a prediction."""
    confidence, count = probs.max(axis=1), metrics.ECE_BINS
    right = probs.argmax(axis=1) == labels
    number = np.minimum((confidence * count).astype(int), count - 1)
    bins = []
    for n in np.unique(number):
        inside = number == n
        low, high = n / count, (n + 1) / count
        bins.append(Bin(low, high, int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean())))
    return bins
