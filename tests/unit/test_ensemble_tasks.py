"""Blends of labels and of grades: fitted for the declared metric, on what is known, and predictions of the task.

What holds for every blend is in test_ensemble.py.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import Project, enter, record_of
from tasks import drawn_labels, drawn_probs, exclusive, graded, labelled

from chestfold.core.task import Labels, Task
from chestfold.core.task.multilabel import label_text
from chestfold.evaluate import predictions, results
from chestfold.evaluate.comparisons import FoldMean
from chestfold.evaluate.ensemble import (
    BLENDERS,
    Blender,
    CrossFit,
    Members,
    compare,
    create_blender,
    ensemble,
    fit_methods,
)
from chestfold.evaluate.metrics import Predicted, find_metric, value_of
from chestfold.evaluate.results import FoldsOfResult

ROWS, FOLDS = 240, 4
TASKS = [exclusive(3), labelled(), graded(4)]


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}"


def texts_of(task: Task, labels: Labels) -> list[str]:
    if task.sums_to_one:
        return [task.classes[number] for number in labels]
    return [label_text(task.classes, row) for row in labels]


def table(task: Task, labels: Labels, probs: np.ndarray) -> pd.DataFrame:
    """A prediction table of `ROWS` images, two a patient."""
    number = np.arange(len(probs))
    rows = {"id": [f"i{n:03d}" for n in number], "group": number // 2, "fold": number // 2 % FOLDS}
    columns = pd.DataFrame(probs, columns=list(task.classes))
    return pd.concat([pd.DataFrame(rows).assign(label=texts_of(task, labels)), columns], axis=1)


def about(task: Task, metric: str, **fields) -> dict:
    return dict(task=task.name, classes=task.classes, positive=task.positive, metric=metric, **fields)


def members(task: Task, many: list[np.ndarray], metric: str = "", labels: Labels | None = None) -> Members:
    """Members with some predictions (N, K) each, compared by `metric`."""
    labels = drawn_labels(task, ROWS) if labels is None else labels
    record = record_of("m0", **about(task, metric or task.metric))
    names = [f"m{n}" for n in range(len(many))]
    return Members(names, table(task, labels, many[0]), np.stack(many), record, {})


def drawn(task: Task, skills: list[float], **options) -> Members:
    labels = drawn_labels(task, ROWS)
    return members(task, [drawn_probs(task, labels, skill, n) for n, skill in enumerate(skills)], **options)


def fitted(method: str, given: Members, rows: np.ndarray | slice = slice(None)) -> Blender:
    return create_blender(method, given).fit(given.probs[:, rows], given.labels[rows], given.groups[rows])


def gain(given: Members, probs: np.ndarray, metric: str) -> float:
    """A metric of a blend, so that more is better."""
    found = find_metric(metric)
    return found.gain(value_of(found, Predicted(given.task, given.labels, given.task.normalised(probs))))


# Predictions of the task


@pytest.mark.parametrize("method", BLENDERS)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_blend_is_a_prediction_of_the_task(task, method):
    given = drawn(task, [0.5, 1.0, 0.2])
    blended = CrossFit(method, given).blend(given.probs)
    assert blended.shape == (ROWS, len(task.classes)) and not task.wrong_rows(blended)[0].any()


@pytest.mark.parametrize("method", BLENDERS)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_certain_members_are_blended_too(task, method):
    """Probabilities of 0 and 1, which have no finite log-odds."""
    labels = drawn_labels(task, ROWS)
    truth = np.nan_to_num(task.truth(labels))
    other = np.roll(truth, 1, axis=0)
    given = members(task, [truth, other, drawn_probs(task, labels, 1.0, 2)], labels=labels)
    blended = task.normalised(CrossFit(method, given).blend(given.probs))
    assert np.isfinite(blended).all() and not task.wrong_rows(blended)[0].any()


@pytest.mark.parametrize("method", BLENDERS)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_blending_helps_members_that_err_differently(task, method):
    given = drawn(task, [0.8, 0.8, 0.8, 0.8], metric="auc")
    singles = [gain(given, probs, "auc") for probs in given.probs]
    assert gain(given, CrossFit(method, given).blend(given.probs), "auc") > max(singles) + 0.03


def test_ranks_of_labels_are_taken_label_by_label():
    given = drawn(labelled(), [1.0, 1.0])
    shy = given.probs.copy()
    shy[1] = shy[1] / 1000
    np.testing.assert_allclose(fitted("rank", given).predict(shy), fitted("rank", given).predict(given.probs))


# The declared metric


def with_a_shift(task: Task, probs: np.ndarray) -> np.ndarray:
    """The same order in each class, but far too low: what looks at ranks stays, what decides or trusts them breaks."""
    odds = np.array([8.0, 1.0, 1.0, 1.0])[: len(task.classes)] if task.sums_to_one else 1 / 20
    return task.normalised(probs * odds)


@pytest.mark.parametrize(
    ("task", "metric"),
    [(labelled(), "log_loss"), (labelled(), "f1"), (labelled(), "brier"), (graded(4), "qwk"), (graded(4), "log_loss")],
    ids=lambda value: value if isinstance(value, str) else name_of(value),
)
def test_greedy_climbs_the_metric_that_is_declared(task, metric):
    """The abler member is badly calibrated: it is picked for AUC, and the other one for what sees that."""
    labels = drawn_labels(task, ROWS)
    able = with_a_shift(task, drawn_probs(task, labels, 1.5, "able"))
    many = [able, drawn_probs(task, labels, 0.8, "calibrated")]
    for_areas = members(task, many, metric="auc", labels=labels)
    for_metric = members(task, many, metric=metric, labels=labels)
    assert gain(for_areas, many[0], "auc") > gain(for_areas, many[1], "auc")
    assert gain(for_metric, many[0], metric) < gain(for_metric, many[1], metric)
    weights = [np.array(fitted("greedy", given).weights) for given in (for_areas, for_metric)]
    assert weights[0][0] > weights[1][0] and weights[1][1] > 0.5
    blends = [np.tensordot(w, for_metric.probs, axes=1) for w in weights]
    assert gain(for_metric, blends[1], metric) > gain(for_metric, blends[0], metric)


@pytest.mark.parametrize("metric", ["auc", "log_loss", "f2", "average_precision"])
def test_what_greedy_picks_is_no_worse_than_the_best_member(metric):
    given = drawn(labelled(), [0.2, 0.9, 0.7, 0.4], metric=metric)
    best = max(gain(given, probs, metric) for probs in given.probs)
    assert gain(given, fitted("greedy", given).predict(given.probs), metric) > best


@pytest.mark.parametrize(("task", "metric"), [(labelled(), "log_loss"), (graded(4), "quadratic_kappa")], ids=str)
def test_the_table_of_methods_is_by_the_declared_metric(task, metric):
    given, scored = drawn(task, [0.5, 1.2, 0.8], metric=metric), find_metric(metric)
    rows = compare(given, fit_methods(given))
    assert list(rows) == list(BLENDERS)
    for method, row in rows.items():
        honest = task.normalised(CrossFit(method, given).blend(given.probs))
        of_folds = [
            FoldMean(task, given.labels, probs, given.folds, scored)(np.ones(ROWS))
            for probs in (honest, given.probs[1])
        ]
        assert row.over == "m1"
        assert row.score.value == pytest.approx(value_of(scored, Predicted(task, given.labels, honest)))
        assert row.fold_mean == pytest.approx(of_folds[0])
        assert row.gain.value == pytest.approx(scored.gain(of_folds[0]) - scored.gain(of_folds[1]))


# What is not known


@pytest.mark.parametrize("method", ["greedy", "stack"])
def test_unknown_labels_fit_nothing(method):
    given = drawn(labelled(), [0.5, 1.0, 0.2])
    unknown = np.isnan(given.labels)
    other = replace(given, probs=np.where(unknown, 1 - given.probs, given.probs))
    one, same = (fitted(method, members).predict(given.probs) for members in (given, other))
    np.testing.assert_allclose(one, same)
    assert unknown.any(axis=0).all()


def test_a_stack_of_labels_is_one_regression_a_label():
    """Another label's truth changes nothing."""
    given = drawn(labelled(), [0.5, 1.0, 0.2])
    labels = given.labels.copy()
    labels[:, 1] = 1 - labels[:, 1]
    before, after = (create_blender("stack", given).fit(given.probs, y, given.groups) for y in (given.labels, labels))
    same = np.isclose(before.predict(given.probs), after.predict(given.probs)).all(axis=0)
    assert same.tolist() == [True, False, True]


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan], ids=["absent", "present", "unknown"])
@pytest.mark.parametrize("method", BLENDERS)
def test_a_label_that_the_other_folds_do_not_know_both_ways_is_the_mean_of_the_members(method, value):
    given = drawn(labelled(), [0.5, 1.0])
    labels = given.labels.copy()
    labels[given.folds != 2, 1] = value
    given = members(labelled(), list(given.probs), labels=labels)
    inside = given.folds == 2
    blended = CrossFit(method, given).blend(given.probs)[inside, 1]
    assert np.isfinite(blended).all()
    if method == "stack":
        odds = np.log(given.probs / (1 - given.probs))[:, inside, 1].mean(axis=0)
        np.testing.assert_allclose(blended, 1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize("task", [exclusive(3), graded(4)], ids=name_of)
def test_a_class_that_only_one_fold_has_is_blended_by_every_method(task):
    number = np.arange(ROWS)
    rare = number // 2 % FOLDS == 1
    labels = np.where(rare, 2, number % 2)
    given = members(task, [drawn_probs(task, labels, 1.0, n) for n in range(2)], labels=labels)
    for method in BLENDERS:
        blended = task.normalised(CrossFit(method, given).blend(given.probs))
        assert not task.wrong_rows(blended)[0].any()


# Files


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Call it with a task and a name: a finished result of that name is in runs/."""
    project = Project(tmp_path)
    enter(monkeypatch, project)

    def write(task: Task, name: str, metric: str):
        labels = drawn_labels(task, ROWS)
        oof = table(task, labels, drawn_probs(task, labels, 1.0, name))
        test = table(task, labels[:30], drawn_probs(task, labels[:30], 1.0, name, "test")).assign(fold=-1, label="")
        folds = FoldsOfResult(file="tiny", count=FOLDS, sha256="f" * 64, trained=tuple(range(FOLDS)))
        record = record_of(name, folds=folds, **about(task, metric, warning="drawn, not taken"))
        origin = {"folds_sha256": "f" * 64, "folds": "tiny", "task": task.name}
        described = record.model_dump(exclude={"name", "files", "scores"})
        return results.write_result(project.runs / name, oof, test, None, origin, described)

    return write


FILED = [(labelled(), "log_loss", method) for method in BLENDERS] + [(graded(4), "quadratic_kappa", "stack")]


@pytest.mark.parametrize(
    ("task", "metric", "method"), FILED, ids=lambda value: value if isinstance(value, str) else name_of(value)
)
def test_an_ensemble_of_labels_or_grades_is_a_result_like_any_other(store, task, metric, method):
    for name in ("exp1", "exp2"):
        store(task, name, metric)
    result, _ = ensemble(["exp1", "exp2"], "blend", method)
    again = results.find_result("blend")
    assert again.record == result.record
    assert (again.record.task, again.record.metric, again.record.warning) == (task.name, metric, "drawn, not taken")
    oof, _ = again.oof()
    labels, probs = task.labels(oof["label"].tolist()), predictions.probabilities(oof)
    score = again.competition_score
    assert score is not None
    assert score.value == value_of(find_metric(metric), Predicted(task, labels, probs))
    test, _ = again.test()
    assert len(test) == 30 and not task.wrong_rows(predictions.probabilities(test))[0].any()
    assert (again.record.scores.by_label is None) == task.sums_to_one
