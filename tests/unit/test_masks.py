"""Masks beside the images: scaled to the image, and what is no mask is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.data.masks import LESION, LUNG, read_mask


def index(root: Path) -> Any:
    """Of which the folder is all that is asked for."""
    return SimpleNamespace(root=root)


def write(root: Path, kind: str, pixels: np.ndarray) -> None:
    (root / "masks" / kind).mkdir(parents=True)
    (root / "masks" / kind / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def test_a_mask_is_what_is_above_127(tmp_path):
    write(tmp_path, "nodule", np.array([[0, 127, 128], [255, 1, 200]], np.uint8))
    mask = read_mask(index(tmp_path), LESION, "a", (2, 3))
    assert mask is not None and mask.dtype == bool
    assert mask.tolist() == [[False, False, True], [True, False, True]]
    assert read_mask(index(tmp_path), LESION, "b", (2, 3)) is None
    assert read_mask(index(tmp_path), LUNG, "a", (2, 3)) is None


def test_a_mask_is_scaled_to_rows_and_columns(tmp_path):
    """By area where it shrinks: three of four pixels are inside, and one of four is not."""
    write(tmp_path, "lung", np.tile(np.array([[255, 255, 0, 0], [255, 0, 255, 0]], np.uint8), (4, 4)))
    mask = read_mask(index(tmp_path), LUNG, "a", (4, 8))
    assert mask is not None and mask.tolist() == [[True, False] * 4] * 4
    large = read_mask(index(tmp_path), LUNG, "a", (16, 32))
    assert large is not None and large.shape == (16, 32)


@pytest.mark.parametrize("shape", [(8, 16), (4, 40), (9, 10), (12, 9)])
def test_a_mask_is_enlarged_bilinearly(tmp_path, shape):
    """It shrinks where no side of it is below the shorter one that is wanted."""
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (9, 12)).astype(np.uint8), (0, 0), 1)
    write(tmp_path, "lung", pixels)
    how = cv2.INTER_AREA if min(shape) <= 9 else cv2.INTER_LINEAR
    expected = cv2.resize(pixels, shape[::-1], interpolation=how) > 127
    np.testing.assert_array_equal(read_mask(index(tmp_path), LUNG, "a", shape), expected)


def test_what_is_no_mask_is_refused(tmp_path):
    write(tmp_path, "lung", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"the id '\.\./nodule/a' leads out of .*lung; rename the image"):
        read_mask(index(tmp_path), LUNG, "../nodule/a", (2, 2))
    (tmp_path / "masks" / "lung" / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png is no image that can be read; replace or remove it"):
        read_mask(index(tmp_path), LUNG, "a", (2, 2))
