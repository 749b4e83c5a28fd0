"""Bug: the newest checkpoint was the last file name in string order, in which epoch 9 comes after epoch 10.

Here no file name holds an epoch: there is one last.ckpt (and the one before it) and one best.ckpt, and the epoch is a
number inside.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core import checkpoint
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder
from chestfold.data.loader import Images
from chestfold.evaluate.metrics import METRICS
from chestfold.train import loop


@pytest.fixture
def images() -> Images:
    pixels = generator("five").integers(0, 256, (8, 32, 32)).astype(np.uint8)
    return Images(pixels, np.arange(8), [f"i{n}" for n in range(8)], np.arange(8) % 2)


def fit(train: Images, val: Images, folder: Path, epochs: int) -> list[str]:
    """Train into `folder`; returns what was logged."""
    said: list[str] = []
    exp = tiny_experiment(epochs=epochs, schedule="constant", warmup_epochs=0.0, max_steps=1, monitor="loss")
    goal = loop.Goal(exclusive(), {"loss": METRICS["log_loss"]})
    loop.fit(exp, 0, train, val, goal, FoldFolder(folder), lambda line, short="": said.append(line))
    return said


def test_training_resumes_after_epoch_ten_not_nine(images, tmp_path):
    fit(images, images, tmp_path, epochs=10)
    said = fit(images, images, tmp_path, epochs=12)
    assert said[0] == "fold 0: resuming at epoch 11, batch 1"
    assert len(said) == 3
    state = checkpoint.load(tmp_path / "last.ckpt")
    assert [row["epoch"] for row in json.loads(state["history"])] == list(range(1, 13))


def test_the_newest_of_two_checkpoints_is_the_one_saved_last(tmp_path):
    path = tmp_path / "last.ckpt"
    for epoch in range(1, 12):
        checkpoint.save_keeping_previous(path, {"epoch": epoch})
        assert checkpoint.load_newest(path) == ({"epoch": epoch}, [])
    path.write_bytes(path.read_bytes()[:-1])
    state, complaints = checkpoint.load_newest(path)
    assert state == {"epoch": 10} and len(complaints) == 1


def test_the_best_of_twelve_epochs_may_be_the_tenth():
    history = [{"epoch": n, "auc": 0.9 if n == 10 else 0.5 + n / 100, "loss": 0.5} for n in range(1, 13)]
    assert loop.best_epoch(tiny_experiment(monitor="auc"), history) == 10


def test_the_kept_weights_are_those_of_the_epoch_they_name(images, tmp_path):
    fit(images, replace(images, labels=1 - images.labels), tmp_path, epochs=11)  # the better it learns, the worse
    best, last = (checkpoint.load(tmp_path / f"{name}.ckpt") for name in ("best", "last"))
    losses = [row["loss"] for row in json.loads(last["history"])]
    assert best["epoch"] == 1 + losses.index(min(losses)) < 11
    assert not torch.equal(best["module"]["fc.weight"], last["module"]["fc.weight"])
