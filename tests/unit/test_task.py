"""What labels, logits, probabilities and decisions mean, for one of several classes, several labels, and grades."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax
from tasks import FINDINGS, NAMES, exclusive, graded, labelled

from chestfold.core.errors import InputError
from chestfold.core.task import TASKS, Task, create_task
from chestfold.core.task.base import RESERVED
from chestfold.core.task.multilabel import label_text

NAN = float("nan")
EVERY = [exclusive(2), exclusive(3), labelled(), graded(2), graded(4)]
EXCLUSIVE = [task for task in EVERY if task.sums_to_one]


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}"


def logits_of(task: Task, rows: int = 50) -> torch.Tensor:
    """Small and very large ones."""
    drawn = torch.randn(rows, task.outputs, generator=torch.Generator().manual_seed(7))
    return drawn * torch.logspace(-1, 1.5, rows)[:, None]


def probabilities(task: Task, rows: int = 50) -> np.ndarray:
    return task.probabilities(logits_of(task, rows).double()).numpy()


# By name


def test_a_task_is_made_by_its_name():
    assert {name: create_task(name, NAMES).name for name in TASKS} == {name: name for name in TASKS}


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="unknown task 'multilabels'; did you mean multilabel.* multiclass, multi"):
        create_task("multilabels", NAMES)


@pytest.mark.parametrize("word", [*RESERVED, "true:nodule", ""])
@pytest.mark.parametrize("kind", TASKS)
def test_a_class_cannot_be_called_like_a_column_of_a_table_nor_like_nothing(kind, word):
    with pytest.raises(InputError, match=f"a class cannot be called '{word}'"):
        create_task(kind, ("nodule", word))


@pytest.mark.parametrize("word", ["nodule|mass", "nodule?", "-"])
def test_a_label_cannot_hold_what_separates_labels(word):
    with pytest.raises(InputError, match="a label cannot be called"):
        create_task("multilabel", ("nodule", word))
    assert create_task("multiclass", ("nodule", word)).classes[1] == word


# Texts


@pytest.mark.parametrize("task", EXCLUSIVE, ids=name_of)
def test_a_text_is_the_number_of_its_class_and_an_empty_one_is_withheld(task):
    labels = task.labels([*task.classes, ""])
    assert labels.dtype == np.int64 and labels.tolist() == [*range(len(task.classes)), -1]
    truth = task.truth(labels)
    np.testing.assert_array_equal(truth[:-1], np.eye(len(task.classes)))
    assert np.isnan(truth[-1]).all()


LABELS = {
    "-": (0, 0, 0),
    "nodule": (1, 0, 0),
    "nodule|fracture": (1, 0, 1),
    "effusion?": (0, NAN, 0),
    "nodule|effusion?|fracture": (1, NAN, 1),
    "nodule?|effusion?|fracture?": (NAN, NAN, NAN),
}
"""Text -> whether each of `FINDINGS` is present."""


@pytest.mark.parametrize(("text", "values"), LABELS.items())
def test_a_text_of_labels_says_which_are_there_absent_and_unknown(text, values):
    labels = labelled().labels([text])
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, [values])
    np.testing.assert_array_equal(labelled().truth(labels), [values])


@pytest.mark.parametrize(("text", "values"), LABELS.items())
def test_labels_are_written_as_they_are_read(text, values):
    assert label_text(FINDINGS, values) == text


def test_withheld_labels_are_all_unknown():
    assert np.isnan(labelled().labels([""])).all()


def test_labels_in_another_order_and_names_with_spaces_and_other_letters_are_read():
    task = create_task("multilabel", ("Pleural effusion", "結節", "a/b, c"))
    assert task.labels(["結節|Pleural effusion", "a/b, c?"]).tolist()[0] == [1, 1, 0]
    assert label_text(task.classes, (0, 1, NAN)) == "結節|a/b, c?"


@pytest.mark.parametrize("task", EVERY, ids=name_of)
@pytest.mark.parametrize("text", ["other", "Ill", "nodule|other", "nodule?|", "?"])
def test_an_unknown_text_is_no_label(task, text):
    with pytest.raises(KeyError):
        task.labels([text])


# Strata


@pytest.mark.parametrize("task", EXCLUSIVE, ids=name_of)
def test_the_stratum_of_an_exclusive_class_is_its_number(task):
    labels = np.arange(len(task.classes))
    assert task.strata(labels).tolist() == labels.tolist()


def test_the_stratum_of_labels_is_the_rarest_one_that_an_image_has():
    texts = ["nodule", "nodule", "nodule|effusion", "effusion|fracture", "-", "nodule|fracture?", "fracture?"]
    strata = labelled().strata(labelled().labels(texts))
    assert strata.dtype == np.int64 and strata.tolist() == [0, 0, 1, 2, 3, 0, 3]


# Training


def test_targets_of_exclusive_classes_are_rows_with_a_one():
    targets = exclusive(3).targets(torch.tensor([2, 0]))
    assert targets.dtype == torch.float32 and targets.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_targets_of_labels_are_the_labels_with_what_is_unknown():
    targets = labelled().targets(torch.tensor([[1.0, NAN, 0.0]], dtype=torch.float64))
    assert targets.dtype == torch.float32
    np.testing.assert_array_equal(targets.numpy(), [[1, NAN, 0]])


def test_targets_of_grades_are_the_steps_that_they_are_above():
    targets = graded(4).targets(torch.tensor([0, 1, 2, 3]))
    assert targets.dtype == torch.float32
    assert targets.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]]


@pytest.mark.parametrize("classes", [2, 3])
def test_log_odds_of_exclusive_classes_are_those_of_the_softmax(classes):
    logits = logits_of(exclusive(classes)).double().clamp(-8, 8)
    expected = logit(softmax(logits.numpy(), axis=1))
    np.testing.assert_allclose(exclusive(classes).log_odds(logits), expected, rtol=1e-6, atol=1e-6)


def test_log_odds_are_exact_where_a_softmax_would_be_1():
    odds = exclusive(3).log_odds(torch.tensor([[100.0, 0.0, 0.0]]))
    assert odds[0].tolist() == pytest.approx([100 - math.log(2), -100, -100])


@pytest.mark.parametrize("task", [labelled(), graded(4)], ids=name_of)
def test_log_odds_of_labels_and_of_steps_are_the_logits(task):
    assert torch.equal(task.log_odds(logits_of(task)), logits_of(task))


@pytest.mark.parametrize("task", EVERY, ids=name_of)
def test_a_hit_rate_is_the_share_of_the_targets_that_the_logits_are_right_about(task):
    """Logits that are sure of the truth, then of something else in every second row."""
    if task.sums_to_one:
        labels = torch.arange(8) % len(task.classes)
    else:
        labels = torch.tensor([[1.0, 0.0, NAN], [0.0, 1.0, NAN]]).repeat(4, 1)
    targets = task.targets(labels)
    right = 8 * (targets - 0.5).nan_to_num(0.1)
    assert task.hit_rate(right, targets) == 1
    other = right.clone()
    other[::2] = 8 * (task.targets((labels[::2] + 1) % len(task.classes)) - 0.5).nan_to_num(0.1)
    if not task.sums_to_one:
        other[::2] = -right[::2]
    assert task.hit_rate(other, targets) == 0.5


def test_a_hit_rate_without_a_known_label_is_0():
    assert labelled().hit_rate(torch.zeros(2, 3), torch.full((2, 3), NAN)) == 0


# Predictions


def test_probabilities_are_softmax_and_sigmoid():
    for task, expected in ((exclusive(3), lambda z: softmax(z, axis=1)), (labelled(), expit)):
        logits = logits_of(task).double()
        np.testing.assert_allclose(task.probabilities(logits), expected(logits.numpy()))


def test_probabilities_of_grades_are_differences_of_probabilities_of_being_higher():
    higher = torch.tensor([[0.9, 0.5, 0.2]], dtype=torch.float64)
    np.testing.assert_allclose(graded(4).probabilities(higher.logit()), [[0.1, 0.4, 0.3, 0.2]])


def test_a_step_is_never_more_probable_than_the_one_below():
    """Logits that rise: higher than grade 1 with 0.6, yet higher than grade 0 with 0.4 only."""
    rising = torch.tensor([[0.4, 0.6, 0.3]], dtype=torch.float64).logit()
    np.testing.assert_allclose(graded(4).probabilities(rising), [[0.6, 0.0, 0.1, 0.3]])


@pytest.mark.parametrize("task", EVERY, ids=name_of)
def test_probabilities_are_predictions_of_the_task(task):
    probs = probabilities(task)
    assert probs.shape == (50, len(task.classes)) and (probs >= 0).all() and (probs <= 1).all()
    assert not task.wrong_rows(probs)[0].any()
    if task.sums_to_one:
        np.testing.assert_allclose(probs.sum(axis=1), 1)


@pytest.mark.parametrize("task", EXCLUSIVE, ids=name_of)
def test_rows_that_are_no_distribution_are_wrong(task):
    probs = probabilities(task, 5)
    probs[1] *= 1.001
    probs[3, 0], probs[3, 1] = -0.1, 1.1
    probs[3, 2:] = 0
    wrong, complaint = task.wrong_rows(probs)
    assert wrong.tolist() == [False, True, False, True, False] and "do not sum to 1" in complaint.format("'a'")


def test_labels_outside_0_to_1_are_wrong_and_their_sum_is_free():
    probs = np.array([[0.9, 0.9, 0.9], [0, 0, 0], [1, 1, 1], [0.5, 1.01, 0.5], [-0.01, 0.5, 0.5]])
    wrong, complaint = labelled().wrong_rows(probs)
    assert wrong.tolist() == [False, False, False, True, True]
    assert complaint.format("'a'") == "a probability of 'a' lies outside 0 to 1"


@pytest.mark.parametrize("task", EVERY, ids=name_of)
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_blended_scores_become_predictions(task, shape):
    scores = np.random.default_rng(0).random((*shape, len(task.classes))) * 1.5
    made = task.normalised(scores)
    assert made.shape == scores.shape
    assert not task.wrong_rows(made.reshape(-1, len(task.classes)))[0].any()
    np.testing.assert_allclose(task.normalised(made), made)


@pytest.mark.parametrize("task", EVERY, ids=name_of)
def test_predictions_stay_as_they_are(task):
    np.testing.assert_allclose(task.normalised(probabilities(task)), probabilities(task))


# Decisions


@pytest.mark.parametrize("positive", [0, 1])
def test_of_two_classes_the_threshold_on_the_positive_one_decides(positive):
    task = exclusive(2, positive)
    of_positive = np.array([0.2, 0.5, 0.7])
    probs = np.empty((3, 2))
    probs[:, positive], probs[:, 1 - positive] = of_positive, 1 - of_positive
    assert task.decide(probs)[:, positive].tolist() == [False, True, True]
    assert task.decide(probs, 0.6)[:, positive].tolist() == [False, False, True]
    assert task.decide(probs, np.array([0.1, 0.6, 0.8]))[:, positive].tolist() == [True, False, False]
    assert (task.decide(probs).sum(axis=1) == 1).all()


def test_of_three_classes_the_most_probable_is_chosen_whatever_the_threshold():
    probs = np.array([[0.4, 0.35, 0.25], [0.1, 0.2, 0.7]])
    for threshold in (0.5, 0.1, np.array([0.9, 0.9])):
        assert exclusive(3).decide(probs, threshold).argmax(axis=1).tolist() == [0, 2]


def test_each_label_has_its_own_threshold():
    probs = np.array([[0.5, 0.5, 0.5], [0.2, 0.9, 0.49]])
    assert labelled().decide(probs).tolist() == [[True, True, True], [False, True, False]]
    each = labelled().decide(probs, np.array([0.2, 0.6, 0.5]))
    assert each.tolist() == [[True, False, True], [True, True, False]]
    of_rows = labelled().decide(probs, np.array([[0.6, 0.6, 0.6], [0.1, 0.1, 0.1]]))
    assert of_rows.tolist() == [[False, False, False], [True, True, True]]


def test_the_grade_is_the_median_not_the_most_probable():
    probs = np.array([[0.4, 0.2, 0.2, 0.2], [0.0, 0.0, 0.0, 1.0], [0.5, 0.5, 0.0, 0.0], [0.51, 0.0, 0.0, 0.49]])
    decided = graded(4).decide(probs)
    assert decided.argmax(axis=1).tolist() == [1, 3, 1, 0] and (decided.sum(axis=1) == 1).all()


@pytest.mark.parametrize("task", [graded(3), graded(4)], ids=name_of)
def test_a_decided_grade_is_above_as_many_steps_as_are_probable(task):
    logits = logits_of(task)
    higher = logits.sigmoid().cummin(dim=1).values
    probs = task.probabilities(logits.double()).numpy()
    assert task.decide(probs).argmax(axis=1).tolist() == (higher >= 0.5).sum(dim=1).tolist()


# What is said of a prediction


def test_the_probability_of_the_truth_is_that_of_the_class_or_the_least_of_the_labels():
    probs = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    assert exclusive(3).of_truth(probs, np.array([1, 0])).tolist() == [0.5, 0.9]
    labels = labelled().labels(["nodule|fracture?", "nodule"])
    of_labels = np.array([[0.4, 0.5, 0.99], [0.9, 0.7, 0.05]])
    np.testing.assert_allclose(labelled().of_truth(of_labels, labels), [0.4, 0.3])


@pytest.mark.parametrize(
    ("task", "probs", "name"),
    [
        (exclusive(2), [0.5, 0.5], "ill"),
        (exclusive(3), [0.4, 0.3, 0.3], "healthy"),
        (graded(4), [0.4, 0.2, 0.2, 0.2], "ill"),
        (labelled(), [0.5, 0.4, 0.9], "nodule|fracture"),
        (labelled(), [0.1, 0.4, 0.3], "-"),
    ],
    ids=str,
)
def test_a_decision_in_words(task, probs, name):
    assert task.name_of(np.array(probs)) == name


@pytest.mark.parametrize("task", EVERY, ids=name_of)
def test_every_class_has_a_logit_that_speaks_for_it(task):
    numbers = np.arange(len(task.classes)).reshape(-1, 1)
    outputs = task.outputs_of(numbers)
    assert outputs.shape == numbers.shape and (outputs >= 0).all() and (outputs < task.outputs).all()


@pytest.mark.parametrize(
    ("task", "scored"),
    [(exclusive(2, 0), [0]), (exclusive(2), [1]), (exclusive(3), [0, 1, 2]), (labelled(), [0, 1, 2])],
)
def test_of_two_classes_the_positive_one_is_scored_else_all(task, scored):
    assert task.scored_classes == scored
