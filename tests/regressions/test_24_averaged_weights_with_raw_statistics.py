"""Bug: the moving average of the weights was validated and saved with the raw batch-norm statistics of the last step.

Here the average is one of the whole module, statistics included, with the same share of each step; it is validated,
kept and used for the predictions.
"""

import numpy as np
import pytest
import torch
from conftest import tiny_experiment

from chestfold.cli.experiment import read_command
from chestfold.core import checkpoint
from chestfold.evaluate import predictions
from chestfold.models import create
from chestfold.models.runner import make_runner, predict
from chestfold.train import loop
from chestfold.train.prepare import prepare

EXP = tiny_experiment(epochs=1, ema_decay=0.9, precision="fp32")


@pytest.fixture
def folder(project):
    project.run(EXP, "--fold", "0")
    return project.runs / "exp100" / "fold0"


def moving(state: dict) -> dict:
    """Everything that training moves: weights and batch-norm means and variances."""
    return {name: value for name, value in state.items() if value.is_floating_point()}


def test_weights_and_statistics_are_averaged_over_the_same_steps(project, monkeypatch):
    averaged: dict[str, torch.Tensor] = {}
    step = loop.optimizer_step

    def follow(recipe, state):
        """An average of its own, tensor by tensor, with the decay of the step."""
        step(recipe, state)
        decay = state.ema.get_decay(state.batch - 1)
        for name, value in moving(state.runner.module.state_dict()).items():
            before = averaged.get(name, torch.zeros_like(value))
            averaged[name] = decay * before + (1 - decay) * value

    monkeypatch.setattr(loop, "optimizer_step", follow)
    project.run(EXP, "--fold", "0")
    saved = checkpoint.load(project.runs / "exp100" / "fold0" / "last.ckpt")
    for name, value in moving(saved["ema"]).items():
        torch.testing.assert_close(value, averaged[name], msg=name)


def test_the_kept_statistics_are_not_those_of_the_last_step(folder):
    saved = checkpoint.load(folder / "last.ckpt")
    names = [name for name in saved["module"] if "running_" in name]
    assert names
    assert not [name for name in names if torch.equal(saved["ema"][name], saved["module"][name])]


def test_the_kept_and_predicting_weights_are_the_average(folder):
    best, last = (checkpoint.load(folder / f"{name}.ckpt") for name in ("best", "last"))
    assert not [name for name, value in last["ema"].items() if not torch.equal(best["module"][name], value)]
    network = create(EXP, 2)
    network.module.load_state_dict(last["ema"])
    ready = prepare(read_command(EXP, [], folder.parent.with_suffix(".py")).request)
    table, _ = predictions.read(folder / "oof.parquet")
    images = ready.images(ready.rows(table["id"].tolist()))
    expected = predict(make_runner(network, EXP, ready.task), images)
    np.testing.assert_allclose(predictions.probabilities(table), expected, atol=1e-6)
