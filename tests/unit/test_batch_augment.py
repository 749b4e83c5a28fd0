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


class Given(batch_augment.Draws):
    """Draws of the given numbers, one of every image at each call."""

    def __init__(self, *numbers: float | list[float]) -> None:
        self._left = iter(np.array([np.atleast_1d(number) for number in numbers], float))


def test_draws_are_the_next_number_of_every_image():
    assert Given([0.0, 0.5, 1.0]).uniform(2, 6).tolist() == [2, 4, 6]
    assert Given([0.0, 0.5, 0.75]).uniform().tolist() == [0, 0.5, 0.75]
    assert Given([0.29, 0.3, 0.31]).chance(0.3).tolist() == [True, False, False]
    assert Given([0.0, 0.24, 0.25, 0.99]).below(4).tolist() == [0, 0, 1, 3]
    np.testing.assert_allclose(Given([0.5, 0.975]).normal(3, 2), [3, 3 + 2 * 1.959964], atol=1e-5)
    drawn = batch_augment.Draws(names(3), 2)
    np.testing.assert_array_equal(np.stack([drawn.uniform(), drawn.uniform()], axis=1), uniforms(names(3), 2))


def moved(matrix: np.ndarray, x: float, y: float) -> list[float]:
    return (np.asarray(matrix) @ [x, y, 1])[:2].tolist()


def test_a_crop_has_a_share_of_the_area_and_a_place():
    """A third of the way from a quarter to all: half the area, 71 pixels a side, and 30 places on either axis."""
    rest = [0.5] * (2 * batch_augment.ATTEMPTS - 2)
    assert batch_augment._crops(Given(1 / 3, 0.5, *rest, 0.99, 0.5), 100, 0.25).tolist() == [[15, 29, 71, 71]]
    wide = batch_augment._crops(Given(0.0, 1.0, *rest, 0.0, 0.0), 100, 0.8)
    assert wide.tolist() == [[0, 0, 100, 80]], "as wide as the image is still within it"
    high = batch_augment._crops(Given(0.0, 0.0, *rest, 0.0, 0.0), 100, 0.2)
    assert high.tolist() == [[0, 0, 40, 50]], "a ratio of 0.8"


@pytest.mark.parametrize(("misses", "expected"), [(0, [71, 71]), (1, [71, 71]), (9, [71, 71]), (10, [100, 100])])
def test_a_crop_is_the_first_of_ten_that_is_within_the_image(misses, expected):
    """All the area in a ratio of 0.8 is higher than the image."""
    numbers = [1.0, 0.0] * misses + [1 / 3, 0.5] * (10 - misses)
    assert batch_augment._crops(Given(*numbers, 0.0, 0.0), 100, 0.25)[0, 2:].tolist() == expected


def test_a_crop_of_no_pixels_is_not_taken():
    assert batch_augment._crops(Given(0.0, 0.5, *[0.25, 0.5] * 9, 0.0, 0.0), 100, 0.0).tolist() == [[0, 0, 50, 50]]


def test_matrices_move_the_centres_of_pixels():
    zoom = batch_augment._zoom(np.array([[7, 9, 50, 25]]), 100)[0]
    assert moved(zoom, 0, 0) == [0.5, 1.5] and moved(zoom, 49, 24) == [98.5, 97.5]
    plain, mirrored = batch_augment._mirror(np.array([False, True]), 10)
    assert moved(plain, 2, 3) == [2, 3] and moved(mirrored, 2, 3) == [7, 3]
    scaled = [np.array([2.0]), np.array([3.0])]
    turned = batch_augment._affine(11, np.array([np.pi / 2]), [np.array([3.0]), np.array([-2.0])], scaled)[0]
    assert moved(turned, 5, 5) == pytest.approx([8, 3]), "the centre goes where the shift puts it"
    assert moved(turned, 6, 5) == pytest.approx([8, 1]), "right is up, two times as far"
    assert moved(turned, 5, 6) == pytest.approx([11, 3]), "down is right, three times as far"


SHEAR, SHIFT = 10 * np.tan(np.deg2rad(17)), 12
MOVES = {
    "rotate": [20 + 10 * np.cos(np.pi / 6) + 10 * 0.5, 20 - 10 * 0.5 + 10 * np.cos(np.pi / 6)],
    "shear_x": [30 + SHEAR, 30],
    "shear_y": [30, 30 + SHEAR],
    "shift_x": [30 + SHIFT, 30],
    "shift_y": [30, 30 + SHIFT],
}
"""Operation -> where its largest amount puts (30, 30) in an image of 41 pixels a side, whose centre is (20, 20)."""


@pytest.mark.parametrize("name", MOVES)
def test_each_move_of_randaugment_in_its_extremes(name):
    move = batch_augment._MOVES[name]
    assert moved(move(1.0, 1.0, 41), 30, 30) == pytest.approx(MOVES[name])
    assert moved(move(0.5, 1.0, 41), 30, 30) == pytest.approx([30, 30]), "no amount in the middle"
    opposite = np.linalg.inv(move(0.0, 1.0, 41))
    assert moved(opposite, 30, 30) == pytest.approx(MOVES[name]), "the other end is the way back"
    np.testing.assert_allclose(move(0.75, 1.0, 41), move(1.0, 0.5, 41), atol=0.02)


@pytest.mark.parametrize("axis", [0, 1])
def test_shears_and_shifts_are_along_an_axis(axis):
    for made, by in ((batch_augment._sheared(axis), SHEAR), (batch_augment._shifted(axis), SHIFT)):
        expected = [30.0, 30.0]
        expected[axis] += by
        assert moved(made(1.0, 1.0, 41), 30, 30) == pytest.approx(expected)


GREYS = np.arange(256)
TABLES = [
    ("solarize", 0.0, 1.0, np.where(GREYS == 255, 0, GREYS)),
    ("solarize", 0.5, 1.0, np.where(GREYS > 165, 255 - GREYS, GREYS)),  # 0.65 of 255 is 165.75
    ("posterize", 0.0, 1.0, GREYS // 16 * 16),
    ("posterize", 0.0, 0.5, GREYS // 4 * 4),
    ("posterize", 0.5, 0.5, GREYS // 2 * 2),
    ("posterize", 0.9, 0.5, GREYS),
    ("gamma", 1 / 3, 1.0, GREYS),  # from 1/2 to 2
    ("gamma", 0.0, 1.0, np.sqrt(255 * GREYS)),
    ("gamma", 1.0, 1.0, GREYS**2 / 255),
    ("contrast", 0.5, 1.0, GREYS),
    ("contrast", 0.0, 1.0, GREYS * 0.1),
    ("contrast", 1.0, 0.5, np.minimum(GREYS * 1.45, 255)),
    ("brightness", 0.5, 1.0, GREYS),
    ("brightness", 1.0, 0.4, np.minimum(GREYS + 51, 255)),
    ("brightness", 0.0, 0.4, np.maximum(GREYS - 51, 0)),
]


@pytest.mark.parametrize(("name", "amount", "strength", "expected"), TABLES)
def test_each_table_of_randaugment(name, amount, strength, expected):
    table = batch_augment._TABLES[name](amount, strength)
    assert table.dtype == np.uint8
    assert np.abs(table - expected).max() <= 0.5 + 1e-9, "rounded"


class Recorded:
    """A batch that notes what is done to it."""

    size = 100

    def __init__(self, count: int) -> None:
        self.count, self.done = count, dict[str, tuple]()

    def __len__(self) -> int:
        return self.count

    def __getattr__(self, name: str):
        return lambda *arguments: self.done.update({name: arguments})


def drawn(augment: str, *numbers: float | list[float], count: int = 1, **settings) -> dict[str, tuple]:
    """What an augmentation does to a batch with the numbers that are given: name -> arguments."""
    batch = Recorded(count)
    BatchAugmenter(experiment(augment=augment, **settings)).change(batch, Given(*numbers))
    return batch.done


CENTRE = [*[0.0, 0.5] * 10, 0.5, 0.5]
"""Numbers of a crop: the smallest, in the middle."""


@pytest.mark.parametrize(
    ("numbers", "corner", "centre"),
    [
        ([0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5], [-0.5 + 1, -0.5 + 1], [49.5, 49.5]),
        ([0.49, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5], [99.5 - 1, -0.5 + 1], [49.5, 49.5]),
        ([0.5, 0.7, 0.0, 0.0, 0.0, 0.0, 0.0], [0.5, 0.5], [49.5, 49.5]),
        ([0.9, 0.69, 0.5, 1.0, 0.0, 1.0, 0.0], [55.5 - 1.1 * 49, 43.5 - 0.9 * 49], [55.5, 43.5]),
        ([0.9, 0.69, 0.5, 0.0, 1.0, 0.0, 1.0], [43.5 - 0.9 * 49, 55.5 - 1.1 * 49], [43.5, 55.5]),
    ],
    ids=["nothing", "mirrored", "not moved", "right and up", "left and down"],
)
def test_the_geometry_by_its_numbers(numbers, corner, centre):
    """A crop of 50 pixels a side of 100: the corner pixel of the part is half a pixel inside, two times as large."""
    rows, crops, matrices, is_moved = drawn("plain", *CENTRE, *numbers, 0.9, 0.5, 0.5, crop_scale=0.25)["warp"]
    assert rows.tolist() == [0] and crops.tolist() == [[25, 25, 50, 50]]
    assert is_moved.tolist() == [numbers[1] < 0.7]
    assert moved(matrices[0], 0, 0) == pytest.approx(corner)
    assert moved(matrices[0], 24.5, 24.5) == pytest.approx(centre)


@pytest.mark.parametrize(("number", "degrees"), [(0.0, -10), (1.0, 10), (0.75, 5)])
def test_the_angle_by_its_number(number, degrees):
    matrix = drawn("plain", *CENTRE, 0.9, 0.0, number, *[0.5] * 4, 0.9, 0.5, 0.5, crop_scale=0.25)["warp"][2][0]
    assert np.rad2deg(np.arctan2(matrix[0, 1], matrix[0, 0])) == pytest.approx(degrees)


SHARES = np.array([[0.0, 0.2, 0.5, 0.8]])
STILL = [0.9, 0.9, 0.5, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.7, 1.0, 1.0], [0, 0.2, 0.5, 0.8]),
        ([0.69, 1.0, 0.5], [0, 0.26, 0.65, 1.04]),
        ([0.69, 0.0, 0.5], [0, 0.14, 0.35, 0.56]),
        ([0.69, 0.5, 1.0], [0.3, 0.5, 0.8, 1.1]),
        ([0.69, 0.5, 0.0], [-0.3, -0.1, 0.2, 0.5]),
    ],
)
def test_brightness_and_contrast_of_plain_by_their_numbers(numbers, expected):
    (curve,) = drawn("plain", *CENTRE, *STILL, *numbers, crop_scale=0.25)["change"]
    np.testing.assert_allclose(curve(SHARES)[0], expected, atol=1e-9)


NO_CURVES = [0.9, 0.5, 0.5, 0.9, 0.5, 0.9, 0.5, 0.5]
"""Numbers of brightness and contrast, of gamma and of the tone curve."""


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0.8, 1.0, 1.0, *NO_CURVES[3:]], [0, 0.2, 0.5, 0.8]),
        ([0.79, 1.0, 0.5, *NO_CURVES[3:]], [0, 0.28, 0.7, 1]),
        ([0.79, 0.0, 1.0, *NO_CURVES[3:]], [0.2, 0.32, 0.5, 0.68]),
        ([*NO_CURVES[:3], 0.5, 1.0, *NO_CURVES[5:]], [0, 0.2, 0.5, 0.8]),
        ([*NO_CURVES[:3], 0.49, 1.0, *NO_CURVES[5:]], [0, 0.04, 0.25, 0.64]),
        ([*NO_CURVES[:3], 0.49, 0.0, *NO_CURVES[5:]], np.sqrt(SHARES[0])),
        ([*NO_CURVES[:5], 0.5, 0.01, 0.01], [0, 0.2, 0.5, 0.8]),
        ([*NO_CURVES[:5], 0.49, 1e-12, 1e-12], SHARES[0] ** 3),
        ([*NO_CURVES[:5], 0.49, 1 - 1e-12, 1 - 1e-12], 1 - (1 - SHARES[0]) ** 3),
        ([*NO_CURVES[:5], 0.49, 0.5, 0.5], [0, 0.176, 0.5, 0.824]),
    ],
)
def test_the_curves_of_photometric_by_their_numbers(numbers, expected):
    (curve,) = drawn("photometric", *CENTRE, *STILL, *numbers, *[0.9] * 4, crop_scale=0.25)["change"]
    np.testing.assert_allclose(curve(SHARES)[0], expected, atol=1e-9)


def test_sharpening_and_noise_of_photometric_by_their_numbers():
    last = [[0.29, 0.3, 0.1], [0.0, 0.5, 1.0], [0.3, 0.29, 0.1], [0.0, 0.0, 1.0]]
    numbers = [[number] * 3 for number in (*CENTRE, *STILL, *NO_CURVES)]
    done = drawn("photometric", *numbers, *last, count=3, crop_scale=0.25)
    assert [part.tolist() for part in done["sharpen"]] == [[0, 2], pytest.approx([0.1, 0.6])]
    assert [part.tolist() for part in done["add_noise"]] == [[1, 2], pytest.approx([0.01, 0.05])]


def test_one_operation_of_randaugment_on_each_image_by_its_numbers():
    """Of fourteen operations, each image gets that of its number."""
    operations = [(OPERATIONS.index(name) + 0.5) / 14 for name in ("rotate", "gamma", "equalize", "sharpen", "shift_y")]
    done = drawn("none", operations, [1.0, 1 / 3, 0.5, 0.5, 0.5], count=5, randaugment=(1, 10))
    rows, crops, matrices, is_moved = done["warp"]
    assert rows.tolist() == [0, 4] and crops.tolist() == [[0, 0, 100, 100]] * 2 and is_moved.tolist() == [True, True]
    assert np.rad2deg(np.arctan2(matrices[0, 0, 1], matrices[0, 0, 0])) == pytest.approx(30)
    np.testing.assert_array_equal(matrices[1], np.eye(3))
    assert done["look_up"][0].tolist() == [1] and done["look_up"][1].tolist() == [GREYS.tolist()]
    assert done["auto_contrast"][0].tolist() == [] and done["equalize"][0].tolist() == [2]
    assert [part.tolist() for part in done["sharpen"]] == [[3], [pytest.approx(0.45)]]


def test_without_randaugment_nothing_more_is_done():
    assert drawn("none") == {}
    assert drawn("d4", [0.0, 0.5, 0.99], count=3)["turn"][0].tolist() == [0, 4, 7]
