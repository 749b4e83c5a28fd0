"""Bug: a loop over the classes overwrote its figure, and the reported macro average was that of the last class.

Here every macro figure is the mean over a list, and is held against scikit-learn; no order of the classes changes it.
"""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from tasks import auc, exclusive

from chestfold.core.rng import generator
from chestfold.evaluate.metrics import METRICS, Predicted, evaluate, validation_figures

ROWS, CLASSES = 120, 3
LABELS = np.arange(ROWS) % CLASSES


@pytest.fixture
def probs() -> np.ndarray:
    """Class 0 is recognised well, class 2 hardly at all."""
    rng = generator("seven")
    logits = rng.normal(0, 1, (ROWS, CLASSES)) + np.eye(CLASSES)[LABELS] * np.array([4.0, 1.0, 0.1])
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def predicted(labels: np.ndarray, probs: np.ndarray) -> Predicted:
    return Predicted(exclusive(probs.shape[1], positive=0), labels, probs)


def figures(labels: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    scored = evaluate(predicted(labels, probs), np.arange(len(labels)), METRICS)
    return {name: scored[name].value for name in ("auc", "precision", "recall", "f1")}


def test_macro_figures_are_those_of_scikit_learn(probs):
    chosen = probs.argmax(axis=1)
    expected = {
        "auc": roc_auc_score(LABELS, probs, multi_class="ovr", average="macro"),
        "precision": precision_score(LABELS, chosen, average="macro"),
        "recall": recall_score(LABELS, chosen, average="macro"),
        "f1": f1_score(LABELS, chosen, average="macro"),
    }
    assert figures(LABELS, probs) == pytest.approx(expected)
    assert auc(LABELS, probs) == pytest.approx(expected["auc"])


def test_macro_specificity_is_the_mean_over_the_classes(probs):
    chosen = probs.argmax(axis=1)
    expected = np.mean([recall_score(c != LABELS, chosen != c) for c in range(CLASSES)])
    scored = evaluate(predicted(LABELS, probs), np.arange(ROWS), METRICS)
    assert scored["specificity"].value == pytest.approx(expected)


def test_the_figures_that_pick_the_best_epoch_are_macro_averages(probs):
    picked = validation_figures(predicted(LABELS, probs), {})
    assert picked["auc"] == pytest.approx(roc_auc_score(LABELS, probs, multi_class="ovr", average="macro"))
    assert picked["macro_f1"] == pytest.approx(f1_score(LABELS, probs.argmax(axis=1), average="macro"))


def test_the_validation_f1_of_two_classes_is_the_mean_of_both(probs):
    two = probs[:, :2] / probs[:, :2].sum(axis=1, keepdims=True)
    labels = np.minimum(LABELS, 1)
    expected = f1_score(labels, two.argmax(axis=1), average="macro")
    assert validation_figures(predicted(labels, two), {})["macro_f1"] == pytest.approx(expected)


def test_another_order_of_the_classes_changes_nothing(probs):
    expected = figures(LABELS, probs)
    for order in ([2, 0, 1], [1, 2, 0]):
        assert figures(np.argsort(order)[LABELS], probs[:, order]) == pytest.approx(expected)
