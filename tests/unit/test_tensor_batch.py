"""Augmenting on a device: what OpenCV does to a batch, but for the last greys. Shown on the CPU, by the same code."""

import cv2
import numpy as np
import pytest
import torch
from conftest import tiny_experiment

from chestfold.core.rng import generator
from chestfold.data.transforms import batch_augment
from chestfold.data.transforms.array_batch import ArrayBatch
from chestfold.data.transforms.batch_augment import BatchAugmenter
from chestfold.data.transforms.tensor_batch import TensorBatch, _normal

SIZE, COUNT = 40, 60
NAMES = [(0, 1, "augment", 2, f"i{n}") for n in range(COUNT)]
RECIPES = [
    {"augment": "none"},
    {"augment": "plain"},
    {"augment": "plain", "crop_scale": 0.3},
    {"augment": "d4"},
    {"augment": "none", "randaugment": (1, 9)},
    {"augment": "plain", "randaugment": (2, 9)},
]


def smooth(channels: int = 1) -> np.ndarray:
    """Different images without sharp edges, of which one has a single grey: uint8 (B, S, S) or (B, S, S, 3)."""
    noise = generator("smooth").integers(0, 256, (COUNT, SIZE, SIZE, channels)).astype(np.uint8)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 4).reshape(SIZE, SIZE, channels) for image in noise])
    span = np.ptp(images)
    images = ((images - images.min()) * (210 / span) + 20).astype(np.uint8)
    images[7] = 99
    return images[..., 0] if channels == 1 else images


def on_device(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images)[:, None] if images.ndim == 3 else torch.from_numpy(images).permute(0, 3, 1, 2)


def both(recipe: dict, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Augmented by OpenCV and by torch, in the layout of the latter."""
    augmenter, images = BatchAugmenter(tiny_experiment(image_size=SIZE, **recipe)), smooth(channels)
    expected, _ = augmenter(images, None, NAMES)
    batch = TensorBatch(on_device(images).clone(), NAMES)
    augmenter.change(batch, augmenter.draw(NAMES))
    return on_device(expected).numpy(), batch.pixels.numpy()


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_does_what_opencv_does(recipe, channels):
    expected, made = both(recipe, channels)
    assert made.dtype == np.uint8 and made.shape == expected.shape
    difference = np.abs(made.astype(int) - expected)
    assert difference.mean() < 0.3, difference.mean(axis=(1, 2, 3))
    several = recipe["augment"] == "plain" and "randaugment" in recipe  # a grey more is 16 more after posterizing
    assert (difference <= 4).mean() > (0.985 if several else 0.998)


@pytest.mark.parametrize("operation", ["auto_contrast", "equalize", "sharpen", "posterize", "solarize", "gamma"])
def test_each_operation_on_greys_is_the_same(operation, monkeypatch):
    monkeypatch.setattr(batch_augment, "OPERATIONS", (operation,))
    expected, made = both({"augment": "none", "randaugment": (1, 9)})
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_what_becomes_of_an_image_does_not_depend_on_its_batch():
    augmenter = BatchAugmenter(tiny_experiment(image_size=SIZE, augment="photometric", randaugment=(2, 5)))
    whole = TensorBatch(on_device(smooth()).clone(), NAMES)
    augmenter.change(whole, augmenter.draw(NAMES))
    rows = [9, 2, 30]
    part = TensorBatch(on_device(smooth())[rows].clone(), [NAMES[row] for row in rows])
    augmenter.change(part, augmenter.draw([NAMES[row] for row in rows]))
    assert part.pixels.equal(whole.pixels[rows])


def test_noise_is_as_strong_as_opencv_makes_it():
    grey = np.full((COUNT, SIZE, SIZE), 128, np.uint8)
    rows, deviations = np.arange(0, COUNT, 2), np.full(COUNT // 2, 0.04)
    batch, array = TensorBatch(on_device(grey).clone(), NAMES), ArrayBatch(grey.copy(), None, NAMES)
    batch.add_noise(rows, deviations)
    array.add_noise(rows, deviations)
    assert (batch.pixels[1::2] == 128).all() and batch.pixels[::2].float().mean().item() == pytest.approx(128, abs=0.2)
    assert batch.pixels[::2].float().std().item() == pytest.approx(array.pixels[::2].std(), rel=0.02)
    assert not batch.pixels[0].equal(batch.pixels[2])


def test_the_numbers_of_noise_are_normal():
    drawn = _normal(torch.tensor([1, 2**62, -5]), 40_000).numpy()
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.mean(axis=1), 0, atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=1), 1, atol=0.03)
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.03
    np.testing.assert_allclose(np.quantile(drawn, [0.025, 0.5, 0.975]), [-1.96, 0, 1.96], atol=0.03)
