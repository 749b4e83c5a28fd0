"""Where a nodule is in a patch, and how much around it goes along into another picture."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label

from chestfold.synth.blend.poisson import Mask

AERATED = -500
"""HU: darker is aerated lung."""
CLEAR = 0.9
"""Share of aerated pixels around a region that is needed: less, and the seam runs through a wall or along a vessel."""
MARGIN = 3
"""Pixels of its own lung that a nodule takes along: the seam runs through lung on both sides."""
FAINTEST = 150
"""HU above the lung around; fainter nodules have no edge to be found by a threshold, or to be seen."""
SMALLEST = 9
"""Pixels; fewer are lost in the noise."""


class Unfit(Exception):
    """A nodule or a host that cannot be used; its text says why, in words that follow "it"."""


def _ellipse(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


@dataclass(frozen=True)
class Found:
    """A nodule in the middle of a patch: its extent, bool (H, W), and the HU of the lung around and of its middle."""

    mask: Mask
    around: float
    core: float


def find_nodule(hu: NDArray[np.float32]) -> Found:
    """The nodule in the middle of a patch, one component without holes.

    The threshold lies half-way between the lung around and the nodule's middle, as the edge of a blurred disc does;
    an opening cuts off thin vessels.

    Args:
        hu: Hounsfield units, (H, W).

    Raises:
        Unfit: there is none, it is faint, it reaches the patch's border, or a wall or a vessel.
    """
    aerated = hu < AERATED
    if aerated.mean() < 0.25:
        raise Unfit("lies in no lung")
    row, column = (side // 2 for side in hu.shape)
    around, middle = float(np.median(hu[aerated])), hu[row - 2 : row + 3, column - 2 : column + 3]
    core = float(np.percentile(middle, 90))
    if core - around < FAINTEST:
        raise Unfit(f"is less than {FAINTEST} HU denser than its lung")
    mask = _in_the_middle(hu > (around + core) / 2)
    region = with_margin(mask)
    if region[[0, -1]].any() or region[:, [0, -1]].any():
        raise Unfit("reaches the border of its patch")
    if not in_lung(hu, region):
        raise Unfit("touches a wall or a vessel")
    return Found(mask, around, core)


def as_shown(hu: NDArray[np.float32], found: Found, window: tuple[int, int]) -> Mask:
    """What of a nodule is seen in a window (HU of black and of white): all of it in a wide one, else its dense part.

    Raises:
        Unfit: too little of it is seen.
    """
    dark, bright = np.clip((found.around, found.core), *window)
    if (dark, bright) == (found.around, found.core):
        return found.mask
    if bright - dark < FAINTEST:
        raise Unfit(f"is less than {FAINTEST} HU brighter than its lung in the hosts' window")
    return _in_the_middle((hu > (dark + bright) / 2) & with_margin(found.mask))


def _in_the_middle(dense: Mask) -> Mask:
    """The component nearest to the middle, opened, filled and smoothed."""
    parts, count = label(cv2.morphologyEx(dense.astype(np.uint8), cv2.MORPH_OPEN, _ellipse(1)))
    if not count:
        raise Unfit("has no solid part")
    rows, columns = np.nonzero(parts)
    gap = np.hypot(rows - parts.shape[0] // 2, columns - parts.shape[1] // 2)
    nearest = int(gap.argmin())
    if gap[nearest] > MARGIN:
        raise Unfit("is not in the middle of its patch")
    whole = binary_fill_holes(parts == parts[rows[nearest], columns[nearest]])
    even = cv2.GaussianBlur(whole.astype(np.float32), (0, 0), 1) > 0.5
    parts, count = label(even)
    if not count:
        raise Unfit("is too small")
    mask = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    if mask.sum() < SMALLEST:
        raise Unfit("is too small")
    return mask


def with_margin(mask: Mask) -> Mask:
    """The region that is blended: the nodule and `MARGIN` pixels of its own lung."""
    return cv2.dilate(mask.astype(np.uint8), _ellipse(MARGIN)).astype(bool)


def in_lung(hu: NDArray[np.float32], region: Mask) -> bool:
    """Whether the pixels just around `region` are lung."""
    ring = cv2.dilate(region.astype(np.uint8), _ellipse(1)).astype(bool) & ~region
    return bool((hu[ring] < AERATED).mean() >= CLEAR)
