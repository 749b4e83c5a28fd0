"""Training augmentation on grey uint8 images, a pure function of the image and of the names of its draw.

albumentations keeps generators of its own, which repeat in every worker and epoch unless they are set: here they
are set before every image.
"""

import os
from typing import Any

import cv2
import numpy as np

from chestfold.core.config import Experiment
from chestfold.core.rng import SampleRng

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks the network for news at import
import albumentations as A


class Augmenter:
    """Call it with an image and the names of the draw. One per thread: it owns its two generators."""

    def __init__(self, exp: Experiment) -> None:
        self._rng = SampleRng()
        self._compose = A.Compose(_recipe(exp))
        self._compose.set_random_state(self._rng.numpy, self._rng.python)

    def __call__(self, image: np.ndarray, *draw: int | str) -> np.ndarray:
        """uint8 (image_size, image_size) to another of the same shape."""
        self._rng.seed(*draw)
        return self._compose(image=image.copy())["image"]  # some operations write into what they are given

    def with_mask(self, image: np.ndarray, mask: np.ndarray, *draw: int | str) -> tuple[np.ndarray, np.ndarray]:
        """The same, and a mask, uint8 of 0 and 1, that is moved with the image; grey values leave it alone."""
        self._rng.seed(*draw)
        made = self._compose(image=image.copy(), mask=mask.copy())
        return made["image"], made["mask"]


def _recipe(exp: Experiment) -> list[Any]:
    steps: list[Any] = []
    if exp.augment == "plain":
        steps += _plain((exp.image_size, exp.image_size), exp.crop_scale)
    if exp.augment == "d4":
        steps.append(A.D4(p=1))
    if exp.randaugment:
        count, strength = exp.randaugment
        steps.append(A.RandomOrder(randaugment_ops(strength), n=count, replace=True, p=1))
    return steps


def _plain(size: tuple[int, int], crop_scale: float) -> list[Any]:
    """Random resized crop, flip, shift/scale/rotate, brightness/contrast."""
    return [
        A.RandomResizedCrop(size, scale=(crop_scale, 1.0), ratio=(0.8, 1.25), interpolation=cv2.INTER_AREA),
        A.HorizontalFlip(p=0.5),
        A.Affine(translate_percent=(-0.06, 0.06), scale=(0.9, 1.1), rotate=(-10, 10), p=0.7),
        A.RandomBrightnessContrast(0.3, 0.3, p=0.7),
    ]


def randaugment_ops(strength: int) -> list[Any]:
    """The 14 operations of RandAugment (Cubuk et al., CVPR workshops 2020), p = 1 each, for grey images.

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
