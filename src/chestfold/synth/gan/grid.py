"""Many patches in one picture."""

import math
from pathlib import Path

import cv2
import numpy as np

from chestfold.core.files import write_bytes


def grid(patches: np.ndarray, columns: int = 0) -> np.ndarray:
    """uint8 (N, S, S) to one picture, rows from left to right with a line between them; 0 columns: about a square."""
    columns = columns or math.ceil(math.sqrt(len(patches)))
    rows = math.ceil(len(patches) / columns)
    side = patches.shape[1] + 1
    picture = np.full((rows * side + 1, columns * side + 1), 255, np.uint8)
    for n, patch in enumerate(patches):
        top, left = 1 + n // columns * side, 1 + n % columns * side
        picture[top : top + side - 1, left : left + side - 1] = patch
    return picture


def write_grid(path: Path, patches: np.ndarray, columns: int = 0) -> None:
    """The picture of `grid` as a PNG."""
    encoded = cv2.imencode(".png", grid(patches, columns))[1]
    write_bytes(path, encoded.tobytes())
