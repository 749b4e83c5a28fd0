"""A batch of images on a device that is augmented there, all images at once; see `batch_augment.ImageBatch`.

The draws are those of `array_batch`; OpenCV interpolates between 32 places of a pixel and here it is exact, so that a
grey value may differ by a few. Noise is another, of the same distribution.
"""

from collections.abc import Callable, Sequence
from math import pi

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from chestfold.core.rng import Names, key
from chestfold.data.levels import quantised

GREYS = 256


class TensorBatch:
    """Pixels uint8 (B, C, S, S). `names`: of the draw of each image, for its noise."""

    def __init__(self, pixels: Tensor, names: Sequence[Names]) -> None:
        self.pixels = pixels
        self._names = names

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def size(self) -> int:
        """Pixels a side."""
        return self.pixels.shape[-1]

    def warp(self, rows: np.ndarray, crops: np.ndarray, matrices: np.ndarray, is_moved: np.ndarray) -> None:
        """Interpolate parts of images."""
        x, y = self._places(np.linalg.inv(matrices))
        left, top, width, height = self._tensor(crops).view(-1, 4, 1, 1).unbind(1)
        moved = self._tensor(is_moved).view(-1, 1, 1)
        x = torch.where(moved, x, _within(x, width))
        y = torch.where(moved, y, _within(y, height))
        images = self._take(rows).flatten(2).float()
        made = torch.zeros_like(images)
        for down in (0, 1):
            for right in (0, 1):
                column, row = x.floor() + right, y.floor() + down
                share = (1 - (x - column).abs()) * (1 - (y - row).abs())
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                place = (top + _within(row, height)) * self.size + left + _within(column, width)
                values = images.gather(2, place.long().flatten(1)[:, None].expand_as(images))
                made += values * (share * inside).flatten(1)[:, None]
        self._put(rows, _greys(made).unflatten(2, (self.size, self.size)))

    def _places(self, inverse: np.ndarray) -> tuple[Tensor, Tensor]:
        """Where in the part each pixel of the result comes from: x and y, float32 (R, S, S)."""
        across = torch.arange(self.size, device=self.pixels.device, dtype=torch.float32)
        numbers = self._tensor(inverse.astype(np.float32)).view(-1, 9, 1, 1).unbind(1)
        x = numbers[0] * across + numbers[1] * across[:, None] + numbers[2]
        y = numbers[3] * across + numbers[4] * across[:, None] + numbers[5]
        return x, y

    def turn(self, members: np.ndarray) -> None:
        """Symmetries of the square."""
        for number in range(8):
            rows = np.flatnonzero(members == number)
            if len(rows):
                turned = self._take(rows).rot90(number // 2, (-2, -1))
                self._put(rows, turned.flip(-1) if number % 2 else turned)

    def change(self, curve: Callable[[np.ndarray], np.ndarray]) -> None:
        """The greys of all images."""
        shares = np.arange(GREYS)[None] / 255
        self.look_up(np.arange(len(self)), quantised(curve(shares), 8))

    def look_up(self, rows: np.ndarray, tables: np.ndarray) -> None:
        """Greys by tables."""
        of_channels = self._tensor(tables)[:, None].expand(-1, self.pixels.shape[1], -1)
        self._look_up(rows, of_channels)

    def _look_up(self, rows: np.ndarray, tables: Tensor) -> None:
        """By a table of each channel, uint8 (R, C, 256)."""
        images = self._take(rows)
        self._put(rows, tables.gather(2, images.flatten(2).long()).view_as(images))

    def auto_contrast(self, rows: np.ndarray) -> None:
        """Each channel from black to white."""
        if not len(rows):
            return
        counts = self._counts(rows)
        counts[..., GREYS - 1] = 0
        low, high, several = _extent(counts)
        greys = torch.arange(GREYS, device=counts.device)
        below = (counts * (greys > low)).cumsum(2)
        share = below / below[..., -1:].clamp(min=1)
        tables = torch.where(greys > high, 255, _greys(255 * share))
        self._look_up(rows, torch.where(several, tables, greys).to(torch.uint8))

    def equalize(self, rows: np.ndarray) -> None:
        """Each grey of a channel as often as another."""
        if not len(rows):
            return
        counts = self._counts(rows)
        low, _, several = _extent(counts)
        greys = torch.arange(GREYS, device=counts.device)
        below = (counts * (greys > low)).cumsum(2)
        tables = _greys(255 * (below / below[..., -1:].clamp(min=1)))
        self._look_up(rows, torch.where(several, tables, greys).to(torch.uint8))

    def _counts(self, rows: np.ndarray) -> Tensor:
        """How often each grey is in each channel, int64 (R, C, 256)."""
        greys = self._take(rows).flatten(2).long()
        counts = torch.zeros(*greys.shape[:2], GREYS, dtype=torch.long, device=greys.device)
        return counts.scatter_add_(2, greys, torch.ones_like(greys))

    def sharpen(self, rows: np.ndarray, amounts: np.ndarray) -> None:
        """Some of the images, plus their difference from the sum of their neighbours."""
        if not len(rows):
            return
        images = self._take(rows).float()
        sums = 9 * F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "reflect"), 3, 1)
        amount = self._tensor(amounts.astype(np.float32)).view(-1, 1, 1, 1)
        self._put(rows, _greys((1 + 9 * amount) * images - amount * sums))

    def add_noise(self, rows: np.ndarray, deviations: np.ndarray) -> None:
        """Gaussian noise."""
        if not len(rows):
            return
        images = self._take(rows).float()
        keys = np.array([key(*self._names[row], "noise") for row in rows], np.uint64).view(np.int64)
        noise = _normal(self._tensor(keys), images[0].numel()).view_as(images)
        deviation = self._tensor(deviations.astype(np.float32)).view(-1, 1, 1, 1)
        self._put(rows, _greys(images + 255 * deviation * noise))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.pixels.device, non_blocking=True)

    def _take(self, rows: np.ndarray) -> Tensor:
        return self.pixels if len(rows) == len(self) else self.pixels[self._tensor(rows)]

    def _put(self, rows: np.ndarray, images: Tensor) -> None:
        if len(rows) == len(self):
            self.pixels = images
        else:
            self.pixels[self._tensor(rows)] = images


def _greys(values: Tensor) -> Tensor:
    """Rounded, uint8."""
    return values.round().clamp(0, 255).to(torch.uint8)


def _within(places: Tensor, length: Tensor) -> Tensor:
    """0 to length - 1."""
    return torch.minimum(places.clamp(min=0), length - 1)


def _extent(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lowest and the highest grey that occur, and whether these are two: each (R, C, 1)."""
    occurs = (counts > 0).to(torch.uint8)
    low = occurs.argmax(2, keepdim=True)
    high = GREYS - 1 - occurs.flip(2).argmax(2, keepdim=True)
    return low, high, occurs.sum(2, keepdim=True) > 1


def _normal(keys: Tensor, count: int) -> Tensor:
    """Normal numbers, float32 (R, count), each a function of a key, int64 (R,), and its place (Box and Muller 1958)."""
    first = _uniform(keys, count, 0)
    second = _uniform(keys, count, 1)
    return (-2 * first.log()).sqrt() * (2 * pi * second).cos()


def _uniform(keys: Tensor, count: int, stream: int) -> Tensor:
    """Above 0, at most 1; float32 (R, count). SplitMix64 of key and place (Steele et al., OOPSLA 2014)."""
    places = torch.arange(1 + stream * count, 1 + (1 + stream) * count, device=keys.device)
    mixed = keys[:, None] + places * _signed(0x9E3779B97F4A7C15)
    mixed = (mixed ^ _shifted(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ _shifted(mixed, 27)) * _signed(0x94D049BB133111EB)
    mixed = mixed ^ _shifted(mixed, 31)
    return (_shifted(mixed, 40).float() + 1) / 2**24


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shifted to the right as unsigned numbers."""
    return (values >> bits) & (2 ** (64 - bits) - 1)


def _signed(number: int) -> int:
    """An unsigned number of 64 bits as the signed one of the same bits."""
    return number - 2**64 if number >= 2**63 else number
