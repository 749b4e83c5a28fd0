"""A place for a nodule: in the lung with all that it takes along, clear of vessels."""

from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from chestfold.core.rng import generator
from chestfold.synth.blend.outline import Unfit
from chestfold.synth.blend.poisson import Mask

CLEAR = 0.05
"""Share of a region's pixels that may be vessel."""
BRIGHT = 20
"""Grey values of 255 that a vessel is above the lung at least, however even the lung."""
LUNG_HU = (-980, -600)
"""Where the median of a lung lies, from emphysema to a bad breath-hold."""

_Z5, _Z25 = (NormalDist().inv_cdf(share) for share in (0.05, 0.25))


def find_place(grey: NDArray[np.uint8], lung: Mask, region: Mask, *names: int | str) -> tuple[int, int]:
    """Row and column for the middle of `region`, drawn evenly from all that have room: a pure function of `names`.

    Args:
        grey: the host, uint8 (H, W).
        lung: bool (H, W).
        region: bool, odd sides; all of it comes to lie in the lung, so its middle is a radius away from the edge.

    Raises:
        Unfit: there is no room.
    """
    kernel = region.astype(np.uint8)
    room = cv2.erode(lung.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if not room.any():
        raise Unfit("has no room in its lungs for the nodule")
    weights = kernel.astype(np.float32) / kernel.sum()
    vessel = find_vessels(grey, lung).astype(np.float32)
    share = cv2.filter2D(vessel, -1, weights, borderType=cv2.BORDER_CONSTANT)
    rows, columns = np.nonzero((room > 0) & (share <= CLEAR))
    if not len(rows):
        raise Unfit("has no room clear of vessels")
    n = generator("place", *names).integers(len(rows))
    return int(rows[n]), int(columns[n])


def find_vessels(grey: NDArray[np.uint8], lung: Mask) -> Mask:
    """What is brighter than the lung's own tissue, bool (H, W): vessels, and whatever else should not be covered.

    The tissue's mean and spread are read off its dark side, 5th to 25th percentile, where no vessel is.
    """
    calm = cv2.GaussianBlur(grey, (0, 0), 0.7).astype(np.float32)
    dark, darkish = np.percentile(calm[lung], [5, 25])
    spread = (darkish - dark) / (_Z25 - _Z5)
    return lung & (calm > darkish - _Z25 * spread + max(4 * spread, BRIGHT))


def shows_lung(grey: NDArray[np.uint8], lung: Mask, window: tuple[int, int]) -> bool:
    """Whether the lung is as dark as it must be if `window` (HU of black and of white) is the picture's."""
    low, high = window
    seen = low + float(np.median(grey[lung])) / 255 * (high - low)
    slack = 0.03 * (high - low)
    darkest, brightest = np.clip(LUNG_HU, low, high)
    return bool(darkest - slack <= seen <= brightest + slack)
