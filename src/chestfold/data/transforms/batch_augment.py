"""Training augmentation of a whole batch: what `augment` does by albumentations, with the same distributions.

The numbers of all images are drawn together. Crop, mirroring, shift, scale and rotation become one matrix for each
image, by which it is interpolated once; brightness, contrast, gamma and tone curve become one table of its grey values.
Each draw is a function of its names alone, whatever else is in the batch.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.core.rng import Names, uniforms
from chestfold.data.levels import quantised
from chestfold.data.transforms.array_batch import ArrayBatch

NUMBERS = 64
"""Random numbers for each image, more than any augmentation takes; further ones for RandAugment's operations."""
ATTEMPTS = 10
"""Crops that are drawn until one is within the image, as albumentations does; else the whole image is taken."""


class Draws:
    """Random numbers of B images. Each call takes the next one of every image: (B,)."""

    def __init__(self, names: Sequence[Names], numbers: int) -> None:
        self._left = iter(uniforms(names, numbers).T)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Float, from `low` to `high`."""
        return low + (high - low) * next(self._left)

    def chance(self, probability: float) -> np.ndarray:
        """Bool, True with a probability."""
        return next(self._left) < probability

    def normal(self, mean: float, deviation: float) -> np.ndarray:
        """Float, of a normal distribution."""
        return mean + deviation * ndtri(next(self._left))

    def below(self, count: int) -> np.ndarray:
        """Int, 0 to count - 1."""
        return (count * next(self._left)).astype(np.int64)


Curve = Callable[[np.ndarray], np.ndarray]
"""Of grey values, shares 0 to 1 of white: (B, L) or (1, L) to (B, L), in which each image has its own parameters."""


class ImageBatch(Protocol):
    """B images that are changed in place. `rows`, int (R,), are places in the batch."""

    @property
    def size(self) -> int:
        """Pixels a side, S."""
        ...

    def __len__(self) -> int: ...

    def warp(self, rows: np.ndarray, crops: np.ndarray, matrices: np.ndarray, is_moved: np.ndarray) -> None:
        """Interpolate parts of images by matrices.

        Args:
            rows: which.
            crops: x, y, width, height of the part, int (R, 4): nothing outside of it is seen.
            matrices: from pixels of the part to those of the result, (R, 3, 3).
            is_moved: bool (R,); beyond the part of these is black, of the others what its edge is.
        """
        ...

    def turn(self, members: np.ndarray) -> None:
        """Symmetries of the square, int (B,): twice the quarters of a turn, and 1 for a mirroring after it."""
        ...

    def change(self, curve: Curve) -> None:
        """The greys of all images."""
        ...

    def look_up(self, rows: np.ndarray, tables: np.ndarray) -> None:
        """Greys by tables, uint8 (R, 256)."""
        ...

    def auto_contrast(self, rows: np.ndarray) -> None:
        """Each channel from black to white, as albumentations has it."""
        ...

    def equalize(self, rows: np.ndarray) -> None:
        """Each grey of a channel as often as another, as OpenCV has it."""
        ...

    def sharpen(self, rows: np.ndarray, amounts: np.ndarray) -> None:
        """`amounts` (R,) of the images plus their difference from the sum of their neighbours."""
        ...

    def add_noise(self, rows: np.ndarray, deviations: np.ndarray) -> None:
        """Gaussian noise; deviations (R,) are shares of white."""
        ...


class BatchAugmenter:
    """Call it with a batch and the names of its draws.

    Raises:
        InputError: the augmentation is one of the project's own, which is made of albumentations' steps.
    """

    def __init__(self, exp: Experiment) -> None:
        require_batch_augmentation(exp)
        self._exp = exp

    def __call__(
        self, pixels: np.ndarray, masks: np.ndarray | None, names: Sequence[Names]
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images and masks, of the same shapes and types as those that are given, which stay as they are.

        Args:
            pixels: (B, S, S) or (B, S, S, 3), uint8 or uint16.
            masks: uint8 (B, S, S), 0 or 1, that are moved with the images, or None.
            names: of the draw of each image.
        """
        batch = ArrayBatch(pixels.copy(), None if masks is None else masks.copy(), names)
        self.change(batch, self.draw(names))
        return batch.pixels, batch.masks

    def draw(self, names: Sequence[Names]) -> Draws:
        """The numbers for a batch."""
        count, _ = self._exp.randaugment or (0, 0)
        return Draws(names, NUMBERS + 2 * count)

    def change(self, batch: ImageBatch, draws: Draws) -> None:
        """Augment a batch in place."""
        exp = self._exp
        BATCH_AUGMENTATIONS[exp.augment](exp, batch, draws)
        count, strength = exp.randaugment or (0, 0)
        for _ in range(count):
            _randaugment(batch, draws, strength / 10)


def require_batch_augmentation(exp: Experiment) -> None:
    """Raise `InputError` where `exp.augment` cannot be done to whole batches."""
    if exp.augment not in BATCH_AUGMENTATIONS:
        raise InputError(
            f"augment_batch: {exp.augment} is made of albumentations' steps, image by image; leave augment_batch out, "
            f"or choose one of {', '.join(BATCH_AUGMENTATIONS)}"
        )


# Augmentations by name: each changes the batch


def _none(_: Experiment, __: ImageBatch, ___: Draws) -> None:
    """The images as they are."""


def _plain(exp: Experiment, batch: ImageBatch, draws: Draws) -> None:
    _geometry(exp, batch, draws)
    batch.change(_brightness_contrast(draws, 0.3, 0.3, 0.7))


def _photometric(exp: Experiment, batch: ImageBatch, draws: Draws) -> None:
    _geometry(exp, batch, draws)
    curves = [_brightness_contrast(draws, 0.2, 0.4, 0.8), _gamma(draws, 0.5, 2.0, 0.5), _tone_curve(draws, 0.3, 0.5)]
    batch.change(_one_after_the_other(curves))
    sharpened, amounts = draws.chance(0.3), draws.uniform(0.1, 0.6)
    noisy, deviations = draws.chance(0.3), draws.uniform(0.01, 0.05)
    batch.sharpen(np.flatnonzero(sharpened), amounts[sharpened])
    batch.add_noise(np.flatnonzero(noisy), deviations[noisy])


def _d4(_: Experiment, batch: ImageBatch, draws: Draws) -> None:
    batch.turn(draws.below(8))


BATCH_AUGMENTATIONS: dict[str, Callable[[Experiment, ImageBatch, Draws], None]] = {
    "none": _none,
    "plain": _plain,
    "photometric": _photometric,
    "d4": _d4,
}
"""Name of `Experiment.augment` -> what it does to a batch: the same as the entry of that name in `AUGMENTATIONS`."""


# Geometry


def _geometry(exp: Experiment, batch: ImageBatch, draws: Draws) -> None:
    """Random resized crop, mirroring, shift/scale/rotation, all in one interpolation."""
    size = batch.size
    crops = _crops(draws, size, exp.crop_scale)
    mirrored, moved = draws.chance(0.5), draws.chance(0.7)
    matrices = _mirror(mirrored, size) @ _zoom(crops, size)
    angles = np.deg2rad(draws.uniform(-10, 10))
    shifts = [(draws.uniform(-0.06, 0.06) * size).astype(np.int64) for _ in range(2)]  # whole pixels
    scales = [draws.uniform(0.9, 1.1) for _ in range(2)]
    matrices = np.where(moved[:, None, None], _affine(size, angles, shifts, scales) @ matrices, matrices)
    # what comes in from beyond the crop is black; without a move nothing does, but its edge would be mixed with black
    batch.warp(np.arange(len(batch)), crops, matrices, moved)


def _crops(draws: Draws, size: int, smallest: float) -> np.ndarray:
    """x, y, width, height of a part of each image, int (B, 4).

    It has `smallest` to 1 of the area, and sides in a ratio of 0.8 to 1.25.
    """
    widths, heights = [], []
    for _ in range(ATTEMPTS):
        area = draws.uniform(smallest, 1) * size**2
        ratio = np.exp(draws.uniform(np.log(0.8), np.log(1.25)))
        widths.append(np.rint(np.sqrt(area * ratio)))
        heights.append(np.rint(np.sqrt(area / ratio)))
    sides = np.stack([widths, heights]).astype(np.int64)
    fitting = ((sides > 0) & (sides <= size)).all(axis=0)
    first = fitting.argmax(axis=0)
    chosen = np.take_along_axis(sides, first[None, None], axis=1)[:, 0]
    width, height = np.where(fitting.any(axis=0), chosen, size)
    y = ((size - height + 1) * draws.uniform()).astype(np.int64)
    x = ((size - width + 1) * draws.uniform()).astype(np.int64)
    return np.stack([x, y, width, height], axis=1)


def _zoom(crops: np.ndarray, size: int) -> np.ndarray:
    """From pixels of a crop to those of the full side, (B, 3, 3): centres of corner pixels stay half a pixel inside."""
    made = _identities(len(crops))
    for axis in range(2):
        factor = size / crops[:, 2 + axis]
        made[:, axis, axis] = factor
        made[:, axis, 2] = (factor - 1) / 2
    return made


def _mirror(mirrored: np.ndarray, size: int) -> np.ndarray:
    made = _identities(len(mirrored))
    made[mirrored, 0, 0] = -1
    made[mirrored, 0, 2] = size - 1
    return made


def _affine(size: int, angles: np.ndarray, shifts: list[np.ndarray], scales: list[np.ndarray]) -> np.ndarray:
    """Scaled, then turned, about the centre, then shifted: (B, 3, 3)."""
    cos, sin = np.cos(angles), np.sin(angles)
    made = _identities(len(angles))
    made[:, 0, 0] = cos * scales[0]
    made[:, 0, 1] = sin * scales[1]
    made[:, 1, 0] = -sin * scales[0]
    made[:, 1, 1] = cos * scales[1]
    return _about_centre(made, size, shifts)


def _about_centre(made: np.ndarray, size: int, shifts: Sequence[np.ndarray | float] = (0.0, 0.0)) -> np.ndarray:
    """(B, 3, 3) that leave the centre of an image at its place but for a shift."""
    centre = (size - 1) / 2
    for axis in range(2):
        moved_centre = centre * made[:, axis, :2].sum(axis=1)
        made[:, axis, 2] = centre - moved_centre + shifts[axis]
    return made


def _identities(count: int) -> np.ndarray:
    return np.tile(np.eye(3), (count, 1, 1))


# Grey values


def _brightness_contrast(draws: Draws, brightness: float, contrast: float, probability: float) -> Curve:
    changed = draws.chance(probability)
    factor = np.where(changed, 1 + draws.uniform(-contrast, contrast), 1)[:, None]
    added = np.where(changed, draws.uniform(-brightness, brightness), 0)[:, None]
    return lambda shares: factor * shares + added


def _gamma(draws: Draws, low: float, high: float, probability: float) -> Curve:
    changed = draws.chance(probability)
    gamma = np.where(changed, draws.uniform(low, high), 1)[:, None]
    return lambda shares: shares**gamma


def _tone_curve(draws: Draws, scale: float, probability: float) -> Curve:
    """A Bezier curve from black to white with two control points in between."""
    changed = draws.chance(probability)[:, None]
    low = draws.normal(0.25, scale).clip(0, 1)[:, None]
    high = draws.normal(0.75, scale).clip(0, 1)[:, None]

    def curve(shares: np.ndarray) -> np.ndarray:
        rest = 1 - shares
        bent = 3 * rest**2 * shares * low
        bent += 3 * rest * shares**2 * high
        bent += shares**3
        return np.where(changed, bent, shares)

    return curve


def _one_after_the_other(curves: Sequence[Curve]) -> Curve:
    def curve(shares: np.ndarray) -> np.ndarray:
        for each in curves:
            shares = each(shares).clip(0, 1)
        return shares

    return curve


# RandAugment: one operation for each image, which one number describes, 0 to 1


def _randaugment(batch: ImageBatch, draws: Draws, strength: float) -> None:
    """One operation of `augment.randaugment_ops` on each image, drawn anew; `strength` 0 to 1."""
    operations = np.array(OPERATIONS)[draws.below(len(OPERATIONS))]
    amounts = draws.uniform()
    moves = np.flatnonzero(np.isin(operations, list(_MOVES)))
    if len(moves):
        matrices = [_MOVES[operations[row]](amounts[row], strength, batch.size) for row in moves]
        whole = np.tile([0, 0, batch.size, batch.size], (len(moves), 1))
        batch.warp(moves, whole, np.stack(matrices), np.ones(len(moves), bool))
    changes = np.flatnonzero(np.isin(operations, list(_TABLES)))
    if len(changes):
        batch.look_up(changes, np.stack([_TABLES[operations[row]](amounts[row], strength) for row in changes]))
    batch.auto_contrast(np.flatnonzero(operations == "auto_contrast"))
    batch.equalize(np.flatnonzero(operations == "equalize"))
    sharpened = np.flatnonzero(operations == "sharpen")
    batch.sharpen(sharpened, 0.9 * strength * amounts[sharpened])


def _signed(amount: float, limit: float) -> float:
    return (2 * amount - 1) * limit


def _rotated(amount: float, strength: float, size: int) -> np.ndarray:
    angle = np.deg2rad([_signed(amount, 30 * strength)])
    one = np.ones(1)
    return _affine(size, angle, [np.zeros(1)] * 2, [one, one])[0]


def _sheared(axis: int) -> Callable[[float, float, int], np.ndarray]:
    def matrix(amount: float, strength: float, size: int) -> np.ndarray:
        made = _identities(1)
        made[0, axis, 1 - axis] = np.tan(np.deg2rad(_signed(amount, 17 * strength)))
        return _about_centre(made, size)[0]

    return matrix


def _shifted(axis: int) -> Callable[[float, float, int], np.ndarray]:
    def matrix(amount: float, strength: float, size: int) -> np.ndarray:
        made = np.eye(3)
        made[axis, 2] = int(_signed(amount, 0.3 * strength) * size)
        return made

    return matrix


def _solarized(amount: float, strength: float) -> np.ndarray:
    greys = np.arange(256)
    threshold = 1 - 0.7 * strength * amount
    return np.where(greys >= threshold * 255, 255 - greys, greys).astype(np.uint8)


def _posterized(amount: float, strength: float) -> np.ndarray:
    fewest = 8 - round(4 * strength)
    bits = fewest + int(amount * (8 - fewest + 1))
    return (np.arange(256) >> (8 - bits) << (8 - bits)).astype(np.uint8)


def _gamma_table(amount: float, strength: float) -> np.ndarray:
    low, high = 1 / (1 + strength), 1 + strength
    return quantised((np.arange(256) / 255) ** (low + (high - low) * amount), 8)


def _contrast_table(amount: float, strength: float) -> np.ndarray:
    return quantised(np.arange(256) / 255 * (1 + _signed(amount, 0.9 * strength)), 8)


def _brightness_table(amount: float, strength: float) -> np.ndarray:
    return quantised(np.arange(256) / 255 + _signed(amount, 0.5 * strength), 8)


OPERATIONS = (
    "identity", "auto_contrast", "equalize", "rotate", "solarize", "gamma", "posterize", "contrast", "brightness",
    "sharpen", "shear_x", "shear_y", "shift_x", "shift_y",
)  # fmt: skip
"""In the order of `augment.randaugment_ops`."""
_MOVES: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "rotate": _rotated,
    "shear_x": _sheared(0),
    "shear_y": _sheared(1),
    "shift_x": _shifted(0),
    "shift_y": _shifted(1),
}
"""Name -> the matrix (3, 3) of an amount 0 to 1, a strength 0 to 1 and a side."""
_TABLES: dict[str, Callable[[float, float], np.ndarray]] = {
    "solarize": _solarized,
    "gamma": _gamma_table,
    "posterize": _posterized,
    "contrast": _contrast_table,
    "brightness": _brightness_table,
}
"""Name -> the table of 256 greys of an amount 0 to 1 and a strength 0 to 1."""
