"""Tasks that tests share, predictions that know something of the truth, and their AUC."""

import numpy as np

from chestfold.core.rng import generator
from chestfold.core.task import Labels, Task, create_task
from chestfold.evaluate.metrics import METRICS, Predicted, value_of

NAMES = ("healthy", "ill", "dying", "dead")
FINDINGS = ("nodule", "effusion", "fracture")
RATES = np.array([0.5, 0.3, 0.15])
UNKNOWN = 0.15
"""Share of the labels that are not known."""


def exclusive(count: int = 2, positive: int = 1) -> Task:
    """One of the first `count` of `NAMES`; of two, without more, that of the `tiny` data set."""
    return create_task("multiclass", NAMES[:count], NAMES[positive])


def labelled() -> Task:
    """Any of three labels."""
    return create_task("multilabel", FINDINGS)


def graded(count: int = 4) -> Task:
    """One of `count` grades, in the order of `NAMES`."""
    return create_task("ordinal", NAMES[:count], NAMES[count - 1])


def drawn(task: Task, rows: int = 200, seed: int = 0, skill: float = 1.0) -> tuple[Labels, np.ndarray]:
    """Labels, and probabilities float64 (N, K) that know `skill` deviations of them, with many ties.

    Of several labels some are not known.
    """
    labels = drawn_labels(task, rows, seed)
    return labels, drawn_probs(task, labels, skill, seed)


def drawn_labels(task: Task, rows: int = 200, seed: int = 0) -> Labels:
    """Of each class as many; of several labels as `RATES` says."""
    rng = generator("labels", task.name, len(task.classes), rows, seed)
    if task.sums_to_one:
        return rng.permutation(np.arange(rows) % len(task.classes))
    labels = (rng.random((rows, len(task.classes))) < RATES).astype(np.float32)
    labels[rng.random(labels.shape) < UNKNOWN] = np.nan
    return labels


def drawn_probs(task: Task, labels: Labels, skill: float, *draw: int | str) -> np.ndarray:
    """Probabilities that know `skill` deviations of labels, and nothing of unknown ones."""
    truth = task.truth(labels)
    odds = generator("probs", *draw).normal(0, 1, truth.shape) + skill * np.nan_to_num(2 * truth - 1)
    probs = np.round(1 / (1 + np.exp(-odds)), 1) * 0.98 + 0.01
    return probs / probs.sum(axis=1, keepdims=True) if task.sums_to_one else probs


def auc(labels: Labels, probs: np.ndarray, task: Task | None = None) -> float:
    """Of predictions (N, K) of exclusive classes, or of `task`."""
    return value_of(METRICS["auc"], Predicted(task or exclusive(probs.shape[1]), labels, probs))
