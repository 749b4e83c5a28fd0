"""Training augmentation keeps the kind of an image and is a function of the names of its draw."""

import albumentations as A
import numpy as np
import pytest
from conftest import draw_image, tiny_experiment

from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.transforms.augment import AUGMENTATIONS, Augmenter, randaugment_ops

IMAGE = (40 + 0.6 * draw_image(generator("augmented"), ill=True)).astype(np.uint8)  # 40 to 193: room for contrast
IMAGE.flags.writeable = False  # as the cache's images are
OPS = [f"{n} {type(op).__name__}" for n, op in enumerate(randaugment_ops(5))]


def results(op: A.BasicTransform, draws: int = 12) -> list[np.ndarray]:
    compose = A.Compose([op])
    compose.set_random_seed(3)
    return [compose(image=IMAGE.copy())["image"] for _ in range(draws)]


@pytest.mark.parametrize("n", range(14), ids=OPS)
def test_every_operation_of_randaugment_gives_a_grey_image_of_the_same_size(n):
    for strength in (0, 5, 10):
        for made in results(randaugment_ops(strength)[n], 4):
            assert made.shape == IMAGE.shape and made.dtype == np.uint8


@pytest.mark.parametrize("n", range(14), ids=OPS)
def test_every_operation_but_the_identity_changes_the_image(n):
    changed = any((made != IMAGE).any() for made in results(randaugment_ops(9)[n]))
    assert changed == (n != 0)


@pytest.mark.parametrize("n", [*range(3, 14)], ids=OPS[3:])
def test_strength_0_does_nothing_where_there_is_a_strength(n):
    for made in results(randaugment_ops(0)[n]):
        assert np.abs(made.astype(int) - IMAGE).max() <= 1


def test_there_are_14():
    assert len(randaugment_ops(5)) == 14


def augmenter(**changes) -> Augmenter:
    return Augmenter(tiny_experiment(**({"augment": "plain", "crop_scale": 0.4, "randaugment": (2, 9)} | changes)))


def test_a_draw_is_a_function_of_its_names():
    one, other = augmenter(), augmenter()
    expected = [one(IMAGE, 0, 1, "augment", 2, f"i{n}") for n in range(10)]
    for n in reversed(range(10)):  # in another order, by another augmenter
        np.testing.assert_array_equal(other(IMAGE, 0, 1, "augment", 2, f"i{n}"), expected[n])
    assert len({made.tobytes() for made in expected}) == 10


def test_the_image_that_is_handed_in_stays_as_it_is():
    """albumentations' AutoContrast writes into its input."""
    image, before = IMAGE.copy(), IMAGE.copy()
    augment = augmenter(augment="none", randaugment=(14, 9))
    for n in range(20):
        augment(image, n)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("changes", [{}, {"randaugment": None}, {"augment": "none"}])
def test_size_and_type_are_kept(changes):
    made = augmenter(**changes)(IMAGE, 0)
    assert made.shape == IMAGE.shape and made.dtype == np.uint8


def test_without_augmentation_the_image_is_the_image():
    plain = augmenter(augment="none", randaugment=None)
    np.testing.assert_array_equal(plain(IMAGE, 0), IMAGE)


def test_randaugment_draws_as_many_operations_as_it_is_told(monkeypatch):
    """With replacement: the same operation may come twice."""
    applied = []
    honest = A.BasicTransform.__call__

    def counted(op, *arguments, **options):
        applied.append(type(op).__name__)
        return honest(op, *arguments, **options)

    monkeypatch.setattr(A.BasicTransform, "__call__", counted)
    made = augmenter(augment="none", randaugment=(3, 9))
    for n in range(60):
        applied.clear()
        made(IMAGE, n)
        assert len(applied) == 3


def test_a_smaller_crop_scale_crops_more():
    """A bright left half: how far its share of the image strays from one half."""
    half = np.zeros((64, 64), np.uint8)
    half[:, :32] = 200

    def spread(crop_scale: float) -> float:
        crop = augmenter(crop_scale=crop_scale, randaugment=None, image_size=64)
        return float(np.std([crop(half, n).mean() for n in range(60)]))

    assert spread(0.2) > 1.5 * spread(0.95)


def eight_symmetries(image: np.ndarray) -> list[np.ndarray]:
    return [np.rot90(side, quarter) for side in (image, image[:, ::-1]) for quarter in range(4)]


def test_d4_gives_each_of_the_eight_symmetries_and_nothing_else():
    d4 = augmenter(augment="d4", randaugment=None)
    wanted = [view.tobytes() for view in eight_symmetries(IMAGE)]
    assert len(set(wanted)) == 8
    times = [wanted.index(d4(IMAGE, n).tobytes()) for n in range(160)]
    assert min(np.bincount(times, minlength=8)) >= 8


def test_plain_never_rotates_an_image_onto_its_side():
    """A bright top stays above, whatever else is done."""
    top = np.full((64, 64), 60, np.uint8)
    top[:32] = 180
    plain = augmenter(randaugment=None, image_size=64)
    assert all(made[:20].mean() > made[-20:].mean() + 20 for made in (plain(top, n) for n in range(60)))


def three_channels(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, image // 2, 255 - image])


@pytest.mark.parametrize(
    "settings",
    [{"augment": "plain"}, {"augment": "photometric"}, {"augment": "d4"}, {"augment": "none", "randaugment": (3, 9)}],
)
def test_three_channels_are_moved_together(settings):
    image = three_channels(IMAGE)
    augment = augmenter(**({"randaugment": None} | settings))
    made = [augment(image, "rgb", n) for n in range(8)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in made)
    assert any((one != image).any() for one in made)
    if settings["augment"] == "d4":
        for one in made:
            np.testing.assert_array_equal(one, three_channels(one[..., 0]))


@pytest.mark.parametrize(("augment", "greys"), [("none", 3), ("plain", 3), ("photometric", 12), ("d4", 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_go_the_way_of_8_bits(augment, greys, channels):
    """The same draws: few of 256 greys differ, for each step rounds those of 8 bits, and sharpening enlarges that."""
    image = IMAGE if channels == 1 else three_channels(IMAGE)
    deep = image.astype(np.uint16) * 257
    transform = augmenter(augment=augment, randaugment=None)
    for n in range(8):
        made = transform(deep, "deep", n)
        assert made.dtype == np.uint16 and made.shape == image.shape
        difference = np.abs(made / 257 - transform(image, "deep", n))
        assert difference.max() < greys and difference.mean() < 3


def test_16_bits_keep_the_greys_between():
    deep = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) + 30000
    made = augmenter(augment="d4", randaugment=None)(deep, "between")
    assert sorted(made.flatten().tolist()) == sorted(deep.flatten().tolist())
    moved = augmenter(augment="plain", randaugment=None)(deep, "between")
    assert len(np.unique(moved)) > 300


def test_a_mask_goes_along_with_16_bits():
    deep, mask = IMAGE.astype(np.uint16) * 257, (IMAGE > 90).astype(np.uint8)
    image, moved = augmenter(augment="d4", randaugment=None).with_mask(deep, mask, "mask")
    assert image.dtype == np.uint16 and set(np.unique(moved)) <= {0, 1}
    np.testing.assert_array_equal(moved, image > 90 * 257)


def test_an_augmentation_that_was_added_by_name(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "clahe", lambda exp: [A.CLAHE(p=1)])
    made = augmenter(augment="clahe", randaugment=None)(IMAGE, "clahe")
    assert (made != IMAGE).any()


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(
        InputError, match=r"augment = 'palin' is not one of none, plain, photometric, d4; did you mean plain\?"
    ):
        augmenter(augment="palin")


def test_own_hooks_are_loaded_where_an_augmentation_is_missing(monkeypatch):
    """As in a process that makes batches and was started without them."""
    loaded = []

    def load(name: str) -> None:
        loaded.append(name)
        monkeypatch.setitem(AUGMENTATIONS, "mine", lambda exp: [A.HorizontalFlip(p=1)])

    monkeypatch.setattr(hooks, "load_own", load)
    augmenter(augment="plain", hooks="exps/mine.py")
    assert not loaded
    made = augmenter(augment="mine", hooks="exps/mine.py", randaugment=None)(IMAGE, 0)
    assert loaded == ["exps/mine.py"]
    np.testing.assert_array_equal(made, IMAGE[:, ::-1])
    with pytest.raises(InputError, match="augment = 'others' is not one of"):
        augmenter(augment="others")
    assert loaded == ["exps/mine.py"]


RANGES: dict[int, dict] = {
    3: {"limit": (-15, 15)},
    4: {"threshold_range": (0.65, 1)},
    5: {"gamma_limit": (100 / 1.5, 150)},
    6: {"num_bits": (6, 8)},
    7: {"brightness_limit": (0, 0), "contrast_limit": (-0.45, 0.45)},
    8: {"brightness_limit": (-0.25, 0.25), "contrast_limit": (0, 0)},
    9: {"alpha": (0, 0.45), "lightness": (1, 1)},
    10: {"shear": {"x": (-8.5, 8.5), "y": (0, 0)}},
    11: {"shear": {"x": (0, 0), "y": (-8.5, 8.5)}},
    12: {"translate_percent": {"x": (-0.15, 0.15), "y": (0, 0)}},
    13: {"translate_percent": {"x": (0, 0), "y": (-0.15, 0.15)}},
}


@pytest.mark.parametrize("n", range(14), ids=OPS)
def test_the_range_of_every_operation_is_half_of_the_largest_at_strength_5(n):
    operation = randaugment_ops(5)[n]
    assert operation.p == 1
    for name, expected in RANGES.get(n, {}).items():
        found = getattr(operation, name)
        if isinstance(expected, dict):
            found, expected = [*found["x"], *found["y"]], [*expected["x"], *expected["y"]]
        assert found == pytest.approx(expected), name


STEPS = {
    "plain": [("brightness_limit", (-0.3, 0.3)), ("contrast_limit", (-0.3, 0.3)), ("p", 0.7)],
    "photometric": [("brightness_limit", (-0.2, 0.2)), ("contrast_limit", (-0.4, 0.4)), ("p", 0.8)],
}


@pytest.mark.parametrize("name", STEPS)
def test_the_steps_that_both_have_and_their_greys(name):
    crop, flip, affine, greys, *others = AUGMENTATIONS[name](tiny_experiment(crop_scale=0.4, image_size=56))
    assert (tuple(crop.size), tuple(crop.scale), tuple(crop.ratio), crop.p) == ((56, 56), (0.4, 1), (0.8, 1.25), 1)
    assert flip.p == 0.5 and affine.p == 0.7 and tuple(affine.rotate) == (-10, 10)
    for axis in "xy":
        assert (tuple(affine.scale[axis]), tuple(affine.translate_percent[axis])) == ((0.9, 1.1), (-0.06, 0.06))
    for attribute, expected in STEPS[name]:
        assert getattr(greys, attribute) == pytest.approx(expected)
    assert [(type(step).__name__, step.p) for step in others] == {
        "plain": [],
        "photometric": [("RandomGamma", 0.5), ("RandomToneCurve", 0.5), ("Sharpen", 0.3), ("GaussNoise", 0.3)],
    }[name]
    if others:
        gamma, tone, sharpen, noise = others
        assert (tuple(gamma.gamma_limit), tone.scale) == ((50, 200), 0.3)
        assert (tuple(sharpen.alpha), tuple(sharpen.lightness)) == ((0.1, 0.6), (1, 1))
        assert tuple(noise.std_range) == (0.01, 0.05)
