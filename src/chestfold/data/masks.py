"""Masks beside the images of a data set: input/DATA/masks/KIND/ID.png, of which anything above 127 is inside."""

import cv2
import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.dataset import Index

LUNG, LESION = "lung", "nodule"
"""Kinds of mask: folders in input/DATA/masks/."""


def read_mask(index: Index, kind: str, image_id: str, shape: tuple[int, int]) -> np.ndarray | None:
    """The mask of an image, scaled to `shape` (rows, columns): bool; None where there is no file.

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
    rows, columns = shape
    interpolation = cv2.INTER_AREA if min(mask.shape) >= min(shape) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (columns, rows), interpolation=interpolation)) > 127
