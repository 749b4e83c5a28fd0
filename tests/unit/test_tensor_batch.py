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
from chestfold.data.transforms.tensor_batch import TensorBatch, _extent, _normal, _uniform

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
    alone = TensorBatch(on_device(grey).clone(), NAMES)
    alone.add_noise(rows[:1], deviations[:1])
    assert alone.pixels[0].equal(batch.pixels[0]) and (alone.pixels[1:] == 128).all()


def test_the_numbers_of_noise_are_normal():
    drawn = _normal(torch.tensor([1, 2**62, -5]), 40_000).numpy()
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn.mean(axis=1), 0, atol=0.03)
    np.testing.assert_allclose(drawn.std(axis=1), 1, atol=0.03)
    assert np.abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.03
    np.testing.assert_allclose(np.quantile(drawn, [0.025, 0.5, 0.975]), [-1.96, 0, 1.96], atol=0.03)


SPLITMIX = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
"""The first numbers of SplitMix64 from 1234567 on, as its authors' program prints them."""


def test_uniform_numbers_are_those_of_splitmix():
    """The upper 24 bits: above 0, at most 1; the second stream goes on where the first one ends."""
    expected = [((number >> 40) + 1) / 2**24 for number in SPLITMIX]
    keys = torch.tensor([1234567])
    assert _uniform(keys, 5, 0).tolist() == [expected]
    assert _uniform(keys, 2, 0).tolist() == [expected[:2]] and _uniform(keys, 2, 1).tolist() == [expected[2:4]]
    first, second = np.array(expected[:2]), np.array(expected[2:4])
    box_muller = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    np.testing.assert_allclose(_normal(keys, 2).numpy(), [box_muller], atol=1e-5)


def test_the_lowest_and_the_highest_grey_that_occur():
    counts = torch.zeros(1, 4, 256, dtype=torch.long)
    for channel, greys in enumerate(([0, 255], [7], [3, 4, 200], [255])):
        counts[0, channel, greys] = 1
    low, high, several = (each.flatten().tolist() for each in _extent(counts))
    assert (low, high) == ([0, 7, 3, 255], [255, 7, 200, 255]) and several == [True, False, True, False]


def kinds(greys: np.ndarray, kind: str) -> TensorBatch | ArrayBatch:
    """A batch of a kind, of grey images, uint8 (B, S, S)."""
    if kind == "array":
        return ArrayBatch(greys.copy(), None, NAMES[: len(greys)])
    return TensorBatch(on_device(greys).clone(), NAMES[: len(greys)])


def pixels(batch: TensorBatch | ArrayBatch) -> np.ndarray:
    return batch.pixels if isinstance(batch, ArrayBatch) else batch.pixels[:, 0].numpy()


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_automatic_contrast_by_hand(kind):
    """By how many pixels are above the lowest grey and up to this one: below white, 2 of 4, 3 of 4 and 4 of 4."""
    greys = np.array([[[10, 10, 10], [20, 20, 30], [40, 255, 255]], [[9, 9, 9], [9, 9, 9], [9, 9, 255]]], np.uint8)
    batch = kinds(np.concatenate([greys, greys]), kind)
    batch.auto_contrast(np.array([0, 1]))
    expected = [[[0, 0, 0], [128, 128, 191], [255, 255, 255]], greys[1].tolist()]
    assert pixels(batch)[:2].tolist() == expected, "of one grey below white nothing is made"
    np.testing.assert_array_equal(pixels(batch)[2:], greys)
    batch.auto_contrast(np.array([], int))
    assert pixels(batch)[:2].tolist() == expected


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_equalizing_by_hand(kind):
    """White counts here: 2, 3 and 6 of the 6 pixels above the lowest grey."""
    greys = np.array([[[10, 10, 10], [20, 20, 30], [255, 255, 255]], [[9] * 3] * 3, [[200, 200, 200]] * 3], np.uint8)
    batch = kinds(greys, kind)
    batch.equalize(np.array([0, 1]))
    expected = [[0, 0, 0], [85, 85, 128], [255, 255, 255]]
    assert np.abs(pixels(batch)[0].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(pixels(batch)[1:], greys[1:])


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_sharpening_by_hand(kind):
    """A dot of 90 on 100 loses 8 x 0.5 x 10, and its neighbours gain 0.5 x 10."""
    greys = np.full((3, 5, 5), 100, np.uint8)
    greys[:, 2, 2], greys[:, 0, 0] = 90, 110
    batch = kinds(greys, kind)
    batch.sharpen(np.array([0, 2]), np.array([0.5, 0.25]))
    made = pixels(batch).astype(int)
    assert [made[n, 2, 2] for n in range(3)] == [50, 90, 70] and [made[n, 2, 3] for n in range(3)] == [105, 100, 102]
    assert [made[n, 0, 0] for n in range(3)] == [150, 110, 130], "reflected beyond the edge"
    assert [made[n, 4, 4] for n in range(3)] == [100, 100, 100] and [made[n, 1, 4] for n in range(3)] == [100] * 3


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_tables_and_turns_by_hand(kind):
    greys = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    batch = kinds(greys, kind)
    batch.look_up(np.array([2]), (255 - np.arange(256, dtype=np.uint8))[None])
    np.testing.assert_array_equal(pixels(batch), [greys[0], greys[1], 255 - greys[2]])
    batch.change(lambda shares: shares / 2 + np.array([[0.0], [0.1], [0.5]]))
    expected = [greys[0] / 2, greys[1] / 2 + 25.5, 255 - greys[2] / 2]
    assert np.abs(pixels(batch) - np.array(expected)).max() <= 0.5 + 1e-9
    for number in range(8):
        turned = kinds(greys, kind)
        turned.turn(np.array([number, 0, 0]))
        quarter = np.rot90(greys[0], number // 2)
        np.testing.assert_array_equal(pixels(turned)[0], quarter[:, ::-1] if number % 2 else quarter)
        np.testing.assert_array_equal(pixels(turned)[1:], greys[1:])


@pytest.mark.parametrize("kind", ["tensor", "array"])
@pytest.mark.parametrize("is_moved", [False, True])
def test_a_part_of_an_image_is_moved_by_hand(kind, is_moved):
    """Two columns and rows from (1, 2) on go one to the right: what is left of them is black, or as their edge is."""
    greys = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) * 8
    batch, matrix = kinds(greys, kind), np.eye(3)
    matrix[0, 2] = 1
    batch.warp(np.array([1]), np.array([[1, 2, 2, 2]]), matrix[None], np.array([is_moved]))
    np.testing.assert_array_equal(pixels(batch)[0], greys[0])
    (a, b), (c, d) = greys[1, 2:4, 1:3].tolist()
    edges = [[a, a, b, b], [c, c, d, d], [c, c, d, d], [c, c, d, d]]
    black = [[0, a, b, 0], [0, c, d, 0], [0] * 4, [0] * 4]
    assert pixels(batch)[1].tolist() == (black if is_moved else edges)
    assert len(batch) == 2 and batch.size == 4


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_between_pixels_it_is_interpolated(kind):
    greys = np.zeros((1, 4, 4), np.uint8)
    greys[0, 1, 1:3] = 100, 200
    batch, matrix = kinds(greys, kind), np.eye(3)
    matrix[:2, 2] = 0.25, 0.5
    batch.warp(np.array([0]), np.array([[0, 0, 4, 4]]), matrix[None], np.array([True]))
    row = [0, 37.5, 87.5, 25]  # half of 75, 175 and 50
    assert np.abs(pixels(batch)[0] - np.array([[0] * 4, row, row, [0] * 4])).max() <= 0.5


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_noise_in_memory_is_of_its_name_alone(dtype, white):
    """As strong as a share of white, about what was there."""
    grey = np.full((12, SIZE, SIZE), white // 2, dtype)
    names = [*NAMES[:11], NAMES[0]]
    batch = ArrayBatch(grey.copy(), None, names)
    batch.add_noise(np.arange(1, 12), np.linspace(0.02, 0.07, 11))
    spread = (batch.pixels / white).std(axis=(1, 2))
    np.testing.assert_allclose(spread[1:], np.linspace(0.02, 0.07, 11), rtol=0.1)
    np.testing.assert_allclose((batch.pixels / white).mean(axis=(1, 2)), 0.5, atol=0.01)
    assert (batch.pixels[0] == grey[0]).all() and batch.pixels.dtype == dtype
    alike = np.corrcoef(batch.pixels[1:].reshape(11, -1)) - np.eye(11)
    assert np.abs(alike).max() < 0.15, "each has a noise of its own"
    again = ArrayBatch(grey.copy(), None, names)
    again.add_noise(np.array([0, 11]), np.array([0.05, 0.05]))
    np.testing.assert_array_equal(again.pixels[0], again.pixels[11])
