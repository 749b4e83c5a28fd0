"""Batches that are made on a device: those of the loader, but for how OpenCV rounds. Shown on the CPU."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive
from test_tensor_batch import COUNT, SIZE, smooth

from chestfold.core.config import Experiment
from chestfold.data import resident
from chestfold.data.loader import Images, TrainBatches, images_of
from chestfold.data.resident import ResidentBatches, is_resident, training_batches
from chestfold.data.transforms.preprocess import NO_PREPROCESSING, Preprocess

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def images(preprocess: Preprocess = NO_PREPROCESSING, channels: int = 1) -> Images:
    return images_of(preprocess, smooth(channels), [f"i{n}" for n in range(COUNT)], np.arange(COUNT) % 2)


def experiment(**changes: Any) -> Experiment:
    return tiny_experiment(
        **{"image_size": SIZE, "batch_size": 16, "augment": "plain", "augment_batch": True} | changes
    )


@pytest.mark.parametrize(
    ("frame", "channels", "changes"),
    [("none", 1, {}), ("lungs_black", 1, {}), ("none", 3, {}), ("none", 1, {"augment": "d4", "sampling": "over"})],
)
def test_the_batches_are_those_of_the_loader(frame, channels, changes):
    exp, given = experiment(**changes), images(Preprocess(frame=frame), channels)
    expected = list(TrainBatches(exp, exclusive(), 1, given, workers=0).epoch(2, 1))
    made = list(ResidentBatches(exp, exclusive(), 1, given, CPU).epoch(2, 1))
    assert len(made) == len(expected) == COUNT // 16 - 1
    for (pixels, labels), (theirs, their_labels) in zip(made, expected, strict=True):
        assert labels.equal(their_labels) and pixels.shape == theirs.shape and pixels.dtype == torch.uint8
        assert (pixels.int() - theirs.int()).abs().float().mean() < 0.3
        assert not pixels.equal(theirs) or exp.augment == "d4"


def test_an_epoch_changes_no_image_that_lies_there():
    batches = ResidentBatches(experiment(augment="none", randaugment=(2, 9)), exclusive(), 0, images(), CPU)
    before = batches._pixels.clone()
    first = [pixels for pixels, _ in batches.epoch(0)]
    again = [pixels for pixels, _ in batches.epoch(0)]
    assert batches._pixels.equal(before)
    assert all(one.equal(other) for one, other in zip(first, again, strict=True))


class Card:
    total_memory = 4 * COUNT * SIZE * SIZE


@pytest.mark.parametrize(
    ("changes", "given", "device", "is_there"),
    [
        ({}, images(), CUDA, True),
        ({}, images(), CPU, False),
        ({"augment_batch": False}, images(), CUDA, False),
        ({}, images(Preprocess(lung_mask="channel")), CUDA, False),
        ({}, images(channels=3), CUDA, False),  # three times as large
        ({}, images_of(NO_PREPROCESSING, smooth().astype(np.uint16), [], np.arange(COUNT)), CUDA, False),
    ],
)
def test_they_lie_on_a_gpu_that_has_room(changes, given, device, is_there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Card)
    assert is_resident(experiment(**changes), given, device) is is_there


def test_a_cpu_makes_them_by_opencv():
    assert type(training_batches(experiment(), exclusive(), 0, images(), CPU)) is TrainBatches


def test_a_gpu_makes_them_itself(monkeypatch):
    monkeypatch.setattr(resident, "is_resident", lambda *_: True)
    assert type(training_batches(experiment(), exclusive(), 0, images(), CPU)) is ResidentBatches


@pytest.mark.parametrize("at_once", [1, 5, COUNT - 1, COUNT])
def test_images_lie_there_in_their_order_however_many_go_at_once(monkeypatch, at_once):
    monkeypatch.setattr(resident, "AT_ONCE", at_once)
    given = images().take(np.arange(COUNT)[::-1])
    made = ResidentBatches(experiment(), exclusive(), 0, given, CPU)
    assert made._pixels[:, 0].numpy().tolist() == given.pixels[::-1].tolist()


@pytest.mark.parametrize("first", [0, 1, COUNT // 16])
def test_an_epoch_is_resumed_at_any_batch(first):
    made = ResidentBatches(experiment(), exclusive(), 0, images(), CPU)
    drawn = []
    honest = made._draw
    made._draw = lambda epoch, n: drawn.append(n) or honest(epoch, n)
    assert len(list(made.epoch(1, first))) == COUNT // 16 - first
    assert drawn == list(range(first, COUNT // 16)) or (first == COUNT // 16 and drawn == [first])
