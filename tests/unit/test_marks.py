"""What must be read beside a score."""

import math
from pathlib import Path
from typing import Any

import pytest
from conftest import record_of

from chestfold.data.catalogue import catalogue
from chestfold.evaluate import marks
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.results import Result, Scores, find_result


def record(matrix, accuracy: float = 0.9, gap: Score | None = None, **fields):
    """`gap`: of the folds' mean AUC over that of all images."""
    at_half = {"accuracy": Score(accuracy, accuracy - 0.01, accuracy + 0.01), "auc": Score(0.824, 0.80, 0.85)}
    folds = [0.898, 0.894, 0.944, 0.837, 0.938] if gap else None
    scores = Scores(at_half=at_half, confusion=matrix, per_fold_auc=folds, folds_minus_pooled=gap)
    return record_of("exp1", scores=scores, **fields)


def kinds(made) -> list[str]:
    return [mark.kind for mark in marks.marks_of(made)]


THREE = {"classes": ("a", "b", "c"), "positive": "a"}
LABELS = {"classes": ("nodule", "effusion"), "positive": "", "task": "multilabel"}


@pytest.mark.parametrize(
    ("matrix", "fields", "text"),
    [
        ([[8, 0], [2, 0]], {}, "never predicts ill"),
        ([[0, 8], [0, 2]], {}, "never predicts healthy"),
        ([[5, 1, 0], [1, 5, 0], [2, 2, 0]], THREE, "never predicts c"),
        ([[5, 1, 0], [1, 5, 0], [2, 2, 0]], THREE | {"task": "ordinal"}, "never predicts c"),
        ([[12, 0, 4, 0], [10, 2, 1, 3]], LABELS, "never predicts nodule"),
        ([[12, 0, 4, 0], [10, 0, 6, 0]], LABELS, "never predicts nodule, effusion"),
    ],
)
def test_a_class_that_is_never_predicted_is_named(matrix, fields, text):
    assert marks.marks_of(record(matrix, **fields))[0] == marks.Mark("never", text)


@pytest.mark.parametrize(
    ("matrix", "fields"),
    [
        ([[8, 1], [1, 1]], {}),
        ([[8, 0, 0], [1, 5, 0], [0, 0, 0]], THREE),  # nobody has it
        ([[12, 0, 0, 0], [10, 2, 1, 3]], LABELS),
        ([[0, 4, 0, 12], [10, 2, 1, 3]], LABELS),  # everything is called a nodule
        ([[10, 3, 2, 3], [10, 2, 4, 0]], LABELS),  # as often right as wrong; always wrong
        ([[10, 0, 2, 3], [0, 0, 0, 0]], LABELS),
    ],
)
def test_a_class_that_is_not_there_or_is_predicted_once_is_no_mark(matrix, fields):
    assert "never" not in kinds(record(matrix, **fields))


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (0.8, "accuracy = base rate 0.800"),
        (0.8004, "accuracy = base rate 0.800"),
        (0.7996, "accuracy = base rate 0.800"),
        (0.7994, "accuracy below base rate 0.800"),
        (0.7, "accuracy below base rate 0.800"),
    ],
)
def test_an_accuracy_that_guessing_reaches_is_marked(accuracy, text):
    assert marks.Mark("base_rate", text) in marks.marks_of(record([[79, 1], [19, 1]], accuracy))


@pytest.mark.parametrize("accuracy", [0.5 - 0.0005, 0.5 + 0.0005])
def test_half_a_third_decimal_is_no_difference(accuracy):
    text = "accuracy = base rate 0.500"
    assert marks.marks_of(record([[9, 1], [9, 1]], accuracy)) == (marks.Mark("base_rate", text),)


def test_a_better_accuracy_and_several_labels_have_no_base_rate_mark():
    assert "base_rate" not in kinds(record([[79, 1], [9, 11]], 0.9))
    assert "base_rate" not in kinds(record([[79, 1], [19, 1]], 0.8006))
    assert "base_rate" not in kinds(record([[12, 0, 4, 0], [10, 2, 1, 3]], 0.1, **LABELS))


@pytest.mark.parametrize(
    ("gap", "is_marked"),
    [
        (Score(0.078, 0.012, 0.1), True),
        (Score(0.0005, 0.0001, 0.001), True),
        (Score(0.0004, 0.0001, 0.001), False),  # three decimals do not show it
        (Score(0.02, 0.0, 0.1), False),  # the draws give as much
        (Score(0.02, -0.01, 0.1), False),
        (Score(-0.02, -0.03, -0.01), False),  # scales that differ make the pooled AUC worse, not better
        (Score(math.nan, math.nan, math.nan), False),
        (None, False),
    ],
)
def test_folds_that_are_better_than_all_of_them_together_are_said(gap, is_marked):
    text = "the folds' probabilities are on different scales: mean of folds 0.902"
    expected = (marks.Mark("folds_differ", text),) if is_marked else ()
    assert marks.marks_of(record([[50, 5], [5, 50]], gap=gap)) == expected


def test_a_record_without_counts_has_no_marks():
    assert marks.marks_of(record_of("exp1")) == ()


def test_a_record_without_images_or_accuracy_has_no_base_rate_mark():
    nobody = record([[0, 0], [0, 0]], 0.1)
    assert marks.base_rate(nobody) is None and marks.marks_of(nobody) == ()
    unscored = record_of("exp1", scores=Scores(at_half={}, confusion=[[5, 1], [2, 2]]))
    assert marks.base_rate(unscored) == marks.BaseRate("healthy", 0.6) and marks.marks_of(unscored) == ()


# The images of a table


def facts(matrix, patients: int, **fields) -> marks.Facts:
    counted: dict[str, Any] = {"images": sum(map(sum, matrix)), "patients": patients}
    if fields.get("task") == "multilabel":
        counted["images"] = 16
    return marks.facts_of(Result(Path("exp1"), record(matrix, **counted, **fields)))


@pytest.mark.parametrize(
    ("matrix", "patients", "fields", "sentence"),
    [
        (
            [[70, 5], [5, 20]],
            40,
            {},
            "100 images, 40 patients, 25 ill; calling everything healthy is right in 75.0 %",
        ),
        (
            [[5, 5], [5, 85]],
            100,
            {},
            "100 images, each counted as its own patient, 90 ill; calling everything ill is right in 90.0 %",
        ),
        (
            [[5, 1, 0], [1, 8, 0], [2, 3, 0]],
            1,
            THREE,
            "20 images, 1 patient, 6 a, 9 b, 5 c; calling everything b is right in 45.0 %",
        ),
        ([[12, 0, 4, 0], [10, 2, 1, 3]], 9, LABELS, "16 images, 9 patients, 4 nodule, 4 effusion"),
    ],
)
def test_a_table_says_what_its_images_are_and_what_guessing_reaches(matrix, patients, fields, sentence):
    assert facts(matrix, patients, **fields).sentence() == sentence


def black_result(trained, name: str, auc: float, **fields) -> Result:
    """A result on `tiny` that saw no lungs."""
    made = find_result("exp100")
    scores = made.record.scores
    half = scores.at_half | {"auc": Score(auc, auc - 0.1, auc + 0.1)}
    scored = scores.model_copy(update={"at_half": half})
    blackened = {"scores": scored, "settings": {"frame": "lungs_black"}}
    return Result(made.folder.with_name(name), made.record.model_copy(update=blackened | fields))


def test_the_best_of_those_that_saw_no_lungs_is_said_of_its_data_set(trained):
    first, second = black_result(trained, "one", 0.6), black_result(trained, "two", 0.7)
    other = black_result(trained, "three", 0.9, data="another")
    seen = find_result("exp100")
    found = marks.best_without_lungs([seen, first, second, other], "tiny")
    assert found is second
    assert marks.without_lungs(second) == (
        "what is told without the lungs (the middle black): AUC 0.7000 [0.6000, 0.8000] by two"
    )
    assert marks.best_without_lungs([seen, other], "tiny") is None


def test_of_those_that_saw_no_lungs_one_with_less_loss_is_better_and_one_without_a_figure_is_none():
    found = []
    for name, losses in (("one", 0.6), ("two", 0.5), ("three", None)):
        half = {} if losses is None else {"log_loss": Score(losses, losses - 0.1, losses + 0.1)}
        made = record_of(name, scores=Scores(at_half=half, confusion=[]), metric="log_loss", higher_is_better=False)
        found.append(Result(Path(name), made.model_copy(update={"settings": {"frame": "lungs_black"}})))
    assert marks.best_without_lungs(found, "tiny") is found[1]
    assert marks.best_without_lungs(found[2:], "tiny") is None


def test_results_of_before_images_and_patients_were_counted_are_counted_from_their_predictions(trained):
    from chestfold.core.files import read_json, write_json

    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    assert (about["images"], about["patients"]) == (60, 20)
    write_json(path, {key: value for key, value in about.items() if key not in ("images", "patients")})
    found = marks.facts_of(find_result("exp100"))
    assert (found.images, found.patients, found.counts) == (60, 20, {"healthy": 30, "ill": 30})


@pytest.mark.parametrize("data", ["covid_4class", "phantom_marked"])
def test_the_warning_of_a_known_data_set_stands_with_results_of_before_there_were_any(data):
    made = record([[1, 1], [1, 1]], data=data)
    assert made.warning == "" and "CONFOUNDED" in marks.warning_of(made) == catalogue()[data].warning


def test_the_warning_that_a_result_kept_goes_before_that_of_the_catalogue():
    assert marks.warning_of(record([[1, 1], [1, 1]], data="covid_4class", warning="as it was")) == "as it was"
    assert marks.warning_of(record([[1, 1], [1, 1]])) == ""
