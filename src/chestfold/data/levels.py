"""Grey levels: which values of a file are black and white, and how many bits a decoded image has."""

from dataclasses import dataclass

import numpy as np

from chestfold.core.errors import InputError

MOST_PIXELS = 50_000_000
"""Of an image: twice a mammogram's. What is above would take gigabytes while it is read."""
TYPES: dict[int, type[np.uint8] | type[np.uint16]] = {8: np.uint8, 16: np.uint16}
"""Bits of a channel -> type of a decoded image."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in a grey value (ITU-R BT.601), as Pillow and OpenCV take them."""


@dataclass(frozen=True)
class Reading:
    """How a file becomes an image.

    `value_range`: values that become black and white; `ct_window`: a name of `dicom.CT_WINDOWS`, for DICOM alone;
    `colour`: RGB instead of grey; `depth`: bits a channel, 8 or 16.
    """

    value_range: tuple[int, int] | None = None
    ct_window: str = ""
    colour: bool = False
    depth: int = 8


def require_pixels(width: int, height: int, name: str) -> None:
    """Raise `InputError` for an image whose header announces more pixels than a radiograph has."""
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{name} announces {width} x {height} pixels, more than the {MOST_PIXELS:,} that are read here; scale it "
            "down or remove it"
        )


def quantised(shares: np.ndarray, depth: int) -> np.ndarray:
    """0 to 1 to uint8 or uint16; what is outside is clipped, what is no number is black."""
    white = 2**depth - 1
    return np.rint(np.clip(np.nan_to_num(shares, nan=0.0), 0, 1) * white).astype(TYPES[depth])


def at_depth(image: np.ndarray, depth: int) -> np.ndarray:
    """An image of 8 bits with 8 or 16 bits a channel: 255 becomes 65535. One of 16 bits stays as it is."""
    return image if image.dtype == TYPES[depth] else image.astype(np.uint16) * np.uint16(257)


def eight_bits(image: np.ndarray) -> np.ndarray:
    """A uint8 or uint16 image as uint8: 65535 becomes 255."""
    return image if image.dtype == np.uint8 else np.rint(image / 257).astype(np.uint8)


def repeated(grey: np.ndarray) -> np.ndarray:
    """(H, W) as three equal channels (H, W, 3)."""
    return np.repeat(grey[:, :, None], 3, axis=2)
