"""Figures that are not defined, and intervals where a bootstrap has no width."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from tasks import exclusive, graded, labelled

from chestfold.core.config import Experiment
from chestfold.core.records import Record
from chestfold.core.run_folder import History
from chestfold.evaluate import exact
from chestfold.evaluate.bootstrap import Score, score_of
from chestfold.evaluate.metrics import BOARD, METRICS, Predicted, evaluate, evaluate_each_class, find_metric, value_of

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
    score = score_of(0.5, np.array([0.4, np.nan, 0.5, 0.6, np.nan]))
    assert 0.4 <= score.low < score.high <= 0.6
    assert str(score_of(0.5, np.array([np.nan]))) == "0.5000"


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


# Intervals of 0 and 1


@pytest.mark.parametrize("trials", [1, 5, 40, 3669])
def test_the_interval_of_n_of_n_is_that_of_clopper_and_pearson(trials):
    for value, successes in ((1.0, trials), (0.0, 0)):
        expected = binomtest(successes, trials).proportion_ci(method="exact")
        score = exact.share_interval(value, trials)
        assert (score.low, score.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_no_figure_of_the_board_is_certain_because_it_is_perfect(task):
    scored = evaluate(perfect(task), np.arange(24), SCORED)
    for name in ("auc", "precision", "recall", "specificity", "f1", "accuracy"):
        score = scored[name]
        assert score.value == 1 and score.high == 1 and 0.3 < score.low < 0.99, name


def test_each_label_rests_on_its_own_images():
    found = evaluate_each_class(perfect(labelled()), np.arange(24), {"recall": METRICS["recall"]})
    lows = [found[name]["recall"].low for name in labelled().classes]
    assert lows == pytest.approx([exact.lowest_share(n) for n in (12, 8, 6)])


def test_images_of_the_same_patients_add_no_certainty():
    seen = perfect(exclusive(2), 40)
    alone, twice = (evaluate(seen, np.arange(40) // n, SCORED) for n in (1, 4))
    assert alone["accuracy"].low == pytest.approx(exact.lowest_share(40))
    assert twice["accuracy"].low == pytest.approx(exact.lowest_share(10))
    assert twice["auc"].low == pytest.approx(exact.lowest_share(5)), "ten patients make five pairs"


def test_precision_of_five_hits_rests_on_five():
    labels = np.array([0] * 10 + [1] * 10)
    probs = np.tile([0.9, 0.1], (20, 1))
    probs[-5:] = [0.1, 0.9]
    score = evaluate(Predicted(exclusive(), labels, probs), np.arange(20), SCORED)["precision"]
    assert (score.value, score.low, score.high) == (1, pytest.approx(exact.lowest_share(5)), 1)


def test_f1_of_nothing_found_may_be_above_0():
    scored = evaluate(calling(0, [0] * 6 + [1] * 4), np.arange(10), SCORED)
    upper = 1 - exact.lowest_share(4)
    assert (scored["f1"].value, scored["f1"].low) == (0, 0)
    assert scored["f1"].high == pytest.approx(2 * upper / (1 + upper))


def test_the_doubt_of_a_figure_without_an_exact_interval_is_not_known():
    score = evaluate(perfect(graded(4)), np.arange(24), {"qwk": METRICS["quadratic_kappa"]})["qwk"]
    assert str(score) == "1.0000"


def test_pairs_need_a_patient_of_each_kind():
    ill = np.array([True, True, False, False, False])
    assert exact.independent_pairs(ill, ~ill, np.arange(5)) == 2
    assert exact.independent_pairs(ill, ~ill, np.array([0, 0, 1, 2, 3])) == 1
    assert exact.independent_pairs(ill, ~ill, np.zeros(5)) == 0, "one patient who has both"
    assert math.isnan(exact.lowest_share(0))
