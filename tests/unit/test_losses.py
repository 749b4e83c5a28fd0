"""Losses by name: each is in the registry and in the help of the setting, and is the formula that it names."""

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.config import Experiment, settings_of
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder
from chestfold.train import losses
from chestfold.train.losses import LOSSES, create_loss

CPU = torch.device("cpu")
LABELS = np.array([0, 0, 0, 1])
LOGITS = torch.tensor([[2.0, -1.0], [0.5, 0.0], [-1.0, 1.0]])
HARD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
SOFT = torch.tensor([[0.7, 0.3], [0.2, 0.8], [1.0, 0.0]])


def test_an_unknown_loss_is_refused_with_the_nearest_name(project):
    with pytest.raises(InputError, match="unknown loss 'focl'; did you mean focal.* there are ce, bce, focal, asym"):
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
