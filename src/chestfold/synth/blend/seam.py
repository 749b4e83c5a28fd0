"""How visible the seam of a blended region is, and smoothing of no more than what the measure asks for.

The measure compares steps between neighbouring pixels: those that cross the region's edge with those near it, inside
and around, where nothing was joined. 1 means that the edge is as rough as the tissue beside it. Upper quartiles are
compared: a mean would be ruled by the one rib or vessel that is near, and a median would miss a seam that is seen on
one side only.
"""

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from chestfold.synth.blend.poisson import Field, Mask

BAND = 2
"""Pixels on either side of the seam that smoothing may change."""
REACH = 6
"""Pixels from the seam at which the tissue that it is compared with ends."""
UNSEEN = 1.1
"""A seam this much rougher than its surroundings is left alone: smoothing would show more than it hides."""
STRENGTHS = 8
"""Strengths of smoothing that are tried, from 1/8 to 8/8."""
SIGMA = 1.0
"""Standard deviation of the smoothing, pixels."""


def edge_distance(region: Mask) -> Field:
    """Distance from the region's edge in pixels, (H, W): 0.5 for the pixels on either side of it, and so on."""
    return np.where(region, distance_transform_edt(region), distance_transform_edt(~region)) - 0.5


def changed_pixels(region: Mask) -> Mask:
    """The pixels that blending and smoothing may have changed: the region and the band around it."""
    return region | (edge_distance(region) < BAND + 0.5)


class Seam:
    """The edge of a blended region, to be measured in several images."""

    def __init__(self, region: Mask, nodule: Mask) -> None:
        """`region`: bool (H, W), what was blended; `nodule`: inside it, its own edge is no part of the comparison."""
        self.distance = edge_distance(region)
        own_edge = cv2.dilate(nodule.astype(np.uint8), np.ones((3, 3))).astype(bool)
        near = (self.distance >= BAND + 0.5) & (self.distance < REACH) & ~own_edge
        self._across = _of_pairs(np.not_equal, region)
        self._beside = _of_pairs(np.logical_and, near)

    def visibility(self, image: np.ndarray, span: float) -> float:
        """Step across the edge over the step near it, upper quartiles; 1 is an edge that cannot be told.

        Args:
            image: (H, W), any scale.
            span: white minus black of the scale. Half of a 255th of it is added to both: steps below what 8 bits can
                show are no seam, and an even black has no steps at all.
        """
        steps = np.abs(_of_pairs(np.subtract, image.astype(np.float64)))
        least = span / 255 / 2
        return (_upper_quartile(steps[self._across]) + least) / (_upper_quartile(steps[self._beside]) + least)


def _of_pairs(operation: np.ufunc, image: np.ndarray) -> np.ndarray:
    """`operation` on every pixel and its neighbour, to the right and then below, (pairs,)."""
    right = operation(image[:, :-1], image[:, 1:])
    below = operation(image[:-1], image[1:])
    return np.concatenate([right.ravel(), below.ravel()])


def _upper_quartile(steps: np.ndarray) -> float:
    return float(np.percentile(steps, 75)) if steps.size else 0.0


def smooth(image: np.ndarray, region: Mask, nodule: Mask, span: float) -> tuple[np.ndarray, float, float]:
    """Smooth the seam, as little as brings its visibility down to `UNSEEN`, and only within `BAND` pixels of it.

    A Gaussian of `SIGMA` pixels is faded in towards the seam; the nodule itself is left sharp. Of the strengths that
    do not suffice the one with the least visible seam is taken. Arguments: see `Seam`.

    Returns:
        The image, same dtype and range; the visibility before; the visibility after, never above it.
    """
    seam = Seam(region, nodule)
    before = seam.visibility(image, span)
    best = image
    after = before
    fade = np.clip(1 - (seam.distance - 0.5) / BAND, 0, 1) * ~nodule
    blurred = cv2.GaussianBlur(image.astype(np.float64), (0, 0), SIGMA)
    for strength in range(1, STRENGTHS + 1):
        if after <= UNSEEN:
            break
        candidate = _mix(image, blurred, fade * strength / STRENGTHS)
        visibility = seam.visibility(candidate, span)
        if visibility < after:
            best = candidate
            after = visibility
    return best, before, after


def _mix(image: np.ndarray, blurred: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share` of `blurred` in every pixel, in the image's dtype; where it is 0 the very same value."""
    values = image + share * (blurred - image)
    if np.issubdtype(image.dtype, np.integer):
        values = np.rint(values)
    return np.where(share > 0, values, image).astype(image.dtype)
