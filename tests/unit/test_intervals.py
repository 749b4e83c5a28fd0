"""Figures that are not defined, and the intervals of each kind of figure."""

import json
import math

import numpy as np
import pytest
from scipy.stats import t
from tasks import drawn, exclusive, graded, labelled

from chestfold.core.config import Experiment
from chestfold.core.records import Record
from chestfold.core.run_folder import History
from chestfold.evaluate import bootstrap, intervals
from chestfold.evaluate.bootstrap import Score, patient_weights, percentiles
from chestfold.evaluate.intervals import Estimate, effective_patients
from chestfold.evaluate.metrics import (
    BOARD,
    METRICS,
    Metric,
    Predicted,
    evaluate,
    evaluate_each_class,
    find_metric,
    value_of,
)

SCORED = {name: METRICS[name] for name in BOARD}
TASKS = [exclusive(2), exclusive(2, 0), exclusive(3), graded(4), labelled()]


def name_of(task) -> str:
    return f"{task.name} {len(task.classes)} {task.positive_number}"


def perfect(task, rows: int = 24) -> Predicted:
    """Each label found, and nothing else."""
    if task.sums_to_one:
        labels = np.arange(rows) % len(task.classes)
        return Predicted(task, labels, np.eye(len(task.classes))[labels] * 0.98 + 0.02 / len(task.classes))
    truth = (np.arange(rows)[:, None] % np.array([2, 3, 4]) == 0).astype(np.float32)
    return Predicted(task, truth, truth * 0.8 + 0.1)


def calling(answer: int, labels: list[int], classes: int = 2, positive: int = 1) -> Predicted:
    """Every row is called `answer`."""
    probs = np.full((len(labels), classes), 0.1 / (classes - 1))
    probs[:, answer] = 0.9
    return Predicted(exclusive(classes, positive), np.array(labels), probs)


# 0 of 0


@pytest.mark.parametrize("positive", [0, 1])
def test_precision_of_a_class_that_is_never_called_is_not_defined(positive):
    seen = calling(1 - positive, [0, 0, 0, 1, 1], positive=positive)
    scored = evaluate(seen, np.arange(5), SCORED)
    assert math.isnan(scored["precision"].value) and str(scored["precision"]) == "-"
    assert scored["recall"].value == 0 and scored["specificity"].value == 1


@pytest.mark.parametrize(("labels", "undefined"), [([0, 0, 0], "recall"), ([1, 1, 1], "specificity")])
def test_a_share_of_nothing_is_not_defined(labels, undefined):
    assert math.isnan(value_of(METRICS[undefined], calling(1, labels)))


def test_f1_is_0_where_ill_are_there_and_none_is_called_and_not_defined_where_none_is_there():
    """By its counts 2 TP / (2 TP + FP + FN), as scikit-learn has it."""
    assert value_of(METRICS["f1"], calling(0, [0, 1, 1])) == 0
    assert math.isnan(value_of(METRICS["f1"], calling(0, [0, 0, 0])))


def test_nobody_gains_macro_precision_by_never_calling_a_class():
    """Two of three classes are found without a fault; the third is there, and called another."""
    labels = [0, 0, 1, 1, 2, 2]
    probs = np.eye(3)[[0, 0, 1, 1, 1, 1]]
    seen = Predicted(exclusive(3), np.array(labels), probs)
    assert value_of(METRICS["precision"], seen) == pytest.approx((1 + 0.5 + 0) / 3)
    absent = Predicted(exclusive(3), np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 1]])
    assert value_of(METRICS["precision"], absent) == value_of(METRICS["recall"], absent) == 1


def test_a_replicate_in_which_a_figure_is_not_defined_is_left_out():
    score = percentiles(0.5, np.array([0.4, np.nan, 0.5, 0.6, np.nan]))
    assert 0.4 <= score.low < score.high <= 0.6
    assert str(percentiles(0.5, np.array([np.nan]))) == "0.5000"


def test_an_undefined_figure_is_the_worst_choice():
    from chestfold.train.loop import best_epoch

    history: History = [
        {"epoch": 1, "loss": 0.1, "precision": math.nan},
        {"epoch": 2, "loss": 0.9, "precision": 0.2},
        {"epoch": 3, "loss": 0.1, "precision": math.nan},
    ]
    assert best_epoch(Experiment(monitor="precision"), history) == 2
    for name in ("precision", "log_loss"):
        assert find_metric(name).worth(math.nan) < find_metric(name).worth(1e9 if name == "log_loss" else 0.0)


class Kept(Record):
    score: Score
    more: dict[str, Score] = {}


def test_json_has_null_where_a_figure_is_not_defined(tmp_path):
    kept = Kept(score=Score(math.nan, math.nan, math.nan), more={"f1": Score(0.0, 0.0, 0.5)})
    kept.write(tmp_path / "kept.json")
    text = (tmp_path / "kept.json").read_text()
    assert "NaN" not in text and json.loads(text)["score"] == {"value": None, "low": None, "high": None}
    back = Kept.from_json(tmp_path / "kept.json")
    assert math.isnan(back.score.value) and back.more == kept.more


# Intervals


def wilson(value: float, trials: float, freedom: float) -> tuple[float, float]:
    """The two shares p of which `value` is just as far as Student's t says: (value - p)² = t² p (1 - p) / trials."""
    squared = t.ppf(0.975, freedom) ** 2 / trials
    low, high = sorted(np.roots([1 + squared, -2 * value - squared, value**2]).real)
    return low, high


@pytest.mark.parametrize(("value", "error", "patients"), [(0.9, 0.05, 12), (0.5, 0.01, 400), (0.03, 0.02, 2.5)])
def test_a_share_has_the_interval_of_wilson_for_trials_of_this_error(value, error, patients):
    score = intervals.of_share(Estimate(value, error, patients))
    assert (score.low, score.high) == pytest.approx(wilson(value, value * (1 - value) / error**2, patients - 1))


def test_a_share_between_0_and_1_without_an_error_is_of_its_patients():
    score = intervals.of_share(Estimate(0.5, 0.0, 10))
    assert (score.low, score.high) == pytest.approx(wilson(0.5, 10, 9))


def test_a_share_of_no_patients_has_no_interval():
    score = intervals.of_share(Estimate(0.5, 0.1, 0))
    assert score.value == 0.5 and math.isnan(score.low) and math.isnan(score.high)


@pytest.mark.parametrize(("patients", "freedom"), [(0.5, 1), (1, 1), (1.5, 1), (2.5, 1.5), (8, 7)])
def test_the_quantile_is_that_of_the_patients_but_one(patients, freedom):
    assert Estimate(0.5, 0.1, patients).quantile == pytest.approx(t.ppf(0.975, freedom))


def test_the_error_is_the_deviation_of_the_replicates_that_are_defined():
    assert intervals.deviation(np.array([1, np.nan, 3])) == pytest.approx(math.sqrt(2))
    with np.errstate(all="raise"):
        assert math.isnan(intervals.deviation(np.array([1, np.nan])))
        assert math.isnan(intervals.deviation(np.array([np.nan])))


@pytest.mark.parametrize("patients", [2, 5, 40, 3669])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_no_error_is_to_be_seen_a_trial_is_a_patient(patients, value):
    score = intervals.of_share(Estimate(value, 0.0, patients))
    low, high = wilson(value, patients, patients - 1)
    assert (score.low, score.high) == pytest.approx((low, high), abs=1e-6)
    assert score.low <= value <= score.high


def test_a_loss_has_an_interval_above_0_and_a_difference_a_symmetric_one():
    found = Estimate(0.02, 0.015, 8)
    loss, gain = intervals.of_loss(found), intervals.of_difference(found)
    assert loss.low > 0 and loss.low * loss.high == pytest.approx(0.02**2)
    assert gain.high - 0.02 == pytest.approx(0.02 - gain.low) == t.ppf(0.975, 7) * 0.015
    assert str(intervals.of_loss(Estimate(0.0, 0.0, 8))) == "0.0000", "of no loss at all nothing is known"
    assert intervals.of_loss(Estimate(1e-9, 1.0, 1)).high == pytest.approx(1e-9 * math.exp(100))


def test_patients_count_by_their_weight():
    groups = np.array([0, 0, 0, 1, 2])
    assert effective_patients(np.ones(5), np.arange(5)) == pytest.approx(5)
    assert effective_patients(np.ones(5), groups) == pytest.approx(25 / 11), "one has three images of five"
    assert effective_patients(np.array([1, 0, 0, 1, 1.0]), groups) == pytest.approx(3)
    assert effective_patients(np.zeros(5), groups) == 0


def test_ill_and_well_are_set_against_each_other():
    ill = np.array([1, 1, 0, 0, 0.0])
    both = np.column_stack([ill, 1 - ill])
    assert effective_patients(both, np.arange(5)) == pytest.approx(2)
    assert effective_patients(both, np.array([0, 0, 1, 2, 3])) == pytest.approx(1)
    assert effective_patients(both, np.zeros(5)) == pytest.approx(0.5), "one patient who has both"


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_no_figure_of_the_board_is_certain_because_it_is_perfect(task):
    scored = evaluate(perfect(task), np.arange(24), SCORED)
    for name in ("auc", "precision", "recall", "specificity", "f1", "accuracy"):
        score = scored[name]
        assert score.value == 1 and score.high == 1 and 0.3 < score.low < 0.99, name


def test_each_label_rests_on_its_own_images():
    found = evaluate_each_class(perfect(labelled()), np.arange(24), {"recall": METRICS["recall"]})
    lows = [found[name]["recall"].low for name in labelled().classes]
    assert lows == pytest.approx([wilson(1, n, n - 1)[0] for n in (12, 8, 6)])


def test_images_of_the_same_patients_add_no_certainty():
    seen = perfect(exclusive(2), 40)
    alone, twice = (evaluate(seen, np.arange(40) // n, SCORED) for n in (1, 4))
    assert alone["accuracy"].low == pytest.approx(wilson(1, 40, 39)[0])
    assert twice["accuracy"].low == pytest.approx(wilson(1, 10, 9)[0])
    assert twice["auc"].low == pytest.approx(wilson(1, 5, 4)[0]), "ten patients make five pairs"


def test_precision_of_five_hits_rests_on_five():
    labels = np.array([0] * 10 + [1] * 10)
    probs = np.tile([0.9, 0.1], (20, 1))
    probs[-5:] = [0.1, 0.9]
    score = evaluate(Predicted(exclusive(), labels, probs), np.arange(20), SCORED)["precision"]
    assert (score.value, score.low, score.high) == (1, pytest.approx(wilson(1, 5, 4)[0]), 1)


def test_f1_of_nothing_found_may_be_above_0():
    scored = evaluate(calling(0, [0] * 6 + [1] * 4), np.arange(10), SCORED)
    assert (scored["f1"].value, scored["f1"].low) == (0, 0)
    assert scored["f1"].high == pytest.approx(wilson(0, 4, 3)[1])


def test_a_metric_of_which_nothing_is_said_has_the_percentiles_of_its_replicates():
    """A hook's, say: nobody knows from where to where it goes."""
    mine = Metric("balance", lambda e: float(e.hits.sum() - e.found[1]))
    labels, probs = drawn(exclusive(), 60, 1)
    seen, groups = Predicted(exclusive(), labels, probs), np.arange(60)
    score = evaluate(seen, groups, {"mine": mine})["mine"]
    each = [value_of(mine, seen, weights) for weights in patient_weights(groups, bootstrap.REPLICATES)]
    assert (score.low, score.high) == pytest.approx(tuple(np.percentile(each, [2.5, 97.5])))


# Replicates


def test_every_patient_is_drawn_as_often_as_any_other():
    groups = np.array(["a", "b", "b", "c"])
    drawn_rows = np.array(list(patient_weights(groups, 600)))
    assert drawn_rows.shape == (600, 4) and (drawn_rows[:, 1] == drawn_rows[:, 2]).all()
    assert (drawn_rows[:, [0, 1, 3]].sum(axis=1) == 3).all(), "three patients are drawn, with replacement"
    assert drawn_rows.mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
    assert len(np.unique(drawn_rows[:, 0])) > 2


@pytest.mark.parametrize("at_once", [1, 11, 10**6])
def test_the_replicates_do_not_depend_on_how_many_are_looked_at_together(at_once, monkeypatch):
    groups, values = np.array([0, 0, 1, 2, 3]), np.arange(5.0)
    expected = [weights @ values for weights in patient_weights(groups, bootstrap.REPLICATES)]
    monkeypatch.setattr(bootstrap, "AT_ONCE", at_once)
    found = bootstrap.draw(lambda weights: (weights @ values)[:, None], groups)
    assert found.tolist() == [[value] for value in expected]


def test_the_mean_of_a_class_is_over_its_own_rows_and_the_last_one_over_the_classes():
    values = np.array([0.0, 1.0, 0.5, 0.7])
    members = np.array([[1, 0], [1, 0], [1, 0], [0, 1]]) == 1
    with np.errstate(all="raise"):  # the second class is not in every replicate
        found = bootstrap.class_means(values, members, np.arange(4))
    assert [score.value for score in found] == pytest.approx([0.5, 0.7, 0.6])
    assert (found[1].low, found[1].high) == pytest.approx((0.7, 0.7))
    rows = [weights[:3] for weights in patient_weights(np.arange(4), bootstrap.REPLICATES) if weights[:3].any()]
    draws = [weights @ values[:3] / weights.sum() for weights in rows]
    assert (found[0].low, found[0].high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))


@pytest.mark.parametrize("value", [0.5, math.nan])
@pytest.mark.parametrize("draws", [[0.5, 0.6], [math.nan]], ids=["defined", "none"])
def test_percentiles_need_a_figure_and_a_replicate(value, draws):
    score = percentiles(value, np.array(draws))
    assert math.isnan(score.low) == math.isnan(score.high) == (math.isnan(value) or math.isnan(draws[0]))


@pytest.mark.parametrize(
    ("score", "text", "gain"),
    [
        (Score(0.5, 0.25, 0.75), "0.5000 [0.2500, 0.7500]", "+0.5000 [+0.2500, +0.7500]"),
        (Score(0.5, math.nan, 0.75), "0.5000", "+0.5000"),
        (Score(0.5, 0.25, math.nan), "0.5000", "+0.5000"),
        (Score(math.nan, 0.25, 0.75), "-", "-"),
    ],
    ids=str,
)
def test_a_figure_is_written_with_its_interval_where_it_has_one(score, text, gain):
    assert (str(score), score.format_gain()) == (text, gain)
