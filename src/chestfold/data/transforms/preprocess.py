"""Preprocessing: from decoded images to a network's input: lungs cut out or added as a channel, a frame taken off.

One place for training, validation, corrupted images, test images and those of `chestfold predict`. An image goes
through it as

    decoded at image_size -> (corrupted) -> lungs found -> `pre_augment` -> augmentation -> `post_augment` -> network

The lungs are found in the image as it is then: nothing is taken from a mask that belongs to another one.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.data.cache import in_threads
from chestfold.data.dataset import Dataset
from chestfold.data.levels import eight_bits
from chestfold.data.transforms.lungs import METHOD, SMALLEST, lungs_or_reason

CENTRE = 0.8
"""Share of each side that `frame = "centre"` keeps, and that `lungs_black` makes black."""
BORDER = 0.08
"""Share of each side that `frame = "border"` makes black at either end."""


@dataclass(frozen=True)
class Preprocess:
    """The settings of an experiment that decide what a network sees of an image."""

    lung_mask: Literal["none", "zero", "channel"] = "none"
    frame: Literal["none", "centre", "border", "lungs_black"] = "none"


NO_PREPROCESSING = Preprocess()


def preprocess_of(exp: Experiment) -> Preprocess:
    """What `exp` does to images."""
    return Preprocess(exp.lung_mask, exp.frame)


def lung_method(exp: Experiment) -> dict[str, str]:
    """What a prediction depends on besides images and settings: how lungs are found, where they are looked for."""
    return {"lungs": METHOD} if exp.lung_mask != "none" else {}


def require_lungs(exp: Experiment, dataset: Dataset) -> None:
    """Raise `InputError` when a lung mask is wanted where no lungs can be found."""
    if exp.lung_mask == "none":
        return
    if exp.image_size < SMALLEST:
        raise InputError(f"lung_mask = {exp.lung_mask}: lungs are found from an image_size of {SMALLEST} on; raise it")
    if dataset.view == "axial":
        return
    wanted = f"lung_mask = {exp.lung_mask} cuts the lungs out of axial CT slices"
    if not dataset.view:
        raise InputError(
            f'{wanted}, and {dataset.name} does not say what its images are; declare view = "axial" in its dataset.toml'
        )
    if dataset.view == "projection":
        shown, instead = "X-rays, where heart, ribs and lungs overlap", "use --frame centre or --frame border"
    else:
        shown, instead = "patches", "leave it at none"
    raise InputError(f"{wanted}, and does not apply to {dataset.name}: its images are {shown}; {instead}")


@dataclass(frozen=True)
class Lungs:
    """Where the lungs are in some images. `masks`: uint8 (N, S, S), 0 or 1; all 1 where they were not found.

    `reasons` (N,) say why they were not; "" where they were.
    """

    masks: np.ndarray
    reasons: list[str]

    def not_found(self, rows: np.ndarray) -> Counter[str]:
        """Reason -> how many of these images are left unmasked."""
        return Counter(self.reasons[row] for row in rows if self.reasons[row])


def find_lungs(preprocess: Preprocess, pixels: np.ndarray) -> Lungs | None:
    """The lungs in uint8 or uint16 (N, S, S), where `preprocess` needs them."""
    if preprocess.lung_mask == "none":
        return None
    masks, reasons = np.ones(pixels.shape, np.uint8), [""] * len(pixels)

    def find(n: int) -> None:
        found, reasons[n] = lungs_or_reason(eight_bits(np.asarray(pixels[n])))
        if found is not None:
            masks[n] = found

    in_threads(find, len(pixels), "looking for lungs")
    return Lungs(masks, reasons)


def pre_augment(preprocess: Preprocess, pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """Pixels (B, S, S) or (B, S, S, 3) as augmentation gets them: framed, and black outside the lungs.

    Augmentation is given the black already, because some of its operations (equalizing, automatic contrast) look at the
    image: what is cut out must have no influence through them.
    """
    if preprocess.frame != "none":
        pixels = apply_frame(preprocess.frame, pixels)
    if preprocess.lung_mask == "zero" and masks is not None:
        pixels = pixels * masks
    return pixels


def post_augment(preprocess: Preprocess, pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """Pixels (B, S, S) or (B, S, S, 3), and masks that went the same way, to a network's input (B, channels, S, S).

    Black is made black once more, because augmentation moves grey values too. The type stays: uint8 or uint16.
    """
    if pixels.ndim == 4:
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if masks is None:
        return pixels[:, None]
    if preprocess.lung_mask == "zero":
        return (pixels * masks)[:, None]
    lungs = masks.astype(pixels.dtype) * np.iinfo(pixels.dtype).max
    return np.stack([pixels, lungs], axis=1)


def apply_frame(frame: str, pixels: np.ndarray) -> np.ndarray:
    """Pixels (B, S, S) or (B, S, S, 3) without a part of them; a copy.

    `centre`: the middle part of each side, scaled back: without the edges, where text and markers are burnt in.
    `border`: the outer band is black, the scale stays. `lungs_black`: the middle part is black. What a network can tell
    from the rest is no sign of a disease (Maguolo and Nanni, Information Fusion 2021).
    """
    size = pixels.shape[1]
    if frame == "lungs_black":
        outer = pixels.copy()
        outer[:, _centre(size), _centre(size)] = 0
        return outer
    if frame == "border":
        band = round(BORDER * size)
        inner = np.zeros_like(pixels)
        inner[:, band : size - band, band : size - band] = pixels[:, band : size - band, band : size - band]
        return inner
    part = _centre(size)
    scaled = [cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR) for image in pixels[:, part, part]]
    return np.stack(scaled)


def undo_frame(preprocess: Preprocess, values: np.ndarray) -> np.ndarray:
    """What a network has for its input (..., S, S), like a heat map, at its place in the full image: (..., S, S).

    Only `centre` moves anything: it comes back into the middle part, and around it, unseen, is 0.
    """
    if preprocess.frame != "centre":
        return values
    size = values.shape[-1]
    part = _centre(size)
    inner = part.stop - part.start
    full = np.zeros((values.size // size**2, size, size), values.dtype)
    for image, target in zip(values.reshape(full.shape), full, strict=True):
        target[part, part] = cv2.resize(image, (inner, inner), interpolation=cv2.INTER_AREA)
    return full.reshape(values.shape)


def seen_part(frame: str) -> float:
    """Which part of each side of an image a network is given, from the middle; of it what a heat map is of."""
    return CENTRE if frame == "centre" else 1.0


def _centre(size: int) -> slice:
    """The middle part of a side, in pixels."""
    first = round((1 - CENTRE) / 2 * size)
    return slice(first, size - first)
