"""Every figure against scikit-learn, and intervals over patients."""

from fractions import Fraction

import numpy as np
import pytest
from sklearn import metrics as reference
from tasks import auc, exclusive

from chestfold.core.rng import generator
from chestfold.evaluate import bootstrap, comparisons, metrics, thresholds
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS, Metric, Predicted, value_of
from chestfold.evaluate.ranking import Ranking

ROWS = 200


@pytest.fixture(autouse=True)
def _all_replicates(monkeypatch):
    """As many as a run draws; other tests have fewer."""
    monkeypatch.setattr(bootstrap, "REPLICATES", 1000)


def draw(seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities (N, K) that know something of them, with many ties."""
    rng = generator("metrics", seed)
    labels = rng.permutation(np.arange(ROWS) % classes)
    logits = rng.normal(0, 1, (ROWS, classes)) + np.eye(classes)[labels]
    probs = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1) + 0.01
    return labels, probs / probs.sum(axis=1, keepdims=True)


def alone() -> np.ndarray:
    """Every row is a patient."""
    return np.arange(ROWS)


def predicted(labels: np.ndarray, probs: np.ndarray, positive: int = 1, threshold: float | np.ndarray = 0.5):
    """Predictions of exclusive classes."""
    return Predicted(exclusive(probs.shape[1], positive), labels, probs, threshold)


def evaluate(labels: np.ndarray, probs: np.ndarray, positive: int = 1, threshold: float | np.ndarray = 0.5):
    """What every result is scored by, with intervals; every row is a patient."""
    scored = {name: METRICS[name] for name in metrics.BOARD}
    return metrics.evaluate(predicted(labels, probs, positive, threshold), alone(), scored)


def decide(probs: np.ndarray, positive: int = 1) -> np.ndarray:
    """The class numbers that are predicted."""
    return exclusive(probs.shape[1], positive).decide(probs).argmax(axis=1)


def auc_of_patients(labels: np.ndarray, probs: np.ndarray, groups: np.ndarray) -> Score:
    return metrics.evaluate(predicted(labels, probs), groups, {"auc": METRICS["auc"]})["auc"]


def ece(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None) -> float:
    return value_of(METRICS["ece"], predicted(labels, probs), weights)


@pytest.mark.parametrize("seed", range(3))
def test_auc_with_ties_and_weights_is_that_of_scikit_learn(seed):
    labels, probs = draw(seed)
    weights = generator("weights", seed).integers(0, 4, ROWS).astype(float)
    scores = probs[:, 1]
    assert len(np.unique(scores)) < ROWS / 4, "the scores are tied"
    assert auc(labels, probs) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    weighted = Ranking(labels == 1, scores).auc(weights)
    assert weighted == pytest.approx(reference.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 2, 15], ids=["many ties", "some ties", "no ties"])
def test_auc_is_exact_where_the_weights_are_whole_numbers(decimals):
    """As in a bootstrap: the figure is the fraction itself, to the last bit."""
    rng = generator("exact", decimals)
    positive, scores, weights = rng.random(120) < 0.3, rng.random(120).round(decimals), rng.integers(0, 4, 120)
    won = Fraction(0)
    for i in np.flatnonzero(positive):
        above = scores[i] > scores[~positive]
        tied = scores[i] == scores[~positive]
        won += int(weights[i]) * Fraction(int(weights[~positive] @ (2 * above + tied)), 2)
    pairs = int(weights[positive].sum()) * int(weights[~positive].sum())
    assert Ranking(positive, scores).auc(weights.astype(float)) == float(won / pairs)


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(auc(np.array([1, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])))


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_figures_are_those_of_the_positive_class(positive):
    labels, probs = draw(3)
    chosen = decide(probs, positive)
    expected = {
        "precision": reference.precision_score(labels, chosen, pos_label=positive),
        "recall": reference.recall_score(labels, chosen, pos_label=positive),
        "specificity": reference.recall_score(labels, chosen, pos_label=1 - positive),
        "f1": reference.f1_score(labels, chosen, pos_label=positive),
        "accuracy": reference.accuracy_score(labels, chosen),
        "auc": reference.roc_auc_score(labels == positive, probs[:, positive]),
    }
    scored = evaluate(labels, probs, positive)
    assert {name: scored[name].value for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("positive", [0, 2])
def test_macro_figures_of_three_classes(positive):
    labels, probs = draw(4, classes=3)
    chosen = probs.argmax(axis=1)
    one_against_rest = [reference.recall_score(labels != c, chosen != c) for c in range(3)]
    expected = {
        "precision": reference.precision_score(labels, chosen, average="macro"),
        "recall": reference.recall_score(labels, chosen, average="macro"),
        "specificity": np.mean(one_against_rest),
        "f1": reference.f1_score(labels, chosen, average="macro"),
        "accuracy": reference.accuracy_score(labels, chosen),
        "auc": reference.roc_auc_score(labels, probs, multi_class="ovr"),
    }
    scored = evaluate(labels, probs, positive)
    assert {name: scored[name].value for name in expected} == pytest.approx(expected)


def test_a_class_that_is_never_predicted_has_no_precision():
    labels = np.repeat([0, 1], [5, 3])
    seen = predicted(labels, np.tile([0.9, 0.1], (8, 1)))
    expected = {"recall": 0.0, "specificity": 1.0, "f1": 0.0, "accuracy": 5 / 8}
    assert {name: value_of(METRICS[name], seen) for name in expected} == expected
    assert np.isnan(value_of(METRICS["precision"], seen))


def test_calibration_error_of_a_case_made_by_hand():
    """Four rows at .9, two of them wrong, and two at .6, both right: (4 x |.5 - .9| + 2 x |1 - .6|) / 6.

    Too sure in one bin and not sure enough in another: the two do not cancel.
    """
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6])
    probs = np.stack([1 - confidence, confidence], axis=1)
    labels = np.array([1, 1, 0, 0, 1, 1])
    assert ece(labels, probs) == pytest.approx((4 * 0.4 + 2 * 0.4) / 6)
    third = np.array([0, 0, 1.0, 0, 0, 0])
    assert ece(labels, probs, third) == pytest.approx(0.9)


def test_a_certain_and_right_model_is_calibrated():
    assert ece(np.array([0, 1]), np.eye(2)) == 0


def test_the_interval_is_over_patients_not_over_rows():
    labels, probs = draw(5)
    copies = np.repeat(alone(), 8)
    single = auc_of_patients(labels, probs, alone())
    as_patients = auc_of_patients(labels[copies], probs[copies], copies)
    as_rows = auc_of_patients(labels[copies], probs[copies], np.arange(len(copies)))
    assert as_patients == single, "eight copies of a patient's row add nothing"
    assert as_rows.high - as_rows.low < 0.5 * (single.high - single.low)


def test_the_interval_holds_the_truth_about_19_times_of_20(monkeypatch):
    """See benchmarks/coverage.py for more kinds of figures and of tables."""
    monkeypatch.setattr(bootstrap, "REPLICATES", 100)
    truth = 0.7601  # Phi(1 / sqrt 2) of two normal distributions one deviation apart
    held = 0
    for n in range(60):
        labels = np.arange(100) % 2
        scores = 1 / (1 + np.exp(-generator("coverage", n).normal(labels.astype(float), 1)))
        score = auc_of_patients(labels, np.stack([1 - scores, scores], axis=1), np.arange(100))
        held += score.low <= truth <= score.high
    assert 52 <= held <= 59


def test_the_interval_is_the_same_every_time():
    labels, probs = draw(6)
    assert evaluate(labels, probs) == evaluate(labels, probs)


@pytest.mark.parametrize("positive", [0, 1])
def test_the_best_threshold_has_the_best_f1_of_all(positive):
    labels, probs = draw(9)
    scores = probs[:, positive]

    def f1(threshold: float) -> float:
        chosen = np.where(scores >= threshold, positive, 1 - positive)
        return reference.f1_score(labels, chosen, pos_label=positive)

    (best,) = thresholds.best_thresholds(exclusive(2, positive), labels, probs)
    assert f1(best) == pytest.approx(max(f1(t) for t in np.unique(scores)))


def test_a_threshold_is_fitted_on_the_other_folds_only():
    labels, probs = draw(10)
    folds = alone() % 4
    before = thresholds.cross_fitted_thresholds(exclusive(), labels, probs, folds)[:, 0]
    changed = np.where(folds == 2, 1 - labels, labels)
    after = thresholds.cross_fitted_thresholds(exclusive(), changed, probs, folds)[:, 0]
    assert len(set(before[folds == 2])) == 1
    assert (after[folds == 2] == before[folds == 2]).all(), "its own labels change nothing"
    assert (after[folds != 2] != before[folds != 2]).any(), "those of the others do"


def test_a_cross_fitted_threshold_is_no_better_than_an_in_sample_one():
    labels, probs = draw(11)
    fitted = thresholds.cross_fitted_thresholds(exclusive(), labels, probs, alone() % 5)[:, 0]
    (in_sample,) = thresholds.best_thresholds(exclusive(), labels, probs)
    honest, flattering = (evaluate(labels, probs, threshold=t)["f1"].value for t in (fitted, in_sample))
    assert honest <= flattering


def test_a_metric_of_ones_own_is_a_function_and_its_line_in_the_registry(monkeypatch):
    """Average precision by scikit-learn: it is weighted as the others are, and has its interval."""

    def average_precision(e: metrics.Evaluation) -> float:
        truth, scores = e.predicted.truth[:, 1], e.predicted.probs[:, 1]
        return reference.average_precision_score(truth, scores, sample_weight=e.weights)

    monkeypatch.setitem(METRICS, "ap", Metric("AP", average_precision))
    labels, probs = draw(12)
    scored = metrics.evaluate(predicted(labels, probs), alone(), {"ap": metrics.find_metric("ap")})["ap"]
    assert scored.value == pytest.approx(reference.average_precision_score(labels, probs[:, 1]))
    assert scored.low < scored.value < scored.high


# Folds


def offset_folds() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions that are perfect inside each of two folds and are lower in the second, and the folds."""
    folds = alone() % 2
    labels = alone() // 2 % 2
    scores = np.where(folds == 0, 0.6, 0.1) + 0.2 * labels
    return labels, np.stack([1 - scores, scores], axis=1), folds


def test_the_auc_of_folds_is_the_mean_of_each_folds_own():
    labels, probs = draw(13)
    folds = alone() % 4
    each = [reference.roc_auc_score(labels[folds == f], probs[folds == f, 1]) for f in range(4)]
    assert comparisons.FoldMean(exclusive(), labels, probs, folds)(np.ones(ROWS)) == pytest.approx(np.mean(each))


def test_an_offset_between_folds_costs_the_pooled_auc_and_not_that_of_folds():
    labels, probs, folds = offset_folds()
    assert comparisons.FoldMean(exclusive(), labels, probs, folds)(np.ones(ROWS)) == 1
    assert auc(labels, probs) == pytest.approx(0.75)


def test_a_fold_in_which_a_class_has_no_weight_does_not_count():
    labels, probs, folds = offset_folds()
    weights = np.where((folds == 0) & (labels == 1), 0.0, 1.0)
    assert comparisons.FoldMean(exclusive(), labels, probs, folds)(weights) == 1


def test_a_gain_in_the_auc_of_folds_is_paired():
    labels, probs = draw(14)
    folds = alone() % 4
    same = comparisons.paired_fold_gain(exclusive(), labels, probs, probs, alone(), folds)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = np.where(generator("repair").random(ROWS)[:, None] < 0.5, np.eye(2)[labels], probs)
    gain = comparisons.paired_fold_gain(exclusive(), labels, better, probs, alone(), folds)
    equal = np.ones(ROWS)
    assert gain.low > 0
    ours, theirs = (comparisons.FoldMean(exclusive(), labels, p, folds)(equal) for p in (better, probs))
    assert gain.value == pytest.approx(ours - theirs)


# What is said while a fold trains


def test_the_f1_of_an_epoch_is_the_mean_of_both_classes_and_has_its_own_name():
    """`f1` of a result is that of the positive class: one name for two figures would mislead."""
    labels, probs = draw(15)
    decided = decide(probs)
    assert (decided != probs.argmax(axis=1)).any(), "where both classes have 0.5 it is the positive one"
    of_epoch = metrics.validation_figures(predicted(labels, probs), {})
    of_result = evaluate(labels, probs)
    assert "f1" not in of_epoch and "macro_f1" not in metrics.BOARD
    assert of_epoch["macro_f1"] == pytest.approx(reference.f1_score(labels, decided, average="macro"))
    assert of_result["f1"].value == pytest.approx(reference.f1_score(labels, decided))
    assert of_epoch["macro_f1"] != pytest.approx(of_result["f1"].value, abs=1e-3)


def test_a_figure_of_no_class_rests_on_no_patients():
    assert METRICS["auc"].patients(predicted(*draw(0)), [], alone()) == 0


@pytest.mark.parametrize("name", [*METRICS, *metrics.ALIASES, "f2", "sensitivity@0.9", "weighted_log_loss"])
def test_an_epoch_has_the_figure_that_it_is_monitored_by(name):
    seen = predicted(*draw(16))
    figures = metrics.validation_figures(seen, {name: metrics.find_metric(name)})
    assert set(figures) == {"loss", "auc", "macro_f1", "accuracy", name}
    assert figures[name] == value_of(metrics.find_metric(name), seen)


# Places where a figure turns


@pytest.mark.parametrize(
    ("labels", "scores", "specificity", "expected"),
    [
        ([0, 1, 1], [0.1, 0.1, 0.8], 0.9, 1 / 2),
        ([0, 0, 1], [0.9, 0.1, 0.5], 0.9, 0),
        ([0] * 10 + [1, 1], [0.9] + [0.1] * 9 + [0.5, 0.2], 0.9, 1),
        ([0] * 10 + [1, 1], [0.9] + [0.1] * 9 + [0.5, 0.2], 0.91, 0),
        ([1, 1], [0.1, 0.8], 0.9, np.nan),
        ([0, 0], [0.1, 0.8], 0.9, np.nan),
    ],
    ids=["a tie below", "an alarm on top", "just allowed", "one too many", "no negative", "no positive"],
)
def test_a_sensitivity_counts_the_alarms_that_the_specificity_leaves(labels, scores, specificity, expected):
    ranking, once = Ranking(np.array(labels) == 1, np.array(scores)), np.ones(len(labels))
    assert ranking.sensitivity_at(specificity, once) == pytest.approx(expected, nan_ok=True)


def test_a_share_of_nothing_is_not_a_number_and_divides_by_nothing():
    ranking, nothing = Ranking(np.array([True, False]), np.array([0.2, 0.1])), np.zeros(2)
    with np.errstate(all="raise"):
        assert metrics.share(np.array([0.0, 1.0]), np.array([0.0, 4.0])) == pytest.approx([np.nan, 0.25], nan_ok=True)
        assert np.isnan(ranking.auc(nothing)) and np.isnan(ranking.average_precision(nothing))


def test_what_the_answer_about_one_image_changes_in_a_share():
    """Five are well and three ill, and none is called ill."""
    seen = predicted(np.repeat([0, 1], [5, 3]), np.tile([0.9, 0.1], (8, 1)))
    expected = {"recall": 1 / 3, "specificity": 1 / 5, "auc": 1 / 3, "accuracy": 1 / 8, "precision": 0, "log_loss": 0}
    assert {name: METRICS[name].of_an_image(seen, [1]) for name in expected} == pytest.approx(expected)
    three = predicted(np.repeat([0, 1, 2], [4, 2, 3]), np.tile([0.5, 0.3, 0.2], (9, 1)))
    assert METRICS["recall"].of_an_image(three, [0, 1, 2]) == pytest.approx(1 / 2 / 3)


def sides(calls: tuple[int, int], threshold: float = 0.5) -> list[Predicted]:
    """Two predictions of three well and three ill, which call so many of the ill ones."""
    labels = np.repeat([0, 1], 3)
    found = []
    for count in calls:
        ill = np.where(np.arange(6) >= 6 - count, 0.9, 0.2)
        found.append(predicted(labels, np.stack([1 - ill, ill], axis=1), threshold=threshold))
    return found


DRAWS = np.array([0.0, 0.2])
SPREAD = np.sqrt(0.02)
"""Their deviation."""


@pytest.mark.parametrize(
    ("name", "draws", "expected"),
    [
        ("recall", DRAWS, np.hypot(SPREAD, 1 / 3)),
        ("auc", DRAWS, np.hypot(SPREAD, 1 / 3 / 4)),
        ("auc", np.array([0.1, 0.1]), 1 / 3),
        ("log_loss", DRAWS, SPREAD),
    ],
)
def test_to_the_error_of_a_difference_comes_one_image_or_a_quarter_of_its_place(name, draws, expected):
    found = metrics.difference(METRICS[name], 0.1, draws, sides((2, 3)), np.arange(6))
    assert (found.value, found.error) == (0.1, pytest.approx(expected))


def test_no_image_comes_to_the_difference_of_what_is_the_same():
    one, same = sides((2, 2))
    assert metrics.difference(METRICS["recall"], 0.0, DRAWS, [one, same], np.arange(6)).error == pytest.approx(SPREAD)
    (bolder, _) = sides((2, 2), threshold=0.1)
    other = metrics.difference(METRICS["recall"], 0.0, DRAWS, [one, bolder], np.arange(6))
    assert other.error == pytest.approx(np.hypot(SPREAD, 1 / 3)), "the same probabilities, and another threshold"


def test_a_difference_rests_on_the_side_with_fewer_patients():
    found = metrics.difference(METRICS["precision"], 0.0, DRAWS, sides((2, 3)), np.arange(6))
    assert found.patients == pytest.approx(2)


@pytest.mark.parametrize("kind", ["share", "loss", ""])
def test_a_figure_of_which_a_single_replicate_is_defined_has_no_interval(kind):
    metric = Metric("mine", METRICS["auc"].function, kind=kind)
    score = metric.score(0.5, np.array([np.nan, 0.5]), 5)
    assert score.value == 0.5 and np.isnan([score.low, score.high]).all()
    score = metric.score(np.nan, np.array([0.4, 0.5]), 5)
    assert np.isnan([score.value, score.low, score.high]).all()
