"""Corruptions: validation images as another machine, dose or distance might have taken them.

A validation score from the same hospital is blind to a test set from another. Here every image is changed by the same
rule for every experiment: eight corruptions of fixed strength, whose direction (up or down) is drawn from the image's
id alone. Nothing was tuned on a test set.
"""

from collections.abc import Callable

import cv2
import numpy as np

from chestfold.core.rng import generator

Corruption = Callable[[np.ndarray, int], np.ndarray]


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    mean = image.mean()
    return _clipped((image - mean) * factor + mean, image.dtype)


def _brighter(image: np.ndarray, share: float) -> np.ndarray:
    return _clipped(image + share * np.iinfo(image.dtype).max, image.dtype)


def _blur(image: np.ndarray, share: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), share * image.shape[0], borderType=cv2.BORDER_REFLECT)


def _zoom(image: np.ndarray, factor: float) -> np.ndarray:
    centre = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, 0, factor)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _clipped(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.rint(np.clip(values, 0, np.iinfo(dtype).max)).astype(dtype)


CORRUPTIONS: dict[str, Corruption] = {
    "contrast 1.25": lambda image, sign: _contrast(image, 1.25**sign),
    "contrast 1.6": lambda image, sign: _contrast(image, 1.6**sign),
    "brightness 0.1": lambda image, sign: _brighter(image, sign * 0.1),
    "brightness 0.2": lambda image, sign: _brighter(image, sign * 0.2),
    "blur 0.01": lambda image, sign: _blur(image, 0.01),
    "blur 0.02": lambda image, sign: _blur(image, 0.02),
    "zoom 1.1": lambda image, sign: _zoom(image, 1.1**sign),
    "zoom 1.25": lambda image, sign: _zoom(image, 1.25**sign),
}
"""Name -> function of an image (S, S) or (S, S, 3), uint8 or uint16, and a direction, -1 or 1. Blur (standard deviation
as a share of the side) has no direction."""


def corrupt(name: str, images: np.ndarray, ids: list[str]) -> np.ndarray:
    """A copy of `images`, (N, S, S) or (N, S, S, 3), under a corruption, each in the direction that its id draws."""
    signs = [1 if generator("shift", name, image_id).random() < 0.5 else -1 for image_id in ids]
    return np.stack([CORRUPTIONS[name](image, sign) for image, sign in zip(images, signs, strict=True)])
