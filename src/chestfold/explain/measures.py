"""Figures of heat maps: where the attention is, and whether it is on the lesion.

All maps are float32 (N, S, S), not negative, at the images' size. A map that is zero everywhere has no attention: its
figures are NaN, and the summaries say how many there were.
"""

import cv2
import numpy as np
from scipy.stats import rankdata

from chestfold.evaluate.bootstrap import Score, class_means

BORDER = 1 / 16
"""Width of an image's border as a share of its side: where burnt-in text and side markers are."""
BOX = (0.10, 0.90, 0.15, 0.85)
"""A fixed box around the chest: top, bottom, left and right as shares of the side. It is no anatomy; it is the same for
every image, for those in which lungs cannot be told."""
TOLERANCE = 0.03
"""How far beside the lesion a map may point, as a share of the side: 15 px of about 500 in the pointing game (Zhang et
al., IJCV 126 (2018), p. 1084, section 4.2)."""


def share(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of each map's sum inside its mask, (N,); `masks` bool (N, S, S) or one (S, S) for all.

    Inside a lesion's mask this is the energy-based pointing game (Wang et al., Score-CAM, CVPR Workshops 2020, section
    4.3).
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = (maps * masks).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def border(size: int) -> np.ndarray:
    """The outer band of an image, bool (size, size)."""
    band = max(1, round(size * BORDER))
    mask = np.ones((size, size), bool)
    mask[band:-band, band:-band] = False
    return mask


def chest_box(size: int) -> np.ndarray:
    """The fixed box, bool (size, size)."""
    top, bottom, left, right = (round(size * part) for part in BOX)
    mask = np.zeros((size, size), bool)
    mask[top:bottom, left:right] = True
    return mask


def dilated(mask: np.ndarray, pixels: float) -> np.ndarray:
    """A mask, bool (S, S), and all within `pixels` of it."""
    if not mask.any():
        return mask
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= pixels


def pointing(heat: np.ndarray, mask: np.ndarray) -> float:
    """Whether the maximum of a map (S, S) is in `mask` (S, S): 1 or 0; NaN for a map of zeros.

    Of several maxima each counts its part: the chance that one of them, drawn at random, is a hit.
    """
    top = heat.max()
    return float(mask[heat == top].mean()) if top > 0 else float("nan")


def rank_correlation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Spearman's correlation of two maps of one shape; 0 where one of them is the same everywhere."""
    a = rankdata(ours.ravel())
    b = rankdata(theirs.ravel())
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def area_under(curves: np.ndarray) -> np.ndarray:
    """Area under curves (N, steps), whose steps are spread evenly from 0 to 1: (N,)."""
    return np.trapezoid(curves, dx=1 / (curves.shape[1] - 1), axis=1)


def summary(values: np.ndarray, truth: np.ndarray, groups: np.ndarray, classes: tuple[str, ...]) -> dict[str, Score]:
    """Class -> mean of `values` (N,) over its images; and "all": the mean over the classes, each counting the same.

    So "all" does not depend on how many images of each class were explained. Intervals: 95 %, bootstrap over patients
    (`groups`, (N,)); values that are NaN do not count, and a class without any is left out. `truth`: float (N, K).
    """
    known = np.isfinite(values)
    values, members, groups = values[known], truth[known] == 1, groups[known]
    found = [n for n in range(len(classes)) if members[:, n].any()]
    if not found:
        return {}
    *means, overall = class_means(values, members[:, found], groups)
    return {"all": overall} | {classes[n]: mean for n, mean in zip(found, means, strict=True)}
