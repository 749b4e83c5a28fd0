"""Where lungs and lesions are known to be: from masks beside the images, or lungs that are segmented here."""

from dataclasses import dataclass

import cv2
import numpy as np

from chestfold.data.dataset import Index
from chestfold.data.masks import LESION, LUNG, read_mask
from chestfold.data.transforms.lungs import lungs_or_reason

OUTLINE = 56
"""Cells a side of the masks that are kept for drawing outlines."""


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
    shape = pixels.shape[0], pixels.shape[1]
    lesion = read_mask(index, LESION, image_id, shape)
    if lesion is not None and not lesion.any():
        lesion = None
    lungs = read_mask(index, LUNG, image_id, shape)
    if lungs is not None:
        return Masks(lungs, "truth", lesion)
    if index.dataset.view != "axial":
        return Masks(None, "none", lesion)
    lungs, _ = lungs_or_reason(pixels)
    return Masks(lungs, "not_found" if lungs is None else "segmented", lesion)


def outlined(masks: list[np.ndarray | None]) -> np.ndarray:
    """Masks in a size that an outline needs, bool (N, OUTLINE, OUTLINE): a cell of which the mask covers half.

    False everywhere where there is no mask. Of a mask that is smaller than a cell the cells remain that it covers most.
    """
    small = np.zeros((len(masks), OUTLINE, OUTLINE), bool)
    for n, mask in enumerate(masks):
        if mask is not None and mask.any():
            covered = cv2.resize(mask.astype(np.float32), (OUTLINE, OUTLINE), interpolation=cv2.INTER_AREA)
            small[n] = covered >= min(0.5, covered.max())
    return small


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
