"""Losses by name: each is in the registry and in the help of the setting, and is the formula that it names."""

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import drawn, exclusive, graded, labelled
from torch import Tensor

from chestfold.core import torchvision_import  # noqa: F401  isort: skip
from torchvision.ops import sigmoid_focal_loss

from chestfold.core.config import Experiment, settings_of
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder
from chestfold.core.task import Labels, Task, create_task
from chestfold.data.loader import Images
from chestfold.data.transforms.mixup import create_mix
from chestfold.evaluate.metrics import METRICS
from chestfold.train import loop, losses
from chestfold.train.losses import LOSSES, create_loss

CPU = torch.device("cpu")
NAN = float("nan")
LABELS = np.array([0, 0, 0, 1])
LOGITS = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-1.0, 1.0]])
HARD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
SOFT = torch.tensor([[0.7, 0.3], [0.2, 0.8], [1.0, 0.0]])


def test_an_unknown_loss_is_refused_with_the_nearest_name(project):
    with pytest.raises(InputError, match="loss = 'focl' is not one of ce, bce, focal, asymmetric; did you mean focal"):
        project.run(tiny_experiment(loss="focl"))
    assert not project.runs.exists()


def test_the_help_of_the_setting_names_every_loss():
    (about,) = (field.metadata["help"] for field in settings_of(Experiment) if field.name == "loss")
    assert [name for name in LOSSES if name not in about] == []


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
def test_cross_entropy_is_minus_the_log_of_the_targets_probability(targets):
    expected = -(targets * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    loss = create_loss(tiny_experiment(), exclusive(), LABELS, CPU)
    torch.testing.assert_close(loss(LOGITS, targets), expected)


def test_label_smoothing_moves_a_share_of_the_target_to_all_classes():
    smooth = 0.8 * SOFT + 0.2 / 2
    expected = -(smooth * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    loss = create_loss(tiny_experiment(label_smoothing=0.2), exclusive(), LABELS, CPU)
    torch.testing.assert_close(loss(LOGITS, SOFT), expected)


def test_balanced_class_weights_are_those_of_the_training_images():
    """Three of the first class and one of the second: 4 / (2 x 3) and 4 / (2 x 1)."""
    weights = torch.tensor([4 / 6, 4 / 2])
    expected = -(weights * HARD * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    loss = create_loss(tiny_experiment(class_weights="balanced"), exclusive(), LABELS, CPU)
    torch.testing.assert_close(loss(LOGITS, HARD), expected)


def test_a_loss_of_ones_own_is_a_function_and_its_line_in_the_registry(project, monkeypatch):
    """It is given the settings, the task and the class weights, and is the loss that the fold trains on."""
    given = []

    def constant(context):
        given.append((context.exp.loss, context.task.name, context.class_weights.tolist()))
        return lambda logits, targets: logits.sum() * 0 + 3.5

    monkeypatch.setitem(losses.LOSSES, "ce", constant)
    project.run(tiny_experiment(epochs=1, max_steps=2), "--fold", "0")
    (row,) = FoldFolder(project.runs / "exp100" / "fold0").history()
    assert given == [("ce", "multiclass", [[1.0, 1.0], [1.0, 1.0]])] and row["train_loss"] == 3.5


# Each target for itself

TASKS = [exclusive(2), exclusive(3), labelled(), graded(4)]
KNOWN = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
"""Of three labels."""
ODDS = torch.tensor([[2.0, -1.0, 0.3], [0.5, -4.0, 6.0], [-1.0, 1.0, -3.5], [0.1, -0.2, 2.0]])


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}"


def loss_of(name: str, task: Task, labels: Labels | None = None, **settings) -> losses.Loss:
    """The loss of that name; without `labels` there are no class weights to be balanced."""
    return create_loss(tiny_experiment(loss=name, **settings), task, np.empty(0) if labels is None else labels, CPU)


def batch_of(task: Task, rows: int = 12) -> tuple[Tensor, Tensor]:
    """Logits, and targets of which some labels are not known."""
    labels, _ = drawn(task, rows)
    logits = torch.randn(rows, task.outputs, generator=torch.Generator().manual_seed(3)) * 2
    return logits, task.targets(torch.from_numpy(labels))


def entropy(probs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log of the probability of each target, soft ones in parts."""
    return -targets * probs.log() - (1 - targets) * (1 - probs).log()


def test_of_two_classes_binary_cross_entropy_is_cross_entropy():
    for targets in (HARD, SOFT):
        expected = loss_of("ce", exclusive())(LOGITS, targets)
        torch.testing.assert_close(loss_of("bce", exclusive())(LOGITS, targets), expected)
        smoothed = [loss_of(name, exclusive(), label_smoothing=0.2)(LOGITS, targets) for name in ("ce", "bce")]
        torch.testing.assert_close(*smoothed)


def test_with_class_weights_too():
    balanced = [loss_of(name, exclusive(), LABELS, class_weights="balanced")(LOGITS, HARD) for name in ("ce", "bce")]
    torch.testing.assert_close(*balanced)
    assert balanced[0] != loss_of("ce", exclusive())(LOGITS, HARD)


def test_of_three_classes_each_one_is_told_from_the_others():
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.2, 0.5, 0.3]])
    expected = entropy(ODDS.softmax(dim=1), targets).mean()
    torch.testing.assert_close(loss_of("bce", exclusive(3))(ODDS, targets), expected)


@pytest.mark.parametrize("name", ["ce", "bce"])
@pytest.mark.parametrize("task", [labelled(), graded(4)], ids=name_of)
def test_of_labels_and_steps_both_names_are_the_entropy_of_each(name, task):
    expected = entropy(ODDS.sigmoid(), KNOWN).mean()
    torch.testing.assert_close(loss_of(name, task)(ODDS, KNOWN), expected)


@pytest.mark.parametrize("targets", [KNOWN, KNOWN * 0.6 + 0.1], ids=["hard", "soft"])
def test_focal_is_that_of_torchvision(targets):
    expected = sigmoid_focal_loss(ODDS, targets, alpha=-1, gamma=2, reduction="mean")
    torch.testing.assert_close(loss_of("focal", labelled())(ODDS, targets), expected)


def test_focal_of_two_classes_is_the_papers_formula_on_the_softmax():
    """FL(p) = -(1 - p) ** 2 * log(p) of the true class."""
    of_truth = (LOGITS.softmax(dim=1) * HARD).sum(dim=1)
    expected = (-((1 - of_truth) ** 2) * of_truth.log()).mean()
    torch.testing.assert_close(loss_of("focal", exclusive())(LOGITS, HARD), expected)


def test_asymmetric_is_the_papers_formula():
    """Positives: log(p); negatives: m ** 4 * log(1 - m), where m is the probability less 0.05, at least 0."""
    expected = []
    for odds, target in zip(ODDS.flatten().tolist(), KNOWN.flatten().tolist(), strict=True):
        probability = 1 / (1 + np.exp(-odds))
        shifted = max(probability - 0.05, 0.0)
        expected.append(-np.log(probability) if target else -(shifted**4) * np.log(1 - shifted))
    assert loss_of("asymmetric", labelled())(ODDS, KNOWN).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_easiest_negatives_of_the_asymmetric_loss_have_no_gradient():
    odds = torch.tensor([[-4.0, 0.0, 4.0]], requires_grad=True)
    loss_of("asymmetric", labelled())(odds, torch.zeros(1, 3)).backward()
    assert odds.grad is not None
    easy, middle, hard = odds.grad[0].tolist()
    assert easy == 0 < middle < hard


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_loss_is_finite_and_near_0_for_what_is_certain_and_right_alone(name, task):
    _, targets = batch_of(task)
    sure = 200 * (targets.nan_to_num(0.5) - 0.5)
    loss = loss_of(name, task)
    assert loss(sure, targets) == pytest.approx(0, abs=1e-4)
    assert 1 < loss(-sure, targets) < 1e4


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_logits_that_follow_the_gradient_become_the_truth(name, task):
    logits, targets = batch_of(task)
    free = logits.clone().requires_grad_()
    optimizer = torch.optim.Adam([free], lr=0.3)
    for _ in range(40):
        optimizer.zero_grad()
        loss_of(name, task)(free, targets).backward()
        optimizer.step()
    assert task.hit_rate(logits, targets) < 0.8
    assert task.hit_rate(free, targets) == 1


# What is not known


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"class_weights": "balanced"}], ids=str)
def test_unknown_targets_change_neither_loss_nor_gradient(name, settings):
    """As if their rows, and their label, had been left out."""
    rows, columns = torch.tensor([[0], [2]]), torch.tensor([0, 2])
    targets = torch.full_like(KNOWN, NAN)
    targets[rows, columns] = KNOWN[rows, columns]
    labels, fewer = drawn(labelled())[0], create_task("multilabel", ("nodule", "fracture"))
    logits, some = ODDS.clone().requires_grad_(), ODDS[rows, columns].requires_grad_()
    found = loss_of(name, labelled(), labels, **settings)(logits, targets)
    expected = loss_of(name, fewer, labels[:, columns], **settings)(some, KNOWN[rows, columns])
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    assert logits.grad is not None and some.grad is not None
    gradient = torch.zeros_like(ODDS)
    gradient[rows, columns] = some.grad
    torch.testing.assert_close(logits.grad, gradient)


@pytest.mark.parametrize("name", LOSSES)
def test_single_unknown_targets_are_left_out_of_the_mean(name):
    targets = KNOWN.clone()
    targets[0, 1] = targets[2, 0] = targets[3, 2] = NAN
    loss, known = loss_of(name, labelled()), ~targets.isnan()
    only = create_task("multilabel", ("nodule",))
    each = loss_of(name, only)(ODDS[known][:, None], KNOWN[known][:, None])
    torch.testing.assert_close(loss(ODDS, targets), each)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_in_which_nothing_is_known_has_no_loss_and_no_gradient(name):
    logits = ODDS.clone().requires_grad_()
    loss = loss_of(name, labelled())(logits, torch.full((4, 3), NAN))
    loss.backward()
    assert logits.grad is not None
    assert loss == 0 and not logits.grad.any()


def test_what_is_mixed_with_something_unknown_is_unknown():
    torch.manual_seed(0)
    targets = KNOWN.clone()
    targets[1, 0] = NAN
    _, mixed = create_mix(0.4, 0.0)(torch.zeros(4, 1, 8, 8), targets)
    assert mixed.isnan().nonzero().tolist() == [[1, 0], [2, 0]]
    known = mixed[~mixed.isnan()]
    assert ((known >= 0) & (known <= 1)).all() and ((known > 0) & (known < 1)).any()


# Weights, smoothing, soft targets


def test_balanced_weights_of_a_label_make_its_ones_weigh_as_much_as_its_zeros():
    """Three of four known are ones: 4 / (2 x 3) for each of them, 4 / (2 x 1) for the zero; the rest counts 1."""
    labels = labelled().labels(["nodule", "nodule", "nodule|effusion", "effusion", "nodule?|effusion"])
    loss = loss_of("bce", labelled(), labels, class_weights="balanced")
    weights = torch.tensor([4 / 6, 4 / 2])
    odds, targets = torch.tensor([[1.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]), torch.tensor([[1.0, NAN, NAN], [0.0, NAN, NAN]])
    expected = (weights * entropy(odds[:, 0].sigmoid(), targets[:, 0])).mean()
    torch.testing.assert_close(loss(odds, targets), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_of_which_all_training_images_know_the_same_does_not_burst(name):
    labels = labelled().labels(["nodule|effusion?", "nodule|effusion?", "nodule|effusion?"])
    loss = loss_of(name, labelled(), labels, class_weights="balanced")(ODDS[:3], torch.from_numpy(labels))
    assert torch.isfinite(loss) and loss > 0


def test_balanced_weights_of_grades_are_those_of_each_step():
    """Grades 0, 0, 0, 1, 2, 3: above the first step are 3 of 6, above the second 2, above the third 1."""
    loss = loss_of("bce", graded(4), np.array([0, 0, 0, 1, 2, 3]), class_weights="balanced")
    odds, targets = torch.tensor([[0.3, -0.4, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    weights = torch.tensor([[6 / 6, 6 / 4, 6 / 10]])
    torch.testing.assert_close(loss(odds, targets), (weights * entropy(odds.sigmoid(), targets)).mean())


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
def test_balanced_weights_of_three_classes_weigh_all_that_is_asked_of_an_image(name):
    labels = np.array([0, 0, 0, 1, 1, 2])
    weights = torch.tensor([6 / 9, 6 / 6, 6 / 3])
    plain, weighed = loss_of(name, exclusive(3)), loss_of(name, exclusive(3), labels, class_weights="balanced")
    for number, weight in enumerate(weights):
        targets = torch.eye(3)[[number]]
        torch.testing.assert_close(weighed(ODDS[:1], targets), weight * plain(ODDS[:1], targets))


@pytest.mark.parametrize("task", [exclusive(3), labelled(), graded(4)], ids=name_of)
def test_label_smoothing_moves_each_target_towards_one_half(task):
    targets = torch.eye(3)
    expected = entropy(task.log_odds(ODDS[:3]).sigmoid(), 0.8 * targets + 0.1).mean()
    torch.testing.assert_close(loss_of("bce", task, label_smoothing=0.2)(ODDS[:3], targets), expected)


@pytest.mark.parametrize("name", ["ce", "bce", "asymmetric"])
@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_the_loss_of_a_mixed_target_is_the_mixture_of_both_losses(name, task):
    """Mixup, eq. 2: where a loss is linear in the target, which focal is not."""
    logits, _ = batch_of(task)
    labels = torch.tensor([0, 1]) if task.sums_to_one else torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    one, other = task.targets(labels)
    loss = loss_of(name, task)
    of_each = [loss(logits[:1], target[None]) for target in (one, other)]
    torch.testing.assert_close(loss(logits[:1], (0.7 * one + 0.3 * other)[None]), 0.7 * of_each[0] + 0.3 * of_each[1])


# Training


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("task", [labelled(), graded(3)], ids=name_of)
def test_every_loss_trains_labels_and_grades(tmp_path, name, task):
    pixels = generator("pixels").integers(0, 256, (16, 32, 32)).astype(np.uint8)
    labels, _ = drawn(task, 16)
    images = Images(pixels, np.arange(16), [f"i{n}" for n in range(16)], labels)
    settings = dict(epochs=1, loss=name, monitor=task.metric, mixup_alpha=0.4, sampling="over")
    goal = loop.Goal(task, {task.metric: METRICS[task.metric]})
    state = loop.fit(tiny_experiment(**settings), 0, images, images, goal, FoldFolder(tmp_path), lambda *_: None)
    (row,) = state.history
    assert np.isfinite([row["train_loss"], row["loss"], row[task.metric]]).all()
    assert all(torch.isfinite(value).all() for value in state.runner.module.state_dict().values())
