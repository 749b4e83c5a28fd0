"""Where lungs and lesions are known to be: from masks beside the images, or lungs that are segmented here."""

from dataclasses import dataclass

import cv2
import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.dataset import Index
from chestfold.data.transforms.lungs import lungs_or_reason

LUNG, LESION = "lung", "nodule"
"""Folders in input/DATA/masks/ that hold ID.png: anything above 127 is inside."""


@dataclass(frozen=True)
class Masks:
    """What is known of one image, bool (S, S) each or None. `lungs_by`: truth, segmented, not_found, or none.

    A lesion that is None is not known, or there is none.
    """

    lungs: np.ndarray | None
    lungs_by: str
    lesion: np.ndarray | None


def masks_of(index: Index, image_id: str, pixels: np.ndarray) -> Masks:
    """The masks of an image, which is decoded to uint8 (S, S).

    A mask beside the images is preferred to a segmentation. Lungs are segmented in axial slices only: what is enclosed
    by air and ribs in a projection or in a patch is not the lungs.
    """
    size = len(pixels)
    lesion = _read(index, LESION, image_id, size)
    if lesion is not None and not lesion.any():
        lesion = None
    lungs = _read(index, LUNG, image_id, size)
    if lungs is not None:
        return Masks(lungs, "truth", lesion)
    if index.dataset.view != "axial":
        return Masks(None, "none", lesion)
    lungs, _ = lungs_or_reason(pixels)
    return Masks(lungs, "not_found" if lungs is None else "segmented", lesion)


def why_no_lungs(index: Index) -> str:
    """A sentence where the lung measures do not apply to a data set; "" where they do."""
    view = index.dataset.view
    if view == "axial" or (index.root / "masks" / LUNG).is_dir():
        return ""
    reasons = {
        "projection": "in projection X-rays heart, ribs and lungs overlap, so no outline tells inside from outside",
        "patch": "most patches are inside a lung altogether",
    }
    reason = reasons.get(view, "its declaration does not say that it shows axial slices (view in dataset.toml)")
    return f"lung measures do not apply to {index.dataset.name}: {reason}"


def _read(index: Index, kind: str, image_id: str, size: int) -> np.ndarray | None:
    """The mask of an image at the network's size, bool (size, size); None where there is no file.

    Raises:
        InputError: the file is no image, or the id leads out of the folder.
    """
    folder = index.root / "masks" / kind
    path = folder / f"{image_id}.png"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the id {image_id!r} leads out of {folder}; rename the image")
    if not path.exists():
        return None
    mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"{path} is no image that can be read; replace or remove it")
    interpolation = cv2.INTER_AREA if min(mask.shape) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (size, size), interpolation=interpolation)) > 127
