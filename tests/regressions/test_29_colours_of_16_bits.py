"""Bug: of an image with 16 bits a colour the upper 8 were kept: a radiograph of 12 bits was left with 16 greys.

Here its values are read as they are stored, and a range must be declared for them, as for grey ones.
"""

import cv2
import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.data.decode import decode

GREY = (np.arange(64 * 64).reshape(64, 64) % 4096).astype(np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_colour_image_of_12_bits_has_all_its_greys(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), np.dstack([GREY] * 3))
    cv2.imwrite(str(tmp_path / f"grey {name}"), GREY)
    expected = decode(tmp_path, f"grey {name}", 64, (0, 4095)).astype(int)
    assert np.abs(decode(tmp_path, name, 64, (0, 4095)) - expected).max() <= 1 and len(np.unique(expected)) > 200


def test_without_a_declared_range_it_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([GREY] * 3))
    with pytest.raises(InputError, match=r"a\.png is a 16-bit image; declare its value_range"):
        decode(tmp_path, "a.png", 64)
