"""Every metric that a data set can declare, against scikit-learn or its published definition, for every task.

With two classes, with three, with labels of which some are not known, with grades, and with weights of the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from sklearn import metrics as reference
from tasks import FINDINGS, NAMES, drawn, exclusive, graded, labelled

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.task import Labels, Task, create_task
from chestfold.data.dataset import Dataset
from chestfold.evaluate.metrics import (
    ALIASES,
    METRICS,
    Predicted,
    confusion,
    confusion_columns,
    declared_metric,
    evaluate,
    evaluate_each_class,
    find_metric,
    is_metric,
    metric_name,
    require_metric,
    value_of,
)

CLASS_WEIGHTS = {"ill": 3.0, "effusion": 2.0, "dead": 0.5}
PARAMETERS = ["f0.5", "f2", "f1.5", "sensitivity@0.9", "sensitivity@.75", "weighted_log_loss"]
EVERY = [*METRICS, *PARAMETERS]
OF_LABELS = [name for name in EVERY if name != "quadratic_kappa"]


@dataclass(frozen=True)
class Column:
    """One class against the rest: 1 where it is present, its probability, whether it is predicted, weights; (N,)."""

    truth: np.ndarray
    scores: np.ndarray
    chosen: np.ndarray
    weights: np.ndarray


def calibration(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    """Guo et al., ICML 2017, eq. 3: the gap of each of 15 bins, by the bin's share of the weight."""
    gaps = 0.0
    for low in range(15):
        inside = (confidence * 15 >= low) & ((confidence * 15 < low + 1) | (low == 14))
        if weights[inside].any():
            accuracy, mean = (np.average(values[inside], weights=weights[inside]) for values in (right, confidence))
            gaps += weights[inside].sum() * abs(accuracy - mean)
    return gaps / weights.sum()


def kaggle_pf1(column: Column) -> float:
    """As the RSNA breast cancer competition of 2022 scored: sums of probabilities in the place of counts."""
    certain = column.scores * column.weights
    true_positives, false_positives = certain[column.truth == 1].sum(), certain[column.truth == 0].sum()
    precision = true_positives / (true_positives + false_positives)
    recall = true_positives / column.weights[column.truth == 1].sum()
    return 2 * precision * recall / (precision + recall)


def sensitivity(column: Column, specificity: float) -> float:
    fpr, tpr, _ = reference.roc_curve(
        column.truth, column.scores, sample_weight=column.weights, drop_intermediate=False
    )
    return tpr[1 - fpr >= specificity - 1e-9].max()


def f_score(beta: float) -> Callable[[Column], float]:
    return lambda c: reference.fbeta_score(c.truth, c.chosen, beta=beta, sample_weight=c.weights)


OF_COLUMN: dict[str, Callable[[Column], float]] = {
    "auc": lambda c: reference.roc_auc_score(c.truth, c.scores, sample_weight=c.weights),
    "average_precision": lambda c: reference.average_precision_score(c.truth, c.scores, sample_weight=c.weights),
    "precision": lambda c: reference.precision_score(c.truth, c.chosen, sample_weight=c.weights),
    "recall": lambda c: reference.recall_score(c.truth, c.chosen, sample_weight=c.weights),
    "specificity": lambda c: reference.recall_score(c.truth, c.chosen, pos_label=0, sample_weight=c.weights),
    "accuracy": lambda c: reference.accuracy_score(c.truth, c.chosen, sample_weight=c.weights),
    "balanced_accuracy": lambda c: reference.balanced_accuracy_score(c.truth, c.chosen, sample_weight=c.weights),
    "f1": f_score(1),
    "macro_f1": f_score(1),
    "f0.5": f_score(0.5),
    "f2": f_score(2),
    "f1.5": f_score(1.5),
    "log_loss": lambda c: reference.log_loss(c.truth, c.scores, sample_weight=c.weights),
    "brier": lambda c: reference.brier_score_loss(c.truth, c.scores, sample_weight=c.weights),
    "pf1": kaggle_pf1,
    "sensitivity@0.9": lambda c: sensitivity(c, 0.9),
    "sensitivity@.75": lambda c: sensitivity(c, 0.75),
    "ece": lambda c: calibration(c.scores, c.truth, c.weights),
}
"""Metric -> its value for one class against the rest."""


def columns(task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray) -> list[Column]:
    """Of the scored classes, the rows in which each is known."""
    truth, decided = task.truth(labels), task.decide(probs)
    found = []
    for number in task.scored_classes:
        known = ~np.isnan(truth[:, number])
        values = (truth[:, number], probs[:, number], decided[:, number], weights)
        found.append(Column(*(column[known] for column in values)))
    return found


def of_all_classes(name: str, task: Task, labels: np.ndarray, probs: np.ndarray, weights: np.ndarray) -> float:
    """Those of exclusive classes that are no mean of figures of each class."""
    chosen = task.decide(probs).argmax(axis=1)
    if name == "accuracy":
        return reference.accuracy_score(labels, chosen, sample_weight=weights)
    if name == "balanced_accuracy":
        return reference.balanced_accuracy_score(labels, chosen, sample_weight=weights)
    if name == "macro_f1":
        return reference.f1_score(labels, chosen, average="macro", sample_weight=weights)
    if name == "quadratic_kappa":
        return reference.cohen_kappa_score(labels, chosen, weights="quadratic", sample_weight=weights)
    if name == "log_loss":
        return reference.log_loss(labels, probs, sample_weight=weights)
    if name == "weighted_log_loss":
        of_class = np.array([CLASS_WEIGHTS.get(name, 1.0) for name in task.classes])
        return reference.log_loss(labels, probs, sample_weight=weights * of_class[labels])
    if name == "brier" and len(task.classes) > 2:
        return reference.brier_score_loss(labels, probs, sample_weight=weights)
    if name == "ece":
        return calibration(probs.max(axis=1), probs.argmax(axis=1) == labels, weights)
    return np.nan


def expected(name: str, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray) -> float:
    """What scikit-learn, or the definition, says."""
    if task.sums_to_one:
        value = of_all_classes(name, task, labels, probs, weights)
        if not np.isnan(value):
            return value
    if name == "weighted_log_loss":  # as the RSNA haemorrhage competition of 2019 weighs its labels
        losses = [OF_COLUMN["log_loss"](column) for column in columns(task, labels, probs, weights)]
        return float(np.average(losses, weights=[CLASS_WEIGHTS.get(label, 1.0) for label in task.classes]))
    return float(np.mean([OF_COLUMN[name](column) for column in columns(task, labels, probs, weights)]))


def found(name: str, task: Task, labels: Labels, probs: np.ndarray, weights: np.ndarray | None = None) -> float:
    return value_of(find_metric(name, CLASS_WEIGHTS), Predicted(task, labels, probs), weights)


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}, positive {task.positive_number}"


CASES = [(task, name) for task in (exclusive(2, 0), exclusive(2), exclusive(3), graded(4)) for name in EVERY]
CASES += [(labelled(), name) for name in OF_LABELS]


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize(("task", "name"), CASES, ids=lambda value: value if isinstance(value, str) else name_of(value))
def test_a_metric_is_that_of_scikit_learn_or_of_its_definition(task, name, weighted):
    labels, probs = drawn(task)
    weights = generator("weights").integers(0, 4, len(probs)) * 0.5 if weighted else np.ones(len(probs))
    value = found(name, task, labels, probs, weights)
    assert value == pytest.approx(expected(name, task, labels, probs, weights), abs=1e-9)
    assert np.isfinite(value)
    if not weighted:
        assert value == found(name, task, labels, probs), "each row counts once where nothing else is said"


@pytest.mark.parametrize("name", OF_LABELS)
def test_the_prediction_of_an_unknown_label_changes_nothing(name):
    labels, probs = drawn(labelled())
    other = np.where(np.isnan(labels), generator("other").random(probs.shape), probs)
    assert found(name, labelled(), labels, other) == pytest.approx(found(name, labelled(), labels, probs))


@pytest.mark.parametrize("name", [name for name in EVERY if name != "ece"])
@pytest.mark.parametrize("task", [exclusive(2), exclusive(3), labelled(), graded(4)], ids=name_of)
def test_better_predictions_gain_by_every_metric(name, task):
    """Calibration apart, which is not about being right."""
    if name == "quadratic_kappa" and not task.sums_to_one:
        return
    metric = find_metric(name, CLASS_WEIGHTS)
    poor, good = (value_of(metric, Predicted(task, *drawn(task, skill=skill))) for skill in (0.3, 3.0))
    assert metric.gain(good) > metric.gain(poor)


def test_what_is_certain_and_wrong_costs_a_finite_log_loss():
    probs, wrong = np.eye(2)[[0, 0, 0, 1]], -np.log(1e-12)
    assert found("log_loss", exclusive(), np.array([0, 0, 1, 1]), probs) == pytest.approx(wrong / 4)
    labels = np.array([[1, 0, np.nan]], np.float32)
    assert found("log_loss", labelled(), labels, np.array([[0.0, 0.0, 1.0]])) == pytest.approx(wrong / 2)


def test_a_class_without_a_weight_counts_as_1():
    labels, probs = drawn(exclusive(3))
    plain = value_of(find_metric("weighted_log_loss"), Predicted(exclusive(3), labels, probs))
    assert plain == pytest.approx(found("log_loss", exclusive(3), labels, probs))
    assert plain != pytest.approx(found("weighted_log_loss", exclusive(3), labels, probs), abs=1e-3)


def test_kappa_sees_how_far_off_a_grade_is():
    labels = np.array([0, 1, 2, 3])
    near, far = (np.eye(4)[chosen] for chosen in ([1, 0, 2, 3], [3, 1, 2, 0]))
    kappas = [found("quadratic_kappa", graded(4), labels, probs) for probs in (np.eye(4)[labels], near, far)]
    assert kappas[0] == 1 > kappas[1] > kappas[2]


# Rows that hold too little


@pytest.mark.parametrize("name", ["auc", "average_precision", "sensitivity@0.9"])
def test_a_label_that_is_never_present_does_not_count(name):
    labels, probs = drawn(labelled())
    labels[:, 2] = np.where(labels[:, 2] == 1, np.nan, labels[:, 2])
    of_two = [OF_COLUMN[name](column) for column in columns(labelled(), labels, probs, np.ones(len(probs)))[:2]]
    assert found(name, labelled(), labels, probs) == pytest.approx(np.mean(of_two))


@pytest.mark.parametrize("name", OF_LABELS)
def test_a_label_that_is_never_known_does_not_count(name):
    labels, probs = drawn(labelled())
    labels[:, 1] = np.nan
    fewer = create_task("multilabel", [FINDINGS[0], FINDINGS[2]])
    assert found(name, labelled(), labels, probs) == pytest.approx(
        found(name, fewer, labels[:, [0, 2]], probs[:, [0, 2]])
    )


def test_an_area_with_a_class_that_no_row_has_is_not_a_number():
    labels, probs = drawn(exclusive(3))
    labels[labels == 2] = 0
    assert np.isnan(found("auc", exclusive(3), labels, probs))


# Intervals


@pytest.mark.parametrize("task", [exclusive(2), exclusive(3), labelled(), graded(4)], ids=name_of)
def test_every_metric_has_an_interval_over_patients(task):
    names = EVERY if task.sums_to_one else OF_LABELS
    labels, probs = drawn(task, rows=120)
    scored = evaluate(Predicted(task, labels, probs), np.arange(120) // 2, {n: find_metric(n) for n in names})
    assert list(scored) == names
    for name, score in scored.items():
        assert score.value == value_of(find_metric(name), Predicted(task, labels, probs))
        assert score.low < score.high, name
        assert score.low <= score.value <= score.high


def test_drawn_patients_without_a_class_do_not_count():
    """One of eight patients has it: a third of the draws holds no AUC, and what the others hold says very little."""
    labels = np.array([0] * 7 + [1])
    probs = np.stack([1 - np.arange(1, 9) / 10, np.array([3, 1, 2, 4, 5, 6, 8, 7]) / 10], axis=1)
    (score,) = evaluate(Predicted(exclusive(), labels, probs), np.arange(8), {"auc": METRICS["auc"]}).values()
    assert score.value == pytest.approx(6 / 7) and score.low < 0.1 and score.high > 0.99


def test_each_label_has_figures_of_its_own():
    labels, probs = drawn(labelled())
    scored = {name: METRICS[name] for name in ("auc", "f1", "log_loss", "ece", "balanced_accuracy")}
    by_label = evaluate_each_class(Predicted(labelled(), labels, probs), np.arange(len(probs)), scored)
    assert tuple(by_label) == FINDINGS
    for column, figures in zip(columns(labelled(), labels, probs, np.ones(len(probs))), by_label.values(), strict=True):
        assert {name: score.value for name, score in figures.items()} == pytest.approx(
            {name: OF_COLUMN[name](column) for name in scored}
        )


# Counts


@pytest.mark.parametrize("task", [exclusive(2), exclusive(3), graded(4)], ids=name_of)
def test_the_confusion_of_exclusive_classes_is_that_of_scikit_learn(task):
    labels, probs = drawn(task)
    chosen = task.decide(probs).argmax(axis=1)
    assert confusion(Predicted(task, labels, probs)) == reference.confusion_matrix(labels, chosen).tolist()


def test_the_confusion_of_labels_counts_the_outcomes_of_the_known_ones():
    labels, probs = drawn(labelled())
    rows = columns(labelled(), labels, probs, np.ones(len(probs)))
    each = [reference.confusion_matrix(column.truth, column.chosen).ravel().tolist() for column in rows]
    assert confusion(Predicted(labelled(), labels, probs)) == each


def test_the_columns_of_a_confusion_are_classes_or_outcomes():
    assert confusion_columns(exclusive(3)) == NAMES[:3]
    assert confusion_columns(labelled()) == ("true negative", "false positive", "false negative", "true positive")


# Names


OTHERWISE = {"macro_auc": "auc", "qwk": "quadratic_kappa", "probabilistic_f1": "pf1", "loss": "log_loss"}


@pytest.mark.parametrize(("other", "name"), OTHERWISE.items())
def test_a_competition_may_call_a_metric_otherwise(other, name):
    assert find_metric(other) is METRICS[name] and metric_name(other) == metric_name(name) == name
    assert set(OTHERWISE) == set(ALIASES)


@pytest.mark.parametrize(
    ("name", "title"),
    [("f0.5", "F0.5"), ("f2", "F2"), ("sensitivity@0.9", "sensitivity at specificity 0.9"), ("f1", "F1")],
)
def test_a_parameter_is_in_the_name_and_in_the_title(name, title):
    assert find_metric(name).title == title


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("acuracy", "; did you mean accuracy?"),
        ("macro_acu", "; did you mean macro_auc?"),
        ("f", ""),
        ("fx", ""),
        ("sensitivity@90", ""),
        ("sensitivity@1.5", ""),
        ("sensitivity", ""),
        ("", ""),
    ],
)
def test_an_unknown_metric_is_refused_with_the_nearest_and_all_names(name, nearest):
    with pytest.raises(InputError) as refusal:
        find_metric(name)
    sentence = str(refusal.value)
    assert sentence.startswith(f"unknown metric '{name}'{nearest}")
    assert sentence.endswith(
        "there are " + ", ".join([*METRICS, "fBETA", "sensitivity@SPECIFICITY", "weighted_log_loss"])
    )


@pytest.mark.parametrize("name", ["quadratic_kappa", "qwk"])
def test_kappa_is_not_for_several_labels(name):
    with pytest.raises(
        InputError, match=f"the metric {name} is for classes of which an image has one, and not for a mul"
    ):
        require_metric(name, labelled())
    for task in (exclusive(2), exclusive(3), graded(4)):
        assert require_metric(name, task) is METRICS["quadratic_kappa"]


def test_a_name_is_a_metric_or_none():
    assert [is_metric(name) for name in ("auc", "qwk", "f2", "acuracy")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("declared", "task", "name"),
    [("", exclusive(), "auc"), ("qwk", graded(4), "quadratic_kappa"), ("f2", labelled(), "f2")],
    ids=str,
)
def test_a_data_set_declares_a_metric_or_has_that_of_its_task(declared, task, name):
    assert declared_metric(Dataset(name="d", reader="csv", metric=declared), task) == name


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [("acuracy", "d: unknown metric 'acuracy'.*one of your own is known by --hooks"), ("qwk", "d: .* not for a mul")],
)
def test_a_declared_metric_that_does_not_fit_is_refused(declared, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=sentence):
        declared_metric(Dataset(name="d", reader="csv", metric=declared), labelled())


@pytest.mark.parametrize("name", OF_LABELS)
def test_every_other_metric_is_for_every_task(name):
    for task in (exclusive(3), graded(4), labelled()):
        assert require_metric(name, task).title == find_metric(name).title


def test_no_metric_is_without_a_reference_here():
    whole = {"quadratic_kappa", "weighted_log_loss"}
    assert set(EVERY) - set(OF_COLUMN) == whole and set(NAMES) & set(CLASS_WEIGHTS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_decides_where_its_value_moves_with_the_threshold(name):
    labels, probs = drawn(exclusive())
    values = {
        value_of(METRICS[name], Predicted(exclusive(), labels, probs, threshold)) for threshold in (0.2, 0.5, 0.8)
    }
    assert METRICS[name].decides == (len(values) > 1)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_which_end_of_it_is_better(name):
    labels = np.arange(40) % 2
    truth = np.eye(2)[labels]
    good, bad = (value_of(METRICS[name], Predicted(exclusive(), labels, probs)) for probs in (truth, 1 - truth))
    assert METRICS[name].higher_is_better == (good > bad)
