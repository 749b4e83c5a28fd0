"""Thresholds: the best of all for the metric that they are chosen for, label by label, and never by their own fold."""

import numpy as np
import pandas as pd
import pytest
from tasks import FINDINGS, drawn, exclusive, graded, labelled

from chestfold.core.task import Labels, Task
from chestfold.core.task.multilabel import label_text
from chestfold.evaluate import predictions, results
from chestfold.evaluate.metrics import METRICS, Predicted, find_metric, value_of
from chestfold.evaluate.thresholds import (
    CANDIDATES,
    as_given,
    best_f1_threshold,
    best_thresholds,
    cross_fitted_thresholds,
    have_thresholds,
    threshold_candidates,
)

DECIDING = [name for name, metric in METRICS.items() if metric.decides] + ["f0.5", "f2"]
OF_LABELS = [name for name in DECIDING if name != "quadratic_kappa"]
WITH_THRESHOLDS = [exclusive(2, 0), exclusive(2), graded(2), labelled()]


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}, positive {task.positive_number}"


def continuous(task: Task, rows: int = 200) -> tuple[Labels, np.ndarray]:
    """As `drawn`, but that no two scores are the same."""
    labels, probs = drawn(task, rows)
    shifted = probs[:, :1] * 0.9 + np.random.default_rng(0).random((rows, 1)) * 0.1
    if task.sums_to_one:
        return labels, np.hstack([shifted, 1 - shifted])
    return labels, probs * 0.9 + np.random.default_rng(0).random(probs.shape) * 0.1


def folds_of(rows: int = 200) -> np.ndarray:
    return np.arange(rows) % 4


@pytest.mark.parametrize(
    ("task", "depends"),
    [(exclusive(2), True), (exclusive(3), False), (graded(2), True), (graded(4), False), (labelled(), True)],
    ids=str,
)
def test_where_the_most_probable_of_several_classes_is_taken_there_are_none(task, depends):
    assert have_thresholds(task) == depends


# The best of all


@pytest.mark.parametrize("draw", [drawn, continuous], ids=["ties", "no ties"])
@pytest.mark.parametrize(
    ("task", "name"),
    [(task, name) for task in WITH_THRESHOLDS for name in (DECIDING if task.sums_to_one else OF_LABELS)],
    ids=lambda value: value if isinstance(value, str) else name_of(value),
)
def test_no_threshold_beats_the_chosen_one(task, name, draw):
    """Of each label alone, and of every place between two of its scores."""
    labels, probs = draw(task, 150)
    metric = find_metric(name)
    chosen = best_thresholds(task, labels, probs, metric)
    assert chosen.shape == (len(task.scored_classes),)

    def gain(thresholds: np.ndarray) -> float:
        return metric.gain(value_of(metric, Predicted(task, labels, probs, as_given(task, thresholds))))

    best = gain(chosen)
    for place, number in enumerate(task.scored_classes):
        for candidate in threshold_candidates(probs[:, number]):
            other = chosen.copy()
            other[place] = candidate
            assert gain(other) <= best + 1e-12, (number, candidate)


def test_a_threshold_is_chosen_for_the_metric_that_it_is_for():
    """Recall first, and the threshold falls; precision first, and it rises."""
    labels, probs = continuous(exclusive())
    low, middle, high = (
        best_thresholds(exclusive(), labels, probs, find_metric(f"f{beta}"))[0] for beta in (4, 1, 0.2)
    )
    assert low < middle < high


@pytest.mark.parametrize("task", WITH_THRESHOLDS, ids=name_of)
@pytest.mark.parametrize("name", [None, "auc", "log_loss", "f1"])
def test_a_metric_that_decides_nothing_has_the_threshold_of_f1(task, name):
    labels, probs = drawn(task)
    metric = find_metric(name) if name else None
    found = best_thresholds(task, labels, probs, metric)
    np.testing.assert_array_equal(found, best_thresholds(task, labels, probs, METRICS["f1"]))


@pytest.mark.parametrize("metric", [None, find_metric("f2")], ids=["f1", "f2"])
def test_each_label_has_the_threshold_that_it_would_have_alone(metric):
    labels, probs = continuous(labelled())
    before = best_thresholds(labelled(), labels, probs, metric)
    changed = labels.copy()
    changed[:, 1] = 1 - changed[:, 1]
    after = best_thresholds(labelled(), changed, probs, metric)
    assert (before != after).tolist() == [False, True, False]


@pytest.mark.parametrize("metric", [None, find_metric("f2")], ids=["f1", "f2"])
def test_unknown_labels_choose_nothing(metric):
    labels, probs = continuous(labelled())
    labels[np.random.default_rng(1).random(labels.shape) < 0.7] = np.nan
    other = np.where(np.isnan(labels), 1 - probs, probs)
    expected = best_thresholds(labelled(), labels, probs, metric)
    np.testing.assert_array_equal(best_thresholds(labelled(), labels, other, metric), expected)


@pytest.mark.parametrize("metric", [None, find_metric("f2")], ids=["f1", "f2"])
def test_a_label_of_which_nothing_is_known_keeps_one_half(metric):
    labels, probs = continuous(labelled())
    labels[:, 2] = np.nan
    assert best_thresholds(labelled(), labels, probs, metric)[2] == 0.5


@pytest.mark.parametrize("size", [1, 2, 40, CANDIDATES, CANDIDATES + 1, 1000])
def test_candidates_lie_between_the_scores_and_one_below_all_of_them(size):
    scores = np.sort(np.random.default_rng(size).random(size))
    found = threshold_candidates(np.repeat(scores, 2))
    assert len(found) == min(size, CANDIDATES) and (np.diff(found) > 0).all()
    above = [(scores >= threshold).sum() for threshold in found]
    assert above[0] == size and len(set(above)) == len(found) and above[-1] == 1


def test_candidates_of_three_scores_by_hand():
    assert threshold_candidates(np.array([0.4, 0.2, 0.9, 0.4])) == pytest.approx([0.1, 0.3, 0.65])
    assert len(threshold_candidates(np.linspace(0, 1, 1000))) == 200


@pytest.mark.parametrize(
    ("positive", "expected"),
    [([0, 0, 1, 1], 0.5), ([1, 1, 1, 1], 0.2), ([0, 1, 1, 1], 0.3), ([0, 0, 0, 1], 0.7), ([1, 0, 0, 1], 0.7)],
)
def test_the_threshold_of_f1_is_half_way_to_the_next_score(positive, expected):
    scores = np.array([0.2, 0.4, 0.6, 0.8])
    assert best_f1_threshold(np.array(positive) == 1, scores) == pytest.approx(expected)


def test_of_thresholds_that_are_as_good_the_middle_one_is_taken():
    """Every one up to 0.65 finds the only ill one; of those that call nobody well it is the third of five."""
    ill = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
    found = best_thresholds(exclusive(), np.array([0, 0, 0, 0, 1]), np.stack([1 - ill, ill], 1), METRICS["recall"])
    assert found == pytest.approx([0.25])


# Cross-fitted


@pytest.mark.parametrize("metric", [None, find_metric("f2")], ids=["f1", "f2"])
@pytest.mark.parametrize("task", WITH_THRESHOLDS, ids=name_of)
def test_the_threshold_of_a_fold_does_not_know_its_labels_nor_its_predictions(task, metric):
    labels, probs = continuous(task)
    inside = folds_of() == 2
    before = cross_fitted_thresholds(task, labels, probs, folds_of(), metric)
    assert before.shape == (200, len(task.scored_classes))
    for fold in range(4):
        others = folds_of() != fold
        expected = best_thresholds(task, labels[others], probs[others], metric)
        assert (before[~others] == expected).all()
    other_labels, other_probs = labels.copy(), probs.copy()
    other_labels[inside], other_probs[inside] = 1 - labels[inside], 1 - probs[inside]
    after = cross_fitted_thresholds(task, other_labels, other_probs, folds_of(), metric)
    np.testing.assert_array_equal(after[inside], before[inside])
    assert (after[~inside] != before[~inside]).any(axis=0).all(), "those of the others do, label by label"


@pytest.mark.parametrize("task", WITH_THRESHOLDS, ids=name_of)
def test_thresholds_are_given_as_a_task_takes_them(task):
    labels, probs = continuous(task)
    chosen = best_thresholds(task, labels, probs)
    honest = cross_fitted_thresholds(task, labels, probs, folds_of())
    honest[:] = chosen
    one, other = (task.decide(probs, as_given(task, thresholds)) for thresholds in (chosen, honest))
    np.testing.assert_array_equal(one, other)
    for place, number in enumerate(task.scored_classes):
        np.testing.assert_array_equal(one[:, number], probs[:, number] >= chosen[place])


# In a result


def table(task: Task, labels: Labels, probs: np.ndarray) -> pd.DataFrame:
    """A prediction table of several labels."""
    texts = [label_text(task.classes, row) for row in labels]
    number = np.arange(len(texts))
    rows = pd.DataFrame({"id": [f"i{n}" for n in number], "group": number, "fold": number % 4, "label": texts})
    return pd.concat([rows, pd.DataFrame(probs, columns=list(task.classes))], axis=1)


def test_a_result_of_several_labels_names_each_threshold_and_is_scored_honestly_beside_it():
    labels, probs = continuous(labelled())
    task, metric = labelled(), find_metric("f2")
    scored = {"f2": metric, "auc": METRICS["auc"]}
    scores = results.score_table(table(task, labels, probs), task, scored, metric)
    chosen = best_thresholds(task, labels, probs, metric)
    assert scores.threshold is None and scores.thresholds == dict(zip(FINDINGS, chosen.tolist(), strict=True))
    honest = cross_fitted_thresholds(task, labels, probs, np.arange(200) % 4, metric)
    assert scores.in_sample and scores.cross_fitted and scores.by_label
    assert scores.in_sample["f2"].value == value_of(metric, Predicted(task, labels, probs, chosen))
    assert scores.cross_fitted["f2"].value == value_of(metric, Predicted(task, labels, probs, honest))
    assert scores.in_sample["f2"].value > scores.at_half["f2"].value
    assert scores.cross_fitted["auc"] == scores.at_half["auc"]
    assert list(scores.by_label) == list(FINDINGS)


def test_a_single_fold_and_a_task_without_thresholds_have_none():
    labels, probs = continuous(labelled())
    single = table(labelled(), labels, probs).assign(fold=0)
    alone = results.score_table(single, labelled(), {"f1": METRICS["f1"]})
    assert alone.cross_fitted is None and alone.thresholds is None
    task = graded(4)
    numbers, grades = drawn(task)
    number = np.arange(200)
    rows = pd.DataFrame({"id": [f"i{n}" for n in number], "group": number, "label": np.array(task.classes)[numbers]})
    several = predictions.predictions(rows, 0, task.classes, grades).assign(fold=number % 4)
    scores = results.score_table(several, task, {"quadratic_kappa": METRICS["quadratic_kappa"]})
    assert scores.cross_fitted is None and scores.threshold is None and scores.by_label is None
