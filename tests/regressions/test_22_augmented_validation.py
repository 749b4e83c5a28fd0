"""Bug: validation images went through the training augmentation, so that scores were noisy and too low.

Here validation and prediction have a path of their own, in which there is no augmentation: what a network is shown is
the decoded file.
"""

import json

import numpy as np
import pytest
import torch
from conftest import read_grey, tiny_experiment
from tasks import exclusive

from chestfold.core import checkpoint
from chestfold.core.files import read_json
from chestfold.data.catalogue import open_index
from chestfold.data.loader import Images, TrainBatches, plain_batches
from chestfold.evaluate import predictions
from chestfold.evaluate.metrics import METRICS, Predicted, validation_figures
from chestfold.models import rebuild
from chestfold.models.runner import make_runner

EXP = tiny_experiment(augment="plain", crop_scale=0.3, randaugment=(3, 10), mixup_alpha=1.0, epochs=1)


def images_of_files(root, ids: list[str]) -> Images:
    """Straight from the files: no cache, no experiment."""
    paths = [root / "input" / "tiny" / "images" / f"{i}.png" for i in ids]
    pixels = np.stack([read_grey(path) for path in paths])
    return Images(pixels, np.arange(len(ids)), ids, np.arange(len(ids)) % 2)


@pytest.fixture
def strong(project):
    """A fold that was trained with strong augmentation, and its network."""
    folder = project.runs / "exp100" / "fold0"
    project.run(EXP, "--fold", "0")
    return folder, make_runner(rebuild(checkpoint.load(folder / "best.ckpt")), EXP, exclusive())


@pytest.mark.parametrize("kind", ["oof", "test"])
def test_predictions_are_those_of_the_files_as_they_are(project, strong, kind):
    folder, runner = strong
    table, _ = predictions.read(folder / f"{kind}.parquet")
    pixels = torch.from_numpy(images_of_files(project.root, table["id"].tolist()).pixels).unsqueeze(1)
    runner.module.eval()
    with torch.inference_mode():
        expected = runner.logits(runner.images(pixels)).softmax(dim=1).numpy()
    np.testing.assert_allclose(predictions.probabilities(table), expected, atol=1e-6)


def test_the_figures_of_an_epoch_are_those_of_the_files_as_they_are(strong):
    folder, _ = strong
    table, _ = predictions.read(folder / "oof.parquet")
    labels = exclusive().labels(table["label"].tolist())
    predicted = Predicted(exclusive(), labels, predictions.probabilities(table))
    expected = validation_figures(predicted, {"auc": METRICS["auc"]})
    row = json.loads(checkpoint.load(folder / "last.ckpt")["history"])[0]
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert read_json(folder / "manifest.json")["best_epoch"] == 1


def test_training_images_are_augmented_and_plain_ones_are_not(project):
    ids = open_index("tiny").train["id"].tolist()[:8]
    images = images_of_files(project.root, ids)
    before = images.pixels.copy()
    trained, labels = next(TrainBatches(EXP, exclusive(), 0, images, 0).epoch(0))
    originals = {image.tobytes() for image in before}
    assert len(labels) == 8 and not {image.numpy().tobytes() for image in trained} & originals
    shown = np.concatenate([batch.numpy() for batch in plain_batches(images, 3)])
    np.testing.assert_array_equal(shown[:, 0], before)
