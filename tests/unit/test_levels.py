"""Grey levels: what is black, what is white, and 8 and 16 bits of one image."""

import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.data.levels import LUMA, Reading, at_depth, eight_bits, quantised, repeated, require_pixels


def test_black_is_0_and_white_all_bits():
    shares = np.array([-1.0, 0.0, 0.2, 0.5, 1.0, 1.5, np.nan, np.inf, -np.inf])
    assert quantised(shares, 8).tolist() == [0, 0, 51, 128, 255, 255, 0, 255, 0]
    assert quantised(shares, 16).tolist() == [0, 0, 13107, 32768, 65535, 65535, 0, 65535, 0]
    assert (quantised(shares, 8).dtype, quantised(shares, 16).dtype) == (np.uint8, np.uint16)


def test_8_bits_in_16_and_back():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = at_depth(grey, 16)
    assert deep.dtype == np.uint16 and (deep.min(), deep.max(), deep[0, 1]) == (0, 65535, 257)
    assert at_depth(grey, 8) is grey and at_depth(deep, 16) is deep
    assert eight_bits(grey) is grey and eight_bits(deep).dtype == np.uint8
    np.testing.assert_array_equal(eight_bits(deep), grey)


@pytest.mark.parametrize(
    ("deep", "shallow"), [(0, 0), (128, 0), (129, 1), (385, 1), (386, 2), (65406, 254), (65407, 255)]
)
def test_the_nearest_of_8_bits_is_taken(deep, shallow):
    assert eight_bits(np.array([deep], np.uint16)).tolist() == [shallow]


def test_a_grey_image_three_times():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    made = repeated(grey)
    assert made.shape == (2, 3, 3)
    assert made[1, 2].tolist() == [5, 5, 5] and made[0, 1].tolist() == [1, 1, 1]


def test_a_file_is_grey_and_of_8_bits_unless_it_is_said():
    assert Reading() == Reading(value_range=None, ct_window="", colour=False, depth=8)


def test_white_is_white_in_grey():
    assert LUMA.sum() == pytest.approx(1) and LUMA.argsort().tolist() == [2, 0, 1]


@pytest.mark.parametrize(
    ("width", "height", "is_read"), [(5000, 10000, True), (10000, 5000, True), (5000, 10001, False)]
)
def test_fifty_million_pixels_are_read_and_no_more(width, height, is_read):
    if is_read:
        require_pixels(width, height, "a.png")
        return
    with pytest.raises(InputError, match="a.png announces 5000 x 10001 pixels, more than the 50,000,000"):
        require_pixels(width, height, "a.png")
