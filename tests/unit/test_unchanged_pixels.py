"""What a network is shown is as it was: a change here makes every run, and what is published, another one.

Each pair is a mean over all pixels of some images, and one with weights by chance, which is another as soon as an edge
moves by a part of a pixel. What processors round differently is far below the tolerance. Where a new version of OpenCV
or albumentations changes them, results before and after it are not comparable, and the changelog must say so.
"""

from functools import cache

import cv2
import numpy as np
import pytest
from conftest import draw_image, tiny_experiment

from chestfold.core.rng import generator
from chestfold.data.phantom import Slice, draw_slice
from chestfold.data.transforms.augment import Augmenter
from chestfold.data.transforms.batch_augment import BatchAugmenter
from chestfold.data.transforms.corruptions import corrupt
from chestfold.data.transforms.lungs import segment_lungs

SIDE, COUNT = 48, 96
IDS = [f"i{n:02d}" for n in range(COUNT)]
IMAGES = np.stack([40 + draw_image(generator("unchanged", n), n % 2 == 1, SIDE) // 2 for n in range(COUNT)])
WEIGHTS = generator("weights of pixels").normal(size=IMAGES.shape)
RECIPES = {
    "plain": tiny_experiment(image_size=SIDE, augment="plain"),
    "photometric": tiny_experiment(image_size=SIDE, augment="photometric"),
    "d4": tiny_experiment(image_size=SIDE, augment="d4"),
    "randaugment": tiny_experiment(image_size=SIDE, augment="none", randaugment=(2, 9)),
}


def figures(images: np.ndarray) -> tuple[float, float]:
    return float(images.mean()), float((images * WEIGHTS).mean())


def unchanged(expected: tuple[float, float]) -> object:
    return pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("plain", (82.7643, -0.1736)),
        ("photometric", (77.7751, -0.1840)),
        ("d4", (86.4282, -0.1875)),
        ("randaugment", (89.7074, -0.0512)),
    ],
)
def test_augmented_one_by_one(recipe, expected):
    augment = Augmenter(RECIPES[recipe])
    made = [augment(image, image_id) for image, image_id in zip(IMAGES, IDS, strict=True)]
    assert figures(np.stack(made)) == unchanged(expected)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("plain", (84.0390, -0.1090)),
        ("photometric", (83.0722, -0.1501)),
        ("d4", (86.4282, -0.1882)),
        ("randaugment", (93.4481, -0.1271)),
    ],
)
def test_augmented_as_a_batch(recipe, expected):
    made, _ = BatchAugmenter(RECIPES[recipe])(IMAGES, None, [(image_id,) for image_id in IDS])
    assert figures(made) == unchanged(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("contrast 1.25", (86.4221, -0.1831)),
        ("contrast 1.6", (86.4275, -0.1909)),
        ("brightness 0.1", (89.6150, -0.1246)),
        ("brightness 0.2", (90.6847, -0.1579)),
        ("blur 0.01", (86.4280, -0.1830)),
        ("blur 0.02", (86.4286, -0.1910)),
        ("zoom 1.1", (86.4897, -0.1790)),
        ("zoom 1.25", (86.6676, -0.2100)),
    ],
)
def test_corrupted(name, expected):
    assert figures(corrupt(name, IMAGES, IDS)) == unchanged(expected)


@cache
def slices() -> list[Slice]:
    return [draw_slice(0, patient, patient % 4, patient % 2 == 0) for patient in range(0, 96, 12)]


def test_the_slices_of_the_phantom():
    images = np.stack([each.image for each in slices()])
    weights = generator("weights of slices").normal(size=images.shape)
    assert (float(images.mean()), float((images * weights).mean())) == unchanged((81.9399, 0.1853))


def test_the_lungs_of_an_image_that_is_not_square_have_its_shape():
    wide = cv2.resize(slices()[0].image, (800, 640))
    found = segment_lungs(wide)
    assert found is not None and found.shape == (640, 800)
    assert found.mean() == pytest.approx(3354 / 16384, abs=0.01)


def test_the_pixels_of_the_lungs():
    """Of 16,384 a slice."""
    found = [segment_lungs(each.image) for each in slices()]
    assert [int(mask.sum()) for mask in found if mask is not None] == pytest.approx(
        [3354, 2506, 3096, 3181, 2992, 3260, 3006, 2859], abs=3
    )
