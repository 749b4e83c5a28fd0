"""What becomes of decoded pictures before a network sees them: lungs cut out or added as a channel, a frame taken off.

One place for training, validation, corrupted images, test images and a single picture. A picture goes through it as

    decoded at image_size -> (corrupted) -> lungs found -> `before` -> augmentation -> `after` -> the network

The lungs are found in the picture as it is then: nothing is taken from a mask that belongs to another one.
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
from chestfold.data.transforms.lungs import METHOD, SMALLEST, lungs_or_reason

CENTRE = 0.8
"""Share of each side that `frame = "centre"` keeps."""
BORDER = 0.08
"""Share of each side that `frame = "border"` makes black at either end."""


@dataclass(frozen=True)
class Preprocess:
    """The settings of an experiment that decide what a network sees of a picture."""

    lung_mask: Literal["none", "zero", "channel"] = "none"
    frame: Literal["none", "centre", "border"] = "none"

    @property
    def channels(self) -> int:
        """How many channels a network takes."""
        return 2 if self.lung_mask == "channel" else 1

    @property
    def nothing(self) -> bool:
        """Whether pictures stay as they are."""
        return self == Preprocess()


NO_PREPROCESSING = Preprocess()


def preprocess_of(exp: Experiment) -> Preprocess:
    """What `exp` does to pictures."""
    return Preprocess(exp.lung_mask, exp.frame)


def lung_method(exp: Experiment) -> dict[str, str]:
    """What a prediction depends on besides pictures and settings: how lungs are found, where they are."""
    return {"lungs": METHOD} if exp.lung_mask != "none" else {}


def require_lungs(exp: Experiment, dataset: Dataset) -> None:
    """Raise `InputError` when lungs are asked for where none can be found."""
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
    shown = {"projection": "projection X-rays, in which heart, ribs and lungs lie on each other", "patch": "patches"}
    instead = "take --frame centre or --frame border" if dataset.view == "projection" else "leave it at none"
    raise InputError(f"{wanted}, and does not apply to {dataset.name}: its images are {shown[dataset.view]}; {instead}")


@dataclass(frozen=True)
class Lungs:
    """Where the lungs are in some pictures. `masks`: uint8 (N, S, S), 0 or 1; all 1 where they were not found.

    `reasons` (N,) say why they were not; "" where they were.
    """

    masks: np.ndarray
    reasons: list[str]

    def lungs_not_found(self, rows: np.ndarray) -> Counter[str]:
        """Reason -> how many of these pictures are seen whole."""
        return Counter(reason for row in rows if (reason := self.reasons[row]))


def find_lungs(how: Preprocess, pixels: np.ndarray) -> Lungs | None:
    """The lungs in uint8 (N, S, S), where `how` needs them."""
    if how.lung_mask == "none":
        return None
    masks, reasons = np.ones(pixels.shape, np.uint8), [""] * len(pixels)

    def look(n: int) -> None:
        found, reasons[n] = lungs_or_reason(np.asarray(pixels[n]))
        if found is not None:
            masks[n] = found

    in_threads(look, len(pixels), "looking for lungs")
    return Lungs(masks, reasons)


def before(how: Preprocess, pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """uint8 (..., S, S) as augmentation gets it: framed, and black outside the lungs.

    Augmentation is given the black already, because some of its operations (equalizing, automatic contrast) look at the
    whole picture: what is cut out must not speak through them.
    """
    if how.frame != "none":
        pixels = apply_frame(how.frame, pixels)
    return pixels * masks if how.lung_mask == "zero" and masks is not None else pixels


def after(how: Preprocess, pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """uint8 (B, S, S) and masks that went the same way, to what the network is given: uint8 (B, channels, S, S).

    Black is made black once more, because augmentation moves grey values too.
    """
    if masks is None:
        return pixels[:, None]
    if how.lung_mask == "zero":
        return (pixels * masks)[:, None]
    return np.stack([pixels, masks * np.uint8(255)], axis=1)


def apply_frame(frame: str, pixels: np.ndarray) -> np.ndarray:
    """uint8 (..., S, S) without what stands at its edges, where text and markers are burnt in; a copy.

    `centre`: the middle part of each side, scaled back. `border`: the outer band is black, the scale stays.
    """
    size = pixels.shape[-1]
    if frame == "border":
        band, inner = round(BORDER * size), np.zeros_like(pixels)
        inner[..., band : size - band, band : size - band] = pixels[..., band : size - band, band : size - band]
        return inner
    first = round((1 - CENTRE) / 2 * size)
    flat = pixels.reshape(-1, size, size)[:, first : size - first, first : size - first]
    scaled = [cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR) for picture in flat]
    return np.stack(scaled).reshape(pixels.shape)


def undo_frame(how: Preprocess, seen: np.ndarray) -> np.ndarray:
    """What a network has for its input (..., S, S), like a heat map, where it lies in the whole picture: (..., S, S).

    Only `centre` moves anything: it comes back into the middle part, and around it, unseen, is 0.
    """
    if how.frame != "centre":
        return seen
    size = seen.shape[-1]
    first = round((1 - CENTRE) / 2 * size)
    inner = size - 2 * first
    whole = np.zeros((seen.size // size**2, size, size), seen.dtype)
    for picture, target in zip(seen.reshape(whole.shape), whole, strict=True):
        target[first : size - first, first : size - first] = cv2.resize(
            picture, (inner, inner), interpolation=cv2.INTER_AREA
        )
    return whole.reshape(seen.shape)
