"""The fast search picks what the plain loop picks, which gives every candidate to the metric."""

from dataclasses import replace

import numpy as np
import pytest
from tasks import NAMES, drawn_labels, drawn_probs, exclusive, graded, labelled

from chestfold.core.rng import generator
from chestfold.core.task import Labels, Task, create_task
from chestfold.evaluate.bootstrap import patient_weights
from chestfold.evaluate.metrics import Metric, Predicted, find_metric, value_of
from chestfold.evaluate.selection import ByAccuracy, ByAuc, ByLogLoss, ByMetric, start_selection

ROWS, MEMBERS, PICKS = 90, 6, 8
GROUPS = np.arange(ROWS) // 3
TASKS = [exclusive(2), exclusive(2, positive=0), exclusive(3), labelled(), graded(4)]
KINDS = ("distinct", "tied", "copies", "constant", "certain", "single")


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}, {task.positive}"


def drawn(task: Task, kind: str, seed: int = 0) -> tuple[Labels, np.ndarray]:
    """Labels, and members (M, N, K) of a kind."""
    labels = drawn_labels(task, ROWS, seed)
    probs = np.stack([drawn_probs(task, labels, 0.6, seed, kind, member) for member in range(MEMBERS)])
    if kind in ("distinct", "single"):
        probs *= generator("untied", seed).uniform(0.9, 1, probs.shape)
    if kind == "copies":
        probs[3:] = probs[:3]
    if kind == "constant":
        probs[::2] = 0.5
    if kind == "certain":
        probs = (probs == probs.max(axis=2, keepdims=True)).astype(float)
        probs[:, ::7] = 0.25
    if kind == "single":
        probs = probs.astype(np.float32)
    if task.sums_to_one:
        probs /= probs.sum(axis=2, keepdims=True)
    return labels, probs


def picks_of_the_plain_loop(
    metric: Metric, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray, order: list[int]
) -> list[int]:
    picks, total = [], np.zeros(probs.shape[1:])
    for picked in range(PICKS):
        worths = []
        for member in order:
            blend = (total + probs[member]) / (picked + 1)
            worths.append(metric.worth(value_of(metric, Predicted(task, labels, blend), weights)))
        picks.append(order[int(np.argmax(worths))])
        total += probs[picks[-1]]
    return picks


def picks_of_the_search(
    metric: Metric, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray, order: list[int]
) -> list[int]:
    selection, picks = start_selection(metric, task, labels, probs, weights), []
    for _ in range(PICKS):
        picks.append(selection.best(order))
        selection.add(picks[-1])
    return picks


def require_same_picks(metric: Metric, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray) -> None:
    order = generator("order", int(weights.sum())).permutation(len(probs)).tolist()
    wanted = picks_of_the_plain_loop(metric, task, labels, probs, weights, order)
    assert picks_of_the_search(metric, task, labels, probs, weights, order) == wanted


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_the_picks_are_those_of_the_plain_loop(task, kind, name):
    for seed in range(2):
        labels, probs = drawn(task, kind, seed)
        for weights in patient_weights(GROUPS, 2):
            require_same_picks(find_metric(name), task, labels, probs, weights)


@pytest.mark.parametrize("name", ["f1", "brier", "average_precision", "sensitivity@0.8", "balanced_accuracy", "ece"])
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_any_metric_can_be_climbed(task, name):
    labels, probs = drawn(task, "tied")
    require_same_picks(find_metric(name), task, labels, probs, next(patient_weights(GROUPS, 1)))


@pytest.mark.parametrize(
    "weights",
    [np.ones(ROWS), np.linspace(0.1, 2, ROWS), np.where(np.arange(ROWS) < 4, 2.0, 0.0)],
    ids=["each once", "not whole", "few rows"],
)
@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_rows_may_count_in_any_way(task, name, weights):
    """With few rows a class has none, and the AUC is not defined."""
    labels, probs = drawn(task, "tied")
    require_same_picks(find_metric(name), task, labels, probs, weights)


@pytest.mark.parametrize(
    ("task", "name", "kind"),
    [
        (exclusive(2), "auc", ByAuc),
        (exclusive(3), "auc", ByAuc),
        (labelled(), "auc", ByAuc),
        (exclusive(2), "log_loss", ByLogLoss),
        (graded(4), "accuracy", ByAccuracy),
        (labelled(), "accuracy", ByMetric),
        (exclusive(2), "f1", ByMetric),
    ],
    ids=str,
)
def test_the_common_metrics_have_a_fast_way(task, name, kind):
    labels, probs = drawn(task, "tied")
    selection = start_selection(find_metric(name), task, labels, probs, next(patient_weights(GROUPS, 1)))
    assert type(selection) is kind


def test_a_metric_of_ones_own_that_is_called_auc_is_asked():
    labels, probs = drawn(exclusive(2), "tied")
    own = Metric("AUC", lambda e: -float(e.predicted.probs[:, 1].sum()))
    require_same_picks(own, exclusive(2), labels, probs, np.ones(ROWS))
    assert type(start_selection(own, exclusive(2), labels, probs, np.ones(ROWS))) is ByMetric


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 4])
def test_a_fast_figure_is_that_of_the_metric(classes, kind, name):
    task, metric = create_task("multiclass", NAMES[:classes], NAMES[1]), find_metric(name)
    labels, probs = drawn(task, kind, seed=5)
    blends = [(probs[1].astype(float) + probs[member]) / 2 for member in range(MEMBERS)]
    for weights in (next(patient_weights(GROUPS, 1)), np.linspace(0.1, 2, ROWS)):
        selection = start_selection(metric, task, labels, probs, weights)
        selection.add(1)
        worths = [selection.worth(member) for member in range(MEMBERS)]
        predicted = [Predicted(task, labels, blend) for blend in blends]
        expected = [metric.worth(value_of(metric, each, weights)) for each in predicted]
        assert worths == (pytest.approx(expected, rel=1e-13) if name == "log_loss" else expected), "to the last bit"
        if isinstance(selection, ByAuc):
            assert (selection._bounds(range(MEMBERS)) >= worths).all()


@pytest.mark.parametrize("task", [exclusive(2), exclusive(3), labelled()], ids=name_of)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_of_a_candidate_is_between_its_auc_and_one(kind, task):
    """A bound above one would only be slow: then every candidate is sorted."""
    labels, probs = drawn(task, kind)
    selection = start_selection(find_metric("auc"), task, labels, probs, np.ones(ROWS))
    assert isinstance(selection, ByAuc)
    order = list(range(len(probs)))
    bounds = selection._bounds(order)
    assert all(bounds >= [selection.worth(member) for member in order])
    assert all(bounds <= 1 + 1e-9)


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(0.0, 1.0, ByAuc), (0.0, 2.0, ByAuc), (0.0, 2.1, ByMetric), (-0.1, 1.0, ByMetric)],
    ids=str,
)
def test_scores_from_0_to_2_are_counted_in_bins(low, high, kind):
    labels, probs = drawn(exclusive(2), "distinct")
    probs[0, 0], probs[0, 1] = low, high
    assert type(start_selection(find_metric("auc"), exclusive(2), labels, probs, np.ones(ROWS))) is kind


@pytest.mark.parametrize(("name", "kind"), [("auc", ByMetric), ("accuracy", ByMetric), ("log_loss", ByLogLoss)])
def test_only_whole_weights_are_counted(name, kind):
    labels, probs = drawn(exclusive(2), "distinct")
    weights = np.where(np.arange(ROWS) == 5, 1.5, 1.0)
    assert type(start_selection(find_metric(name), exclusive(2), labels, probs, weights)) is kind


def test_the_lowest_area_is_searched_by_the_metric_itself():
    labels, probs = drawn(exclusive(2), "distinct")
    lowest = replace(find_metric("auc"), higher_is_better=False)
    assert type(start_selection(lowest, exclusive(2), labels, probs, np.ones(ROWS))) is ByMetric
    require_same_picks(lowest, exclusive(2), labels, probs, np.ones(ROWS))


@pytest.mark.parametrize(
    ("task", "lacking", "kind"),
    [(labelled(), [1], ByAuc), (labelled(), [0, 1, 2], ByMetric), (exclusive(3), [2], ByMetric)],
    ids=str,
)
def test_a_label_that_no_row_has_is_passed_over_and_a_class_is_not(task, lacking, kind):
    labels, probs = drawn(task, "distinct")
    if task.sums_to_one:
        labels[np.isin(labels, lacking)] = 0
    else:
        labels[:, lacking] = 0
    assert type(start_selection(find_metric("auc"), task, labels, probs, np.ones(ROWS))) is kind


@pytest.mark.parametrize("name", ["log_loss", "accuracy"])
def test_rows_whose_class_is_withheld_are_left_to_the_metric(name):
    labels, probs = drawn(exclusive(3), "distinct")
    labels[7] = -1
    assert type(start_selection(find_metric(name), exclusive(3), labels, probs, np.ones(ROWS))) is ByMetric


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "area"),
    [
        ([0, 1, 1, 0], [0.5, 0.5, 0.25, 0.75], [2, 1, 3, 0], 1 / 8),
        ([0, 1, 1, 0], [0.25, 0.25, 0.5, 0.75], [1, 1, 1, 1], 3 / 8),
        ([0, 1], [0.5, 0.5], [1, 1], 1 / 2),
        ([0, 1], [0.5, 0.75], [1, 1], 1),
    ],
    ids=["rows that are repeated", "the lowest are tied", "one tie", "none"],
)
def test_an_area_of_few_rows_by_hand(labels, scores, weights, area):
    """A pair that is tied is half a pair."""
    probs = np.stack([1 - np.array(scores), scores], axis=1)[None]
    selection = start_selection(
        find_metric("auc"), exclusive(2), np.array(labels), probs, np.array(weights, np.float64)
    )
    assert type(selection) is ByAuc and selection.worth(0) == area


def test_a_bound_is_near_its_area_so_that_few_members_are_sorted():
    labels, probs = drawn(exclusive(2), "distinct")
    selection = start_selection(find_metric("auc"), exclusive(2), labels, probs, np.ones(ROWS))
    assert isinstance(selection, ByAuc)
    for member in range(MEMBERS):
        assert selection._bounds([member])[0] < selection.worth(member) + 0.02
