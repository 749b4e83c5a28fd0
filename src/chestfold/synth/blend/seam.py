"""How visible the seam of a blended region is, and smoothing of no more than what the measure asks for.

The measure compares steps between neighbouring pixels: those that cross the region's edge with those near it, inside
and around, where nothing was joined. 1 means that the edge is as rough as the tissue beside it. Upper quartiles are
compared: a mean would be ruled by the one rib or vessel that is near, and a median would miss a seam that is seen on
one side only.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from chestfold.synth.blend.poisson import Mask

BAND = 2
"""Pixels on either side of the seam that smoothing may change."""
REACH = 6
"""Pixels from the seam at which the tissue that it is compared with ends."""
UNSEEN = 1.1
"""A seam this much rougher than its surroundings is left alone: smoothing would show more than it hides."""
STEPS = 8
"""Strengths of smoothing that are tried, from 1/8 to 8/8."""
WIDTH = 1.0
"""Standard deviation of the smoothing, pixels."""


def distance(region: Mask) -> NDArray[np.float64]:
    """Distance from the region's edge in pixels, (H, W): 0.5 for the pixels on either side of it, and so on."""
    return np.where(region, distance_transform_edt(region), distance_transform_edt(~region)) - 0.5


class Seam:
    """The edge of a blended region, to be measured in several pictures."""

    def __init__(self, region: Mask, nodule: Mask) -> None:
        """`region`: bool (H, W), what was blended; `nodule`: inside it, its own edge is no part of the comparison."""
        self.away = distance(region)
        own = cv2.dilate(nodule.astype(np.uint8), np.ones((3, 3))).astype(bool)
        near = (self.away >= BAND + 0.5) & (self.away < REACH) & ~own
        self._across = [region[one] != region[other] for one, other in _NEIGHBOURS]
        self._beside = [near[one] & near[other] for one, other in _NEIGHBOURS]

    def visibility(self, picture: np.ndarray, span: float) -> float:
        """Step across the edge over the step near it, upper quartiles; 1 is an edge that cannot be told.

        Args:
            picture: (H, W), any scale.
            span: white minus black of the scale. Half of a 255th of it is added to both: steps below what 8 bits can
                show are no seam, and an even black has no steps at all.
        """
        values, least = picture.astype(np.float64), span / 255 / 2
        steps = [np.abs(values[one] - values[other]) for one, other in _NEIGHBOURS]
        return (_typical(steps, self._across) + least) / (_typical(steps, self._beside) + least)


_ALL, _FIRST, _SECOND = slice(None), slice(None, -1), slice(1, None)
_NEIGHBOURS = (((_ALL, _FIRST), (_ALL, _SECOND)), ((_FIRST, _ALL), (_SECOND, _ALL)))


def _typical(steps: list[np.ndarray], where: list[Mask]) -> float:
    chosen = np.concatenate([part[mask] for part, mask in zip(steps, where, strict=True)])
    return float(np.percentile(chosen, 75)) if chosen.size else 0.0


def smooth(picture: np.ndarray, region: Mask, nodule: Mask, span: float) -> tuple[np.ndarray, float, float]:
    """Smooth the seam, as little as brings its visibility down to `UNSEEN`, and only within `BAND` pixels of it.

    A Gaussian of `WIDTH` pixels is faded in towards the seam; the nodule itself is left sharp. Of the strengths that
    do not suffice the one with the least visible seam is taken. Arguments: see `Seam`.

    Returns:
        The picture, same dtype and range; the visibility before; the visibility after, never above it.
    """
    seam = Seam(region, nodule)
    best, before = picture, seam.visibility(picture, span)
    after = before
    fade = np.clip(1 - (seam.away - 0.5) / BAND, 0, 1) * ~nodule
    soft = cv2.GaussianBlur(picture.astype(np.float64), (0, 0), WIDTH)
    for step in range(1, STEPS + 1):
        if after <= UNSEEN:
            break
        tried = _mixed(picture, soft, fade * step / STEPS)
        seen = seam.visibility(tried, span)
        if seen < after:
            best, after = tried, seen
    return best, before, after


def _mixed(picture: np.ndarray, soft: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share` of `soft` in every pixel, in the picture's dtype; where it is 0 the very same value."""
    values = picture + share * (soft - picture)
    if np.issubdtype(picture.dtype, np.integer):
        values = np.rint(values)
    return np.where(share > 0, values, picture).astype(picture.dtype)


def touched(region: Mask) -> Mask:
    """The pixels that blending and smoothing may have changed: the region and the band around it."""
    return region | (distance(region) < BAND + 0.5)
