"""Augmenting whole batches: the distributions of albumentations, and draws that know nothing of the batch."""

import albumentations as A
import cv2
import numpy as np
import pytest
from conftest import tiny_experiment
from scipy.stats import ks_2samp
from tasks import exclusive

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.rng import generator, uniforms
from chestfold.data.levels import eight_bits
from chestfold.data.loader import TrainBatches, images_of
from chestfold.data.transforms import batch_augment
from chestfold.data.transforms.augment import AUGMENTATIONS, Augmenter, require_augmentation
from chestfold.data.transforms.batch_augment import BATCH_AUGMENTATIONS, OPERATIONS, BatchAugmenter
from chestfold.data.transforms.preprocess import Preprocess

SIZE, DRAWS = 48, 300
RECIPES = [
    {"augment": "plain"},
    {"augment": "plain", "crop_scale": 0.3},
    {"augment": "photometric"},
    {"augment": "none", "randaugment": (2, 9)},
    {"augment": "plain", "randaugment": (2, 5)},
]
KINDS = [*RECIPES, {"augment": "d4"}]


def ellipse() -> np.ndarray:
    """A bright, oblique ellipse on dark grey: what is done to it can be measured."""
    image = np.full((SIZE, SIZE), 70, np.uint8)
    cv2.ellipse(image, (23, 25), (15, 7), 25, 0, 360, 170, -1)
    return cv2.GaussianBlur(image, (0, 0), 1.5)


def experiment(**changes) -> Experiment:
    return tiny_experiment(image_size=SIZE, **changes)


def names(count: int, *more: int | str) -> list[tuple[int | str, ...]]:
    return [(*more, f"i{n}") for n in range(count)]


def batch_of(image: np.ndarray, count: int) -> np.ndarray:
    return np.stack([image] * count)


def measured(image: np.ndarray) -> dict[str, float]:
    """Where the bright part is, how it lies, and how grey the image is."""
    moments = cv2.moments(bright(image), True)
    area = max(moments["m00"], 1)
    angle = 0.5 * np.arctan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    place = {"angle": angle, "area": area, "x": moments["m10"] / area, "y": moments["m01"] / area}
    greys = {"mean": image.mean(), "contrast": image.std(), "lowest": image.min(), "highest": image.max()}
    return place | greys | {"black": (image == 0).mean(), "greys": len(np.unique(image))}


def bright(image: np.ndarray) -> np.ndarray:
    return cv2.threshold(image, 0, 1, cv2.THRESH_OTSU)[1]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_the_distributions_are_those_of_albumentations(recipe):
    exp, image = experiment(**recipe), ellipse()
    theirs = Augmenter(exp)
    one = [measured(theirs(image, "theirs", n)) for n in range(DRAWS)]
    made, _ = BatchAugmenter(exp)(batch_of(image, DRAWS), None, names(DRAWS, "ours"))
    other = [measured(image) for image in made]
    for figure in one[0]:
        found = ks_2samp([each[figure] for each in one], [each[figure] for each in other])
        assert found.pvalue > 0.01, (figure, found)


def test_d4_gives_each_of_the_eight_symmetries_equally_often():
    image = generator("d4").integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    wanted = [np.rot90(side, quarter).tobytes() for side in (image, image[:, ::-1]) for quarter in range(4)]
    made, _ = BatchAugmenter(experiment(augment="d4"))(batch_of(image, 160), None, names(160))
    times = np.bincount([wanted.index(one.tobytes()) for one in made], minlength=8)
    assert times.min() >= 8 and times.sum() == 160


def test_the_operations_of_randaugment_are_drawn_equally_often():
    numbers = batch_augment.Draws(names(1400), 1).below(len(OPERATIONS))
    times = np.bincount(numbers, minlength=14)
    assert len(times) == 14 and times.min() > 70 and times.max() < 130


ENDS = {
    "solarize": lambda s, end: A.Solarize(threshold_range=(1 - 0.7 * s * end,) * 2, p=1),
    "gamma": lambda s, end: A.RandomGamma(gamma_limit=(100 * (1 + s) ** (2 * end - 1),) * 2, p=1),
    "posterize": lambda s, end: A.Posterize(num_bits=(8 - round(4 * s) * (1 - end),) * 2, p=1),
    "contrast": lambda s, end: A.RandomBrightnessContrast((0, 0), (0.9 * s * (2 * end - 1),) * 2, p=1),
    "brightness": lambda s, end: A.RandomBrightnessContrast((0.5 * s * (2 * end - 1),) * 2, (0, 0), p=1),
}
"""Operation of grey values -> albumentations' own with its range pinned to one end: of a strength, and 0 or 1."""


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("name", ENDS)
def test_each_operation_of_grey_values_ends_where_that_of_albumentations_does(name, strength, end):
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    theirs = ENDS[name](strength, end)(image=greys)["image"].ravel().astype(int)
    amount = min(end, 1 - 2**-32)  # as numbers are drawn: never 1
    ours = batch_augment._TABLES[name](amount, strength).astype(int)
    assert abs(ours - theirs).max() <= 2, (ours, theirs)


@pytest.mark.parametrize("recipe", KINDS, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(recipe, channels):
    augment = BatchAugmenter(experiment(**recipe))
    images = generator("own").integers(0, 256, (12, SIZE, SIZE, 3)[: 3 + channels // 3]).astype(np.uint8)
    drawn, before = names(12, 0, 1, "augment", 2), images.copy()
    expected, _ = augment(images, None, drawn)
    np.testing.assert_array_equal(images, before)
    assert expected.shape == images.shape and expected.dtype == np.uint8
    assert len({made.tobytes() for made in expected}) >= 6
    for rows in ([5], list(reversed(range(12))), [3, 3]):
        made, _ = BatchAugmenter(experiment(**recipe))(images[rows], None, [drawn[n] for n in rows])
        np.testing.assert_array_equal(made, expected[rows])


def test_the_numbers_of_several_streams_are_those_of_each():
    made = uniforms(names(5, 7, "numbers"), 9)
    for row, parts in zip(made, names(5, 7, "numbers"), strict=True):
        np.testing.assert_array_equal(row, generator(*parts).random(9))


@pytest.mark.parametrize(
    ("recipe", "depth"),
    [
        ({"augment": "plain"}, 8),
        ({"augment": "plain"}, 16),
        ({"augment": "d4"}, 8),
        ({"augment": "d4"}, 16),
        ({"augment": "none", "randaugment": (3, 9)}, 8),
    ],
    ids=str,
)
def test_a_mask_moves_with_its_image(recipe, depth, monkeypatch):
    monkeypatch.setattr(batch_augment, "OPERATIONS", tuple(batch_augment._MOVES))  # of which one sees where things are
    mask = bright(ellipse())
    image = mask * np.uint8(170) if depth == 8 else mask * np.uint16(170 * 257)
    made, masks = BatchAugmenter(experiment(**recipe))(batch_of(image, 40), batch_of(mask, 40), names(40, "mask"))
    assert set(np.unique(masks)) == {0, 1} and masks.dtype == np.uint8
    assert len({one.tobytes() for one in masks}) >= 8
    seen = np.stack([bright(eight_bits(one)) for one in made])
    common = (seen & masks).sum(axis=(1, 2)) / (seen | masks).sum(axis=(1, 2))
    assert common.min() > 0.85


@pytest.mark.parametrize("augment", ["plain", "d4", "photometric"])
def test_three_channels_are_moved_together(augment):
    """But for noise, which each channel has of its own, equal channels stay equal."""
    grey = generator("channels").integers(0, 256, (40, SIZE, SIZE)).astype(np.uint8)
    augmented = BatchAugmenter(experiment(augment=augment))
    made, _ = augmented(np.repeat(grey[..., None], 3, axis=3), None, names(40))
    alone, _ = augmented(grey, None, names(40))
    equal = (made == alone[..., None]).all(axis=(1, 2, 3))
    assert equal.all() if augment != "photometric" else 20 <= equal.sum() < 40


@pytest.mark.parametrize("augment", ["plain", "d4", "photometric"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_go_the_way_of_8_bits(augment, channels):
    image = ellipse() if channels == 1 else np.dstack([ellipse(), ellipse() // 2, 255 - ellipse()])
    augmented = BatchAugmenter(experiment(augment=augment))
    made, _ = augmented(batch_of(image, 20), None, names(20))
    deep, _ = augmented(batch_of(image.astype(np.uint16) * 257, 20), None, names(20))
    assert deep.dtype == np.uint16 and deep.shape == made.shape
    difference = np.abs(deep / 257 - made)
    assert difference.max() < (12 if augment == "photometric" else 3) and difference.mean() < 1


def test_16_bits_keep_the_greys_between():
    deep = np.arange(SIZE**2, dtype=np.uint16).reshape(1, SIZE, SIZE) + 30000
    made, _ = BatchAugmenter(experiment(augment="photometric"))(deep, None, names(1))
    assert len(np.unique(made)) > 300


def test_it_does_what_each_augmentation_of_this_program_does():
    assert list(BATCH_AUGMENTATIONS) == list(AUGMENTATIONS)
    assert len(OPERATIONS) == len(batch_augment._MOVES) + len(batch_augment._TABLES) + 4


def test_an_augmentation_of_albumentations_steps_alone_is_refused(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "clahe", lambda exp: [A.CLAHE(p=1)])
    exp = experiment(augment="clahe")
    require_augmentation(exp)
    with pytest.raises(InputError, match="augment_batch: clahe is made of albumentations' steps"):
        require_augmentation(exp.but(augment_batch=True))


@pytest.mark.parametrize("lung_mask", ["none", "channel"])
def test_training_batches_come_from_it_where_it_is_asked_for(lung_mask):
    pixels = batch_of(ellipse(), 16)
    images = images_of(Preprocess(lung_mask), pixels, [f"i{n}" for n in range(16)], np.arange(16) % 2)
    exp = experiment(augment="plain", augment_batch=True, batch_size=8)
    batches = TrainBatches(exp, exclusive(), 0, images, workers=0)
    again = TrainBatches(exp, exclusive(), 0, images, workers=0)
    second, first = again[1, 1][0], again[1, 0][0]  # in another order, as after a resume
    assert batches[1, 0][0].equal(first) and batches[1, 1][0].equal(second)
    other = TrainBatches(exp.but(augment_batch=False), exclusive(), 0, images, workers=0)
    assert not other[1, 0][0].equal(first) and other[1, 0][0].shape == first.shape
