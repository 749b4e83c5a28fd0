"""One nodule into one host: both as grey values of the host's scale, blended, its seam measured and smoothed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chestfold.core.errors import InputError
from chestfold.synth.blend.outline import as_shown, find_nodule, with_margin
from chestfold.synth.blend.poisson import Mask, clone
from chestfold.synth.blend.seam import BAND, REACH, smooth, touched

Grey = NDArray[np.uint8]
Window = tuple[int, int]
"""Hounsfield units that are shown black and white."""


@dataclass(frozen=True)
class Cutting:
    """A nodule with its margin and one more pixel all around; three arrays of one shape with odd sides."""

    hu: NDArray[np.float32]
    nodule: Mask
    region: Mask


@dataclass(frozen=True)
class Blended:
    """A host with a nodule. Pictures and masks have the host's shape; `box`: left, top, right, bottom, half-open."""

    picture: Grey
    unsmoothed: Grey
    nodule: Mask
    changed: Mask
    box: tuple[int, int, int, int]
    seam_before: float
    seam_after: float


def to_hu(grey: Grey, window: Window) -> NDArray[np.float32]:
    """Hounsfield units of a picture's grey values, float32 (H, W); what the window clipped stays clipped."""
    low, high = window
    return np.asarray(grey.astype(np.float32) / 255 * (high - low) + low, np.float32)


def to_grey(hu: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Grey values 0..255 of a picture in `window`, float32 (H, W), not rounded."""
    low, high = window
    return np.asarray(np.clip((hu - low) / (high - low), 0, 1) * 255, np.float32)


def cut_out(hu: NDArray[np.float32], scale: float, window: Window) -> Cutting:
    """The nodule in the middle of a patch, `scale` times as large, as it is seen in the hosts' window.

    Raises:
        Unfit: there is no nodule that stands alone.
    """
    if scale != 1:
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        hu = np.asarray(cv2.resize(hu, None, fx=scale, fy=scale, interpolation=kind), np.float32)
    found = find_nodule(hu)
    nodule, region = as_shown(hu, found, window), with_margin(found.mask)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    part = np.s_[rows[0] - 1 : rows[-1] + 2, columns[0] - 1 : columns[-1] + 2]
    return Cutting(*[_odd(array[part]) for array in (hu, nodule, region)])


def _odd(array: np.ndarray) -> np.ndarray:
    """With one more row or column where there is an even number of them, so that there is a middle."""
    after = [(0, 1 - side % 2) for side in array.shape]
    return np.pad(array, after, mode="edge")


def paste(host: Grey, window: Window, cutting: Cutting, place: tuple[int, int]) -> Blended:
    """Blend a nodule into `host` with its middle at `place` (row, column).

    Raises:
        InputError: a part of the region would lie outside the picture.
    """
    near = _around(cutting, place, host.shape)
    part, spot = host[near], (place[0] - near[0].start, place[1] - near[1].start)
    region, nodule = (_laid(mask, part.shape, spot) for mask in (cutting.region, cutting.nodule))
    if region.sum() < cutting.region.sum():
        raise InputError(f"the mask reaches outside the picture of {host.shape} at row {place[0]}, column {place[1]}")
    rough = clone(part, _laid(to_grey(cutting.hu, window), part.shape, spot), region)
    even, before, after = smooth(rough, region, nodule, 255)
    empty = np.zeros(host.shape, bool)
    whole, changed = (_put(mask, near, empty) for mask in (nodule, touched(region)))
    return Blended(_put(even, near, host), _put(rough, near, host), whole, changed, box_of(whole), before, after)


def _around(cutting: Cutting, place: tuple[int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of a picture that takes part: the cutting, and what its seam is compared with."""
    halves = [side // 2 + BAND + REACH + 2 for side in cutting.region.shape]
    rows, columns = (
        slice(max(at - half, 0), min(at + half + 1, side)) for at, half, side in zip(place, halves, shape, strict=True)
    )
    return rows, columns


def _put(part: np.ndarray, near: tuple[slice, slice], whole: np.ndarray) -> np.ndarray:
    made = whole.copy()
    made[near] = part
    return made


def _laid(array: np.ndarray, shape: tuple[int, ...], place: tuple[int, int]) -> np.ndarray:
    """`array` on an empty canvas of `shape`, its middle at `place`; what falls outside is lost."""
    high, wide = array.shape
    padded = np.zeros((shape[0] + 2 * high, shape[1] + 2 * wide), array.dtype)
    top, left = place[0] + high - high // 2, place[1] + wide - wide // 2
    padded[top : top + high, left : left + wide] = array
    return padded[high : high + shape[0], wide : wide + shape[1]]


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask, half-open, pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
