"""One nodule into one host: both as grey values of the host's scale, blended, its seam measured and smoothed."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from chestfold.core.errors import InputError
from chestfold.synth.blend.poisson import Mask, bounding_box, clone
from chestfold.synth.blend.seam import BAND, REACH, changed_pixels, smooth
from chestfold.synth.blend.segment import Hounsfield, segment_nodule, visible_mask, with_margin

Grey = NDArray[np.uint8]
Window = tuple[int, int]
"""Hounsfield units that are shown black and white."""


@dataclass(frozen=True)
class NodulePatch:
    """A nodule with its margin and one more pixel all around; three arrays of one shape with odd sides."""

    hu: Hounsfield
    nodule: Mask
    region: Mask


@dataclass(frozen=True)
class Blended:
    """A host before and after; images and masks have the host's shape."""

    host: Grey
    image: Grey
    unsmoothed: Grey
    nodule: Mask
    changed: Mask
    seam_before: float
    seam_after: float


def to_hu(grey: Grey, window: Window) -> Hounsfield:
    """Hounsfield units of an image's grey values, float32 (H, W); what the window clipped stays clipped."""
    low, high = window
    return np.asarray(grey.astype(np.float32) / 255 * (high - low) + low, np.float32)


def to_grey(hu: Hounsfield, window: Window) -> NDArray[np.float32]:
    """Grey values 0..255 of an image in `window`, float32 (H, W), not rounded."""
    low, high = window
    return np.asarray(np.clip((hu - low) / (high - low), 0, 1) * 255, np.float32)


def crop_nodule(hu: Hounsfield, scale: float, window: Window) -> NodulePatch:
    """The nodule in the middle of a patch, `scale` times as large, as it is seen in the hosts' window.

    `Unfit` where it cannot be told from its surroundings.
    """
    if scale != 1:
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        hu = np.asarray(cv2.resize(hu, None, fx=scale, fy=scale, interpolation=interpolation), np.float32)
    found = segment_nodule(hu)
    region = with_margin(found.mask)
    box = bounding_box(region, margin=1)
    arrays = (hu, visible_mask(hu, found, window), region)
    return NodulePatch(*[_with_odd_sides(array[box]) for array in arrays])


def _with_odd_sides(array: np.ndarray) -> np.ndarray:
    """With one more row or column where there is an even number of them, so that there is a middle."""
    after = [(0, 1 - side % 2) for side in array.shape]
    return np.pad(array, after, mode="edge")


def paste(host: Grey, window: Window, patch: NodulePatch, place: tuple[int, int]) -> Blended:
    """Blend a nodule into `host` with its middle at `place` (row, column).

    Raises:
        InputError: a part of the region would be outside the image.
    """
    # only the patch and what its seam is compared with: a slice is much larger
    halves = [side // 2 + BAND + REACH + 2 for side in patch.region.shape]
    top = max(place[0] - halves[0], 0)
    left = max(place[1] - halves[1], 0)
    near = np.s_[top : place[0] + halves[0] + 1, left : place[1] + halves[1] + 1]
    part = host[near]
    centre = (place[0] - top, place[1] - left)
    region = place_at(patch.region, part.shape, centre)
    if region.sum() < patch.region.sum():
        raise InputError(f"the mask reaches outside the image of {host.shape} at row {place[0]}, column {place[1]}")
    nodule = place_at(patch.nodule, part.shape, centre)
    source = place_at(to_grey(patch.hu, window), part.shape, centre)
    blended = clone(part, source, region)
    smoothed, before, after = smooth(blended, region, nodule, span=255)
    empty = np.zeros(host.shape, bool)
    return Blended(
        host=host,
        image=_with_part(host, near, smoothed),
        unsmoothed=_with_part(host, near, blended),
        nodule=_with_part(empty, near, nodule),
        changed=_with_part(empty, near, changed_pixels(region)),
        seam_before=before,
        seam_after=after,
    )


def _with_part(image: np.ndarray, near: tuple[slice, slice], part: np.ndarray) -> np.ndarray:
    made = image.copy()
    made[near] = part
    return made


def place_at(array: np.ndarray, shape: tuple[int, ...], centre: tuple[int, int]) -> np.ndarray:
    """`array` on an empty canvas of `shape`, its middle at `centre`; what falls outside is lost."""
    height, width = array.shape
    padded = np.zeros((shape[0] + 2 * height, shape[1] + 2 * width), array.dtype)
    top = centre[0] + height - height // 2
    left = centre[1] + width - width // 2
    padded[top : top + height, left : left + width] = array
    return padded[height : height + shape[0], width : width + shape[1]]
