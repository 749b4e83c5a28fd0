"""Bug: MONOCHROME1 was inverted before windowing, so that the window fell on the wrong values.

A window is in the values that the file stores (after the rescale); what is white is said afterwards. Here an image
that is stored as MONOCHROME1 arrives as the negative of the same values stored as MONOCHROME2, window and all.
"""

import io

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from chestfold.data.decode import decode


def example() -> FileDataset:
    """An X-ray of pydicom's own: 12 bits, MONOCHROME1, window 1600 at 1600 and more."""
    return dcmread(str(get_testdata_file("dicomdirtests/77654033/CR1/6154", download=False)))


def as_file(folder, photometric: str, **changes) -> str:
    """The example, changed; returns its name."""
    header = example()
    header.PhotometricInterpretation = photometric
    for name, value in changes.items():
        setattr(header, name, value)
    buffer = io.BytesIO()
    header.save_as(buffer)
    (folder / f"{photometric}.dcm").write_bytes(buffer.getvalue())
    return f"{photometric}.dcm"


@pytest.mark.parametrize("window", [(1600, 1600), (700, 300), (3000, 800)], ids=str)
def test_the_negative_is_made_after_the_window(tmp_path, window):
    settings = {"WindowCenter": window[0], "WindowWidth": window[1]}
    negative = decode(tmp_path, as_file(tmp_path, "MONOCHROME1", **settings), 16)
    positive = decode(tmp_path, as_file(tmp_path, "MONOCHROME2", **settings), 16)
    np.testing.assert_array_equal(negative, 255 - positive)


def test_the_pixels_are_those_of_the_formula(tmp_path):
    header = example()
    stored = np.frombuffer(header.PixelData, "<u2").reshape(16, 16)
    level, width, values = 1600, 1600, stored * float(header.RescaleSlope) + float(header.RescaleIntercept)
    shares = np.clip((values - (level - 0.5)) / (width - 1) + 0.5, 0, 1)  # PS3.3, C.11.2.1.2.1
    place = as_file(tmp_path, "MONOCHROME1", WindowCenter=level, WindowWidth=width)
    assert np.abs(decode(tmp_path, place, 16) - (255 - np.rint(shares * 255))).max() <= 1


def test_a_declared_range_is_of_stored_values_too(tmp_path):
    negative = decode(tmp_path, as_file(tmp_path, "MONOCHROME1"), 16, (100, 900))
    positive = decode(tmp_path, as_file(tmp_path, "MONOCHROME2"), 16, (100, 900))
    np.testing.assert_array_equal(negative, 255 - positive)
