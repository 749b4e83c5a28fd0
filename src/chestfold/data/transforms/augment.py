"""Training augmentation of images of one channel or three, a pure function of the image and of the names of its draw.

An augmentation of `AUGMENTATIONS` is a function of the experiment that returns steps of albumentations. These see uint8
images; with depth = 16, float32 from 0 to 1.

albumentations keeps generators of its own, which repeat in every worker and epoch unless they are set: here they
are set before every image.
"""

import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from chestfold.core import hooks
from chestfold.core.config import Experiment, require_choice
from chestfold.core.rng import SampleRng
from chestfold.data.levels import quantised
from chestfold.data.transforms.batch_augment import require_batch_augmentation

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network for news at import
import albumentations as A


class Augmenter:
    """Call it with an image and the names of the draw. One per thread: it owns its two generators."""

    def __init__(self, exp: Experiment) -> None:
        self._rng = SampleRng()
        self._compose = A.Compose(_recipe(exp))
        self._compose.set_random_state(self._rng.numpy, self._rng.python)

    def __call__(self, image: np.ndarray, *draw: int | str) -> np.ndarray:
        """(image_size, image_size) or (image_size, image_size, 3), uint8 or uint16, to another of the same kind."""
        self._rng.seed(*draw)
        return _after_steps(self._compose(image=_before_steps(image))["image"], image.dtype)

    def with_mask(self, image: np.ndarray, mask: np.ndarray, *draw: int | str) -> tuple[np.ndarray, np.ndarray]:
        """The same, and a mask, uint8 of 0 and 1, that is moved with the image; grey values leave it alone."""
        self._rng.seed(*draw)
        made = self._compose(image=_before_steps(image), mask=mask.copy())
        return _after_steps(made["image"], image.dtype), made["mask"]


def _before_steps(image: np.ndarray) -> np.ndarray:
    """What albumentations is given: a copy, because some operations write into it; of 16 bits float32, 0 to 1."""
    return image.copy() if image.dtype == np.uint8 else image.astype(np.float32) / 65535


def _after_steps(image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return image if dtype == np.uint8 else quantised(image, 16)


def _recipe(exp: Experiment) -> list[Any]:
    if exp.hooks and exp.augment not in AUGMENTATIONS:
        hooks.load_own(exp.hooks)  # a process that makes batches may have been started without them
    require_augmentation(exp)
    steps = list(AUGMENTATIONS[exp.augment](exp))
    if exp.randaugment:
        count, strength = exp.randaugment
        steps.append(A.RandomOrder(randaugment_ops(strength), n=count, replace=True, p=1))
    return steps


def require_augmentation(exp: Experiment) -> None:
    """Raise `InputError`, with the nearest name, when no augmentation is called `exp.augment`, or none of batches."""
    require_choice("augment", exp.augment, AUGMENTATIONS)
    if exp.augment_batch:
        require_batch_augmentation(exp)


def _none(_: Experiment) -> list[Any]:
    return []


def _geometry(exp: Experiment) -> list[Any]:
    """Random resized crop, flip, shift/scale/rotate."""
    size = (exp.image_size, exp.image_size)
    return [
        A.RandomResizedCrop(size, scale=(exp.crop_scale, 1.0), ratio=(0.8, 1.25), interpolation=cv2.INTER_AREA),
        A.HorizontalFlip(p=0.5),
        A.Affine(translate_percent=(-0.06, 0.06), scale=(0.9, 1.1), rotate=(-10, 10), p=0.7),
    ]


def _plain(exp: Experiment) -> list[Any]:
    """The geometry, and brightness/contrast."""
    return [*_geometry(exp), A.RandomBrightnessContrast(0.3, 0.3, p=0.7)]


def _photometric(exp: Experiment) -> list[Any]:
    """The geometry, and what another detector, dose or display curve does to grey values; no blur."""
    return [
        *_geometry(exp),
        A.RandomBrightnessContrast(0.2, 0.4, p=0.8),
        A.RandomGamma(gamma_limit=(50, 200), p=0.5),
        A.RandomToneCurve(scale=0.3, p=0.5),
        A.Sharpen(alpha=(0.1, 0.6), lightness=(1, 1), p=0.3),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.3),
    ]


def _d4(_: Experiment) -> list[Any]:
    """One of the eight rotations and mirrorings."""
    return [A.D4(p=1)]


AUGMENTATIONS: dict[str, Callable[[Experiment], list[Any]]] = hooks.registry(
    "AUGMENTATIONS", {"none": _none, "plain": _plain, "photometric": _photometric, "d4": _d4}
)
"""Name of `Experiment.augment` -> its steps. Where there are lung masks, they go through the same steps."""


def randaugment_ops(strength: int) -> list[Any]:
    """The 14 operations of RandAugment (Cubuk et al., CVPR workshops 2020), p = 1 each, for images of 8 bits.

    `strength` 0 to 10 is the end of a range from which each operation draws, with either sign. "Color" means
    nothing in grey: a gamma curve replaces it.
    """
    s = strength / 10
    shear, shift = 17 * s, 0.3 * s
    return [
        A.NoOp(p=1),
        A.AutoContrast(p=1),
        A.Equalize(p=1),
        A.Rotate(limit=(-30 * s, 30 * s), p=1),
        A.Solarize(threshold_range=(1 - 0.7 * s, 1), p=1),
        A.RandomGamma(gamma_limit=(100 / (1 + s), 100 * (1 + s)), p=1),
        A.Posterize(num_bits=(8 - round(4 * s), 8), p=1),
        A.RandomBrightnessContrast(0, 0.9 * s, p=1),
        A.RandomBrightnessContrast(0.5 * s, 0, p=1),
        A.Sharpen(alpha=(0, 0.9 * s), lightness=(1, 1), p=1),
        A.Affine(shear={"x": (-shear, shear), "y": (0, 0)}, p=1),
        A.Affine(shear={"x": (0, 0), "y": (-shear, shear)}, p=1),
        A.Affine(translate_percent={"x": (-shift, shift), "y": (0, 0)}, p=1),
        A.Affine(translate_percent={"x": (0, 0), "y": (-shift, shift)}, p=1),
    ]
