"""Segmentation of a nodule in a patch, and how much around it is taken along into another image."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

from chestfold.synth.blend.poisson import Mask

Hounsfield = NDArray[np.float32]

AERATED = -500
"""HU: darker is aerated lung."""
AERATED_SHARE = 0.9
"""Share of aerated pixels around a region that is needed: less, and the seam runs through a wall or along a vessel."""
MARGIN = 3
"""Pixels of its own lung that a nodule takes along: the seam runs through lung on both sides."""
FAINTEST = 150
"""HU above the lung around; fainter nodules have no edge to be found by a threshold, or to be seen."""
SMALLEST = 9
"""Pixels; fewer are lost in the noise."""


class Unfit(Exception):
    """A nodule or a host that cannot be used; its text says why, in words that follow "it"."""


@dataclass(frozen=True)
class SegmentedNodule:
    """A nodule in the middle of a patch: its extent, bool (H, W), and the HU of the lung around and of its core."""

    mask: Mask
    around: float
    core: float


def segment_nodule(hu: Hounsfield) -> SegmentedNodule:
    """The nodule in the middle of a patch, one component without holes.

    The threshold is half-way between the lung around and the nodule's core, as at the edge of a blurred disc; an
    opening cuts off thin vessels. `Unfit` where there is none, or it is faint, or reaches the patch's border, a wall or
    a vessel.
    """
    aerated = hu < AERATED
    if aerated.mean() < 0.25:
        raise Unfit("is in no lung")
    row = hu.shape[0] // 2
    column = hu.shape[1] // 2
    around = float(np.median(hu[aerated]))
    core = float(np.percentile(hu[row - 2 : row + 3, column - 2 : column + 3], 90))
    if core - around < FAINTEST:
        raise Unfit(f"is less than {FAINTEST} HU denser than its lung")
    mask = _middle_component(hu > (around + core) / 2)
    region = with_margin(mask)
    if region[[0, -1]].any() or region[:, [0, -1]].any():
        raise Unfit("reaches the border of its patch")
    if not is_in_lung(hu, region):
        raise Unfit("touches a wall or a vessel")
    return SegmentedNodule(mask, around, core)


def visible_mask(hu: Hounsfield, found: SegmentedNodule, window: tuple[int, int]) -> Mask:
    """What of a nodule is seen in a window (HU of black and of white): all of it in a wide one, else its dense part.

    `Unfit` where that is too little.
    """
    dark, bright = np.clip((found.around, found.core), *window)
    if (dark, bright) == (found.around, found.core):
        return found.mask
    if bright - dark < FAINTEST:
        raise Unfit(f"is less than {FAINTEST} HU brighter than its lung in the hosts' window")
    return _middle_component((hu > (dark + bright) / 2) & with_margin(found.mask))


def with_margin(mask: Mask) -> Mask:
    """The region that is blended: the nodule and `MARGIN` pixels of its own lung."""
    return _dilate(mask, MARGIN)


def is_in_lung(hu: Hounsfield, region: Mask) -> bool:
    """Whether the pixels just around `region` are lung."""
    ring = _dilate(region, 1) & ~region
    return bool((hu[ring] < AERATED).mean() >= AERATED_SHARE)


def _middle_component(dense: Mask) -> Mask:
    """The component nearest to the middle, opened, filled and smoothed."""
    opened = cv2.morphologyEx(dense.astype(np.uint8), cv2.MORPH_OPEN, _ellipse(1))
    components, count = label(opened)
    if not count:
        raise Unfit("has no solid part")
    rows, columns = np.nonzero(components)
    distance = np.hypot(rows - dense.shape[0] // 2, columns - dense.shape[1] // 2)
    nearest = distance.argmin()
    if distance[nearest] > MARGIN:
        raise Unfit("is not in the middle of its patch")
    filled = binary_fill_holes(components == components[rows[nearest], columns[nearest]])
    smoothed = cv2.GaussianBlur(filled.astype(np.float32), (0, 0), 1) > 0.5
    components, _ = label(smoothed)
    sizes = np.bincount(components.ravel(), minlength=2)[1:]
    if sizes.max() < SMALLEST:
        raise Unfit("is too small")
    return components == 1 + sizes.argmax()


def _dilate(mask: Mask, radius: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), _ellipse(radius)).astype(bool)


def _ellipse(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
