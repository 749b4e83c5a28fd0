"""A batch of images in memory that is augmented by OpenCV, image by image; see `batch_augment.ImageBatch`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from chestfold.core.rng import Names, key
from chestfold.data.levels import quantised


@dataclass
class ArrayBatch:
    """Pixels (B, S, S) or (B, S, S, 3), uint8 or uint16; masks uint8 (B, S, S) that move with them, or None.

    `names`: of the draw of each image, for its noise.
    """

    pixels: np.ndarray
    masks: np.ndarray | None
    names: Sequence[Names]

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.pixels.shape[1]

    def warp(self, rows: np.ndarray, crops: np.ndarray, matrices: np.ndarray, is_moved: np.ndarray) -> None:
        """Interpolate parts of images; masks get the nearest value."""
        borders = np.where(is_moved, cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE).tolist()
        _warp(self.pixels, rows, crops, matrices, borders, cv2.INTER_LINEAR)
        if self.masks is not None:
            _warp(self.masks, rows, crops, matrices, borders, cv2.INTER_NEAREST)

    def turn(self, members: np.ndarray) -> None:
        """Symmetries of the square."""
        _turn(self.pixels, members)
        if self.masks is not None:
            _turn(self.masks, members)

    def change(self, curve: Callable[[np.ndarray], np.ndarray]) -> None:
        """The greys of all images: by a table of 256 values, or each of 16 bits."""
        if self.pixels.dtype == np.uint8:
            self.look_up(np.arange(len(self)), quantised(curve(np.arange(256)[None] / 255), 8))
            return
        shares = self.pixels.reshape(len(self), -1) / np.float32(65535)
        self.pixels[:] = quantised(curve(shares), 16).reshape(self.pixels.shape)

    def look_up(self, rows: np.ndarray, tables: np.ndarray) -> None:
        """Greys by tables."""
        for row, table in zip(rows, tables, strict=True):
            cv2.LUT(self.pixels[row], table, self.pixels[row])

    def auto_contrast(self, rows: np.ndarray) -> None:
        """Each channel from black to white."""
        self._change_channels(rows, _with_auto_contrast)

    def equalize(self, rows: np.ndarray) -> None:
        """Each grey of a channel as often as another."""
        self._change_channels(rows, cv2.equalizeHist)

    def _change_channels(self, rows: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> None:
        for row in rows:
            image = self.pixels[row]
            grey = image.ndim == 2
            self.pixels[row] = change(image) if grey else np.dstack([change(one) for one in cv2.split(image)])

    def sharpen(self, rows: np.ndarray, amounts: np.ndarray) -> None:
        """Some of the images, plus their difference from the sum of their neighbours."""
        for row, amount in zip(rows, amounts, strict=True):
            kernel = np.full((3, 3), -amount, np.float32)
            kernel[1, 1] = 1 + 8 * amount
            self.pixels[row] = cv2.filter2D(self.pixels[row], -1, kernel)

    def add_noise(self, rows: np.ndarray, deviations: np.ndarray) -> None:
        """Gaussian noise."""
        white = np.iinfo(self.pixels.dtype).max
        depth = cv2.CV_8U if self.pixels.dtype == np.uint8 else cv2.CV_16U
        for row, deviation in zip(rows, deviations, strict=True):
            image = self.pixels[row]
            cv2.setRNGSeed(key(*self.names[row], "noise") & 0x7FFFFFFF)
            noise = np.empty(image.shape, np.float32)
            cv2.randn(noise.reshape(len(image), -1), np.zeros(1), np.array([deviation * white]))
            self.pixels[row] = cv2.add(image, noise, dtype=depth)


def _warp(
    images: np.ndarray,
    rows: np.ndarray,
    crops: np.ndarray,
    matrices: np.ndarray,
    borders: list[int],
    interpolation: int,
) -> None:
    size = images.shape[1]
    for n, (x, y, width, height) in enumerate(crops.tolist()):
        crop = images[rows[n], y : y + height, x : x + width]
        images[rows[n]] = cv2.warpAffine(crop, matrices[n, :2], (size, size), None, interpolation, borders[n])


def _turn(images: np.ndarray, members: np.ndarray) -> None:
    for number in range(8):
        rows = np.flatnonzero(members == number)
        turned = np.rot90(images[rows], number // 2, axes=(1, 2))
        images[rows] = turned[:, :, ::-1] if number % 2 else turned


def _with_auto_contrast(grey: np.ndarray) -> np.ndarray:
    """As albumentations has it: between the darkest and the lightest grey below white, by their cumulated shares."""
    counts = np.bincount(grey.ravel(), minlength=256)
    counts[255] = 0
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return grey
    low, high = present[0], present[-1]
    cumulated = np.cumsum(counts[low : high + 1])
    table = np.zeros(256, np.uint8)
    above_lowest = cumulated - cumulated[0]
    table[low : high + 1] = quantised(above_lowest / above_lowest[-1], 8)
    table[high + 1 :] = 255
    return cv2.LUT(grey, table)
