"""Every figure against scikit-learn, and intervals over patients."""

from typing import get_args

import numpy as np
import pytest
from sklearn import metrics as reference

from chestfold.core.config import field_types
from chestfold.core.rng import generator
from chestfold.evaluate import metrics

ROWS = 200


@pytest.fixture(autouse=True)
def _all_replicates(monkeypatch):
    """As many as a run draws; other tests have fewer."""
    monkeypatch.setattr(metrics, "REPLICATES", 1000)


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


def evaluation(labels: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None) -> metrics.Evaluation:
    """What a metric sees of predictions at 0.5 whose positive class is the second; each row counts once."""
    weights = np.ones(len(labels)) if weights is None else weights
    chosen, rankings = metrics.decide(probs, 1), metrics.rank_classes(labels, probs)
    return metrics.Evaluation(labels, probs, chosen, 1, rankings, weights)


@pytest.mark.parametrize("seed", range(3))
def test_auc_with_ties_and_weights_is_that_of_scikit_learn(seed):
    labels, probs = draw(seed)
    weights = generator("weights", seed).integers(0, 4, ROWS).astype(float)
    scores = probs[:, 1]
    assert len(np.unique(scores)) < ROWS / 4, "the scores are tied"
    assert metrics.auc(labels == 1, scores) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    weighted = metrics.Ranking(labels == 1, scores).auc(weights)
    assert weighted == pytest.approx(reference.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)


def test_auc_of_one_class_is_not_a_number():
    assert np.isnan(metrics.auc(np.array([True, True]), np.array([0.1, 0.2])))


@pytest.mark.parametrize("positive", [0, 1])
def test_binary_figures_are_those_of_the_positive_class(positive):
    labels, probs = draw(3)
    chosen = metrics.decide(probs, positive)
    expected = {
        "precision": reference.precision_score(labels, chosen, pos_label=positive),
        "recall": reference.recall_score(labels, chosen, pos_label=positive),
        "specificity": reference.recall_score(labels, chosen, pos_label=1 - positive),
        "f1": reference.f1_score(labels, chosen, pos_label=positive),
        "accuracy": reference.accuracy_score(labels, chosen),
        "auc": reference.roc_auc_score(labels == positive, probs[:, positive]),
    }
    scored = metrics.evaluate(labels, probs, alone(), positive)
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
    scored = metrics.evaluate(labels, probs, alone(), positive)
    assert {name: scored[name].value for name in expected} == pytest.approx(expected)


def test_a_class_that_is_never_predicted_has_precision_0():
    labels = np.repeat([0, 1], [5, 3])
    seen = evaluation(labels, np.tile([0.9, 0.1], (8, 1)))
    expected = {"precision": 0.0, "recall": 0.0, "specificity": 1.0, "f1": 0.0, "accuracy": 5 / 8}
    assert {name: metrics.METRICS[name](seen) for name in expected} == expected


def test_calibration_error_of_a_case_made_by_hand():
    """Four rows at .9, two of them wrong, and two at .6, both right: (4 x |.5 - .9| + 2 x |1 - .6|) / 6.

    Too sure in one bin and not sure enough in another: the two do not cancel.
    """
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6])
    probs = np.stack([1 - confidence, confidence], axis=1)
    labels = np.array([1, 1, 0, 0, 1, 1])
    assert metrics.calibration_error(evaluation(labels, probs)) == pytest.approx((4 * 0.4 + 2 * 0.4) / 6)
    third = np.array([0, 0, 1.0, 0, 0, 0])
    assert metrics.calibration_error(evaluation(labels, probs, third)) == pytest.approx(0.9)


def test_a_certain_and_right_model_is_calibrated():
    assert metrics.calibration_error(evaluation(np.array([0, 1]), np.eye(2))) == 0


def test_the_interval_is_over_patients_not_over_rows():
    labels, probs = draw(5)
    copies = np.repeat(alone(), 8)
    single = metrics.evaluate(labels, probs, alone(), 1)["auc"]
    as_patients = metrics.evaluate(labels[copies], probs[copies], copies, 1)["auc"]
    as_rows = metrics.evaluate(labels[copies], probs[copies], np.arange(len(copies)), 1)["auc"]
    assert as_patients == single, "eight copies of a patient's row add nothing"
    assert as_rows.high - as_rows.low < 0.5 * (single.high - single.low)


def test_the_interval_holds_the_truth_about_19_times_of_20():
    truth = 0.7601  # Phi(1 / sqrt 2) of two normal distributions one deviation apart
    held = 0
    for n in range(60):
        rng = generator("coverage", n)
        positive = np.arange(100) % 2 == 1
        scores = rng.normal(positive.astype(float), 1)
        area = metrics.Ranking(positive, scores)
        draws = [area.auc(w) for w in metrics.patient_weights(np.arange(100), 200)]
        low, high = np.percentile(draws, [2.5, 97.5])
        held += low <= truth <= high
    assert 50 <= held <= 60


def test_the_interval_is_the_same_every_time():
    labels, probs = draw(6)
    assert metrics.evaluate(labels, probs, alone(), 1) == metrics.evaluate(labels, probs, alone(), 1)


def test_a_model_does_not_differ_from_itself_and_a_better_one_does():
    labels, probs = draw(7)
    same = metrics.paired_auc(labels, probs, probs, alone())
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = np.where(generator("repair").random(ROWS)[:, None] < 0.5, np.eye(2)[labels], probs)
    gain = metrics.paired_auc(labels, better, probs, alone())
    assert gain.low > 0
    assert gain.value == pytest.approx(metrics.macro_auc(labels, better) - metrics.macro_auc(labels, probs))


def test_a_paired_interval_is_narrower_than_two_separate_ones():
    labels, probs = draw(8)
    near = probs + generator("near").normal(0, 0.01, probs.shape)
    gap, single = metrics.paired_auc(labels, near, probs, alone()), metrics.evaluate(labels, probs, alone(), 1)["auc"]
    assert gap.high - gap.low < 0.5 * (single.high - single.low)


@pytest.mark.parametrize("positive", [0, 1])
def test_the_best_threshold_has_the_best_f1_of_all(positive):
    labels, probs = draw(9)
    scores = probs[:, positive]

    def f1(threshold: float) -> float:
        predicted = np.where(scores >= threshold, positive, 1 - positive)
        return reference.f1_score(labels, predicted, pos_label=positive)

    best = metrics.best_threshold(labels, scores, positive)
    assert f1(best) == pytest.approx(max(f1(t) for t in np.unique(scores)))


def test_a_threshold_is_fitted_on_the_other_folds_only():
    labels, probs = draw(10)
    folds = alone() % 4
    before = metrics.cross_fitted_thresholds(labels, probs, folds, 1)
    changed = np.where(folds == 2, 1 - labels, labels)
    after = metrics.cross_fitted_thresholds(changed, probs, folds, 1)
    assert len(set(before[folds == 2])) == 1
    assert (after[folds == 2] == before[folds == 2]).all(), "its own labels change nothing"
    assert (after[folds != 2] != before[folds != 2]).any(), "those of the others do"


def test_a_cross_fitted_threshold_is_no_better_than_an_in_sample_one():
    labels, probs = draw(11)
    fitted = metrics.cross_fitted_thresholds(labels, probs, alone() % 5, 1)
    in_sample = metrics.best_threshold(labels, probs[:, 1], 1)
    honest, flattering = (metrics.evaluate(labels, probs, alone(), 1, t)["f1"].value for t in (fitted, in_sample))
    assert honest <= flattering


def test_a_metric_of_ones_own_is_a_function_and_its_line_in_the_registry(monkeypatch):
    """Average precision: it is weighted as the others are, and has its interval."""

    def average_precision(e: metrics.Evaluation) -> float:
        return reference.average_precision_score(e.labels == 1, e.probs[:, 1], sample_weight=e.weights)

    monkeypatch.setitem(metrics.METRICS, "ap", average_precision)
    labels, probs = draw(12)
    scored = metrics.evaluate(labels, probs, alone(), 1)["ap"]
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
    assert metrics.FoldAuc(labels, probs, folds)(np.ones(ROWS)) == pytest.approx(np.mean(each))


def test_an_offset_between_folds_costs_the_pooled_auc_and_not_that_of_folds():
    labels, probs, folds = offset_folds()
    assert metrics.FoldAuc(labels, probs, folds)(np.ones(ROWS)) == 1
    assert metrics.macro_auc(labels, probs) == pytest.approx(0.75)


def test_a_fold_in_which_a_class_has_no_weight_does_not_count():
    labels, probs, folds = offset_folds()
    weights = np.where((folds == 0) & (labels == 1), 0.0, 1.0)
    assert metrics.FoldAuc(labels, probs, folds)(weights) == 1


def test_a_gain_in_the_auc_of_folds_is_paired():
    labels, probs = draw(14)
    folds = alone() % 4
    same = metrics.paired_fold_auc(labels, probs, probs, alone(), folds)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = np.where(generator("repair").random(ROWS)[:, None] < 0.5, np.eye(2)[labels], probs)
    gain = metrics.paired_fold_auc(labels, better, probs, alone(), folds)
    equal = np.ones(ROWS)
    assert gain.low > 0
    expected = metrics.FoldAuc(labels, better, folds)(equal) - metrics.FoldAuc(labels, probs, folds)(equal)
    assert gain.value == pytest.approx(expected)


# What is said while a fold trains


def test_the_f1_of_an_epoch_is_the_mean_of_both_classes_and_has_its_own_name():
    """`f1` of a result is that of the positive class: one name for two figures would mislead."""
    labels, probs = draw(15)
    predicted = probs.argmax(axis=1)
    decided = metrics.decide(probs, 1)  # differs where both classes have 0.5
    of_epoch = metrics.validation_figures(labels, probs)
    of_result = metrics.evaluate(labels, probs, alone(), 1)
    assert "f1" not in of_epoch and "macro_f1" not in of_result
    assert of_epoch["macro_f1"] == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert of_result["f1"].value == pytest.approx(reference.f1_score(labels, decided))
    assert of_epoch["macro_f1"] != pytest.approx(of_result["f1"].value, abs=1e-3)


def test_an_epoch_is_monitored_by_the_figures_that_it_has():
    figures = metrics.validation_figures(*draw(16))
    assert set(figures) == set(get_args(field_types()["monitor"]))
