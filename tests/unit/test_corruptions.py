"""Corruptions: one rule for every experiment, strengths fixed, direction drawn from the image's id."""

import numpy as np
import pytest
from conftest import draw_image

from chestfold.core.rng import generator
from chestfold.data.loader import Images
from chestfold.data.transforms.corruptions import CORRUPTIONS, corrupt
from chestfold.train.prepare import corrupted_images

IDS = [f"i{n:02d}" for n in range(24)]
PIXELS = np.stack([40 + draw_image(generator("corrupted", n), n % 2 == 1) // 2 for n in range(24)])
"""Grey values from 40 to 167: nothing is clipped."""
SIGNED = [name for name in CORRUPTIONS if not name.startswith("blur")]


def constant(value: int, side: int = 32) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def test_there_are_four_kinds_in_two_strengths():
    assert list(CORRUPTIONS) == [
        *("contrast 1.25", "contrast 1.6", "brightness 0.1", "brightness 0.2"),
        *("blur 0.01", "blur 0.02", "zoom 1.1", "zoom 1.25"),
    ]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_size_and_type_are_kept_and_the_input_is_not_touched(name):
    before, corrupted = PIXELS.copy(), corrupt(name, PIXELS, IDS)
    assert corrupted.shape == PIXELS.shape and corrupted.dtype == np.uint8
    assert (before == PIXELS).all() and not np.shares_memory(corrupted, PIXELS)
    assert all((one != other).any() for one, other in zip(corrupted, PIXELS, strict=True))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_any_order_and_batch(name):
    corrupted = corrupt(name, PIXELS, IDS)
    order = np.arange(24)[::-3]
    np.testing.assert_array_equal(corrupt(name, PIXELS[order], [IDS[n] for n in order]), corrupted[order])


@pytest.mark.parametrize("name", SIGNED)
def test_both_directions_occur_and_are_drawn_from_the_id(name):
    corrupted = corrupt(name, PIXELS, IDS)
    up, down = (np.stack([CORRUPTIONS[name](image, sign) for image in PIXELS]) for sign in (1, -1))
    went_up = [(a == b).all() for a, b in zip(corrupted, up, strict=True)]
    assert 4 < sum(went_up) < 20
    np.testing.assert_array_equal(corrupted, np.where(np.array(went_up)[:, None, None], up, down))


def test_the_directions_of_two_corruptions_are_independent():
    brightened = [
        corrupt(name, PIXELS, IDS).mean(axis=(1, 2)) > PIXELS.mean(axis=(1, 2))
        for name in ("brightness 0.1", "brightness 0.2")
    ]
    assert 4 < (brightened[0] == brightened[1]).sum() < 20


@pytest.mark.parametrize("name", [n for n in CORRUPTIONS if not n.startswith("brightness")])
def test_a_constant_image_stays_constant(name):
    for sign in (-1, 1):
        np.testing.assert_array_equal(CORRUPTIONS[name](constant(100), sign), constant(100))


@pytest.mark.parametrize(("name", "step"), [("brightness 0.1", 25.5), ("brightness 0.2", 51.0)])
def test_brightness_moves_the_mean_by_a_share_of_the_range(name, step):
    steps = corrupt(name, PIXELS, IDS).mean(axis=(1, 2)) - PIXELS.mean(axis=(1, 2))
    np.testing.assert_allclose(np.abs(steps), step, atol=0.5)
    assert (steps > 0).any() and (steps < 0).any()


@pytest.mark.parametrize(("name", "factor"), [("contrast 1.25", 1.25), ("contrast 1.6", 1.6)])
def test_contrast_changes_the_spread_and_keeps_the_mean(name, factor):
    image = np.rint(generator("contrast").normal(120, 12, (32, 32))).astype(np.uint8)
    for sign in (-1, 1):
        corrupted = CORRUPTIONS[name](image, sign).astype(float)
        assert corrupted.mean() == pytest.approx(image.mean(), abs=0.5)
        assert corrupted.std() == pytest.approx(image.std() * factor**sign, rel=0.02)


@pytest.mark.parametrize(("name", "weaker"), [("blur 0.02", "blur 0.01")])
def test_a_wider_blur_leaves_less_detail(name, weaker):
    spread = [CORRUPTIONS[n](PIXELS[0], 1).astype(float).std() for n in (name, weaker)]
    assert spread[0] < spread[1] < PIXELS[0].std()


def test_blur_is_a_share_of_the_side():
    """A step of grey, drawn at two sizes, is as wide in both as a share of the side."""
    widths = []
    for side in (64, 256):
        step = constant(0, side)
        step[:, side // 2 :] = 250
        row = CORRUPTIONS["blur 0.02"](step, 1)[side // 2]
        widths.append(((row > 25) & (row < 225)).sum() / side)
    assert widths[0] == pytest.approx(widths[1], abs=0.02) and widths[1] > 0.03


@pytest.mark.parametrize(("name", "factor"), [("zoom 1.1", 1.1), ("zoom 1.25", 1.25)])
def test_zoom_scales_about_the_centre(name, factor):
    square = constant(0, 100)
    square[30:70, 30:70] = 200
    for sign in (-1, 1):
        bright = np.argwhere(CORRUPTIONS[name](square, sign) > 100)
        assert bright.mean(axis=0) == pytest.approx([49.5, 49.5], abs=0.6)
        assert np.ptp(bright[:, 0]) + 1 == pytest.approx(40 * factor**sign, abs=1.5)


def test_only_the_wanted_rows_are_corrupted():
    images = Images(PIXELS, np.array([5, 2]), ["i05", "i02"], np.array([1, 0]))
    corrupted = corrupted_images("zoom 1.1", images)
    assert (corrupted.ids, corrupted.labels.tolist(), len(corrupted)) == (["i05", "i02"], [1, 0], 2)
    expected = corrupt("zoom 1.1", PIXELS, IDS)[[5, 2]]
    np.testing.assert_array_equal(corrupted.pixels[corrupted.rows], expected)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_three_channels_and_16_bits_are_corrupted_alike(name):
    """Each channel goes the way of a grey image, but for the contrast, whose middle is that of all channels."""
    expected = corrupt(name, PIXELS, IDS)
    colours = np.stack([PIXELS, PIXELS, PIXELS], axis=-1)
    np.testing.assert_array_equal(corrupt(name, colours, IDS), np.stack([expected] * 3, axis=-1))
    deep = corrupt(name, PIXELS.astype(np.uint16) * np.uint16(257), IDS)
    assert deep.dtype == np.uint16 and np.abs(deep / 257 - expected).max() <= 1


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_greys_end_at_black_and_at_white(dtype, white):
    image = np.array([[0, 0.1, 0.5, 0.9, 1]]) * white
    image = np.rint(image).astype(dtype)
    brighter, darker = (CORRUPTIONS["brightness 0.2"](image, sign) for sign in (1, -1))
    np.testing.assert_allclose(brighter[0] / white, [0.2, 0.3, 0.7, 1, 1], atol=0.005)
    np.testing.assert_allclose(darker[0] / white, [0, 0, 0.3, 0.7, 0.8], atol=0.005)
    harder = CORRUPTIONS["contrast 1.6"](image, 1)
    np.testing.assert_allclose(harder[0] / white, [0, 0, 0.5, 1, 1], atol=0.005)
    assert [made.min() for made in (darker, harder)] == [0, 0]
    assert [made.max() for made in (brighter, harder)] == [white, white]


def test_an_image_that_is_not_square_keeps_its_centre():
    image = np.zeros((40, 80), np.uint8)
    image[10:30, 30:50] = 200
    zoomed = np.argwhere(CORRUPTIONS["zoom 1.25"](image, 1) > 100)
    assert zoomed.mean(axis=0) == pytest.approx([19.5, 39.5], abs=0.1)
    assert np.ptp(zoomed, axis=0) + 1 == pytest.approx([25, 25], abs=1.5)
    assert CORRUPTIONS["zoom 1.25"](image, -1).shape == (40, 80)
