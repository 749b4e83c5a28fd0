"""Where lungs and lesions are known to be: from masks beside the images, or the lungs as segmented here."""

from dataclasses import dataclass

import cv2
import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.dataset import Index
from chestfold.data.transforms.lungs import lungs_or_reason

LUNG, LESION = "lung", "nodule"
"""Folders in input/DATA/masks/ that hold ID.png: anything above 127 is inside."""


@dataclass(frozen=True)
class Known:
    """What is known of one image, bool (S, S) each or None. `lungs_by`: truth, segmented, declined, or none."""

    lungs: np.ndarray | None
    lungs_by: str
    lesion: np.ndarray | None


def known(index: Index, image_id: str, picture: np.ndarray) -> Known:
    """The masks of an image whose decoded pixels are `picture`, uint8 (S, S).

    A mask that lies beside the images stands before a segmentation. Lungs are segmented in axial slices only: what is
    enclosed by air and ribs in a projection or in a patch is not the lungs.
    """
    size = picture.shape[0]
    lesion = _read(index, LESION, image_id, size)
    lungs = _read(index, LUNG, image_id, size)
    if lungs is not None:
        return Known(lungs, "truth", lesion)
    if index.dataset.view != "axial":
        return Known(None, "none", lesion)
    lungs, _ = lungs_or_reason(picture)
    return Known(lungs, "not_found" if lungs is None else "segmented", lesion)


def why_no_lungs(index: Index) -> str:
    """A sentence where the lung measures do not apply to a data set; "" where they do."""
    view = index.dataset.view
    if view == "axial" or (index.root / "masks" / LUNG).is_dir():
        return ""
    shown = {
        "projection": "projection X-rays: lung and heart lie over each other, so no outline tells inside from outside",
        "patch": "patches: most of them lie inside a lung altogether",
    }.get(view, "its declaration does not say that it shows axial slices (view in dataset.toml)")
    return f"lung measures do not apply to {index.dataset.name}: {shown}"


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
    way = cv2.INTER_AREA if min(mask.shape) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (size, size), interpolation=way)) > 127
