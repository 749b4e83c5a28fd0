"""Grey images as PNG files, one by one and many in a grid."""

from pathlib import Path

import cv2
import numpy as np

from chestfold.core.files import write_bytes


def png(image: np.ndarray) -> bytes:
    """A grey (H, W) or BGR (H, W, 3) uint8 image as the bytes of a PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def write_grid(path: Path, patches: np.ndarray, columns: int) -> None:
    """Write patches, uint8 (N, S, S), row by row with a white line between them; `columns` divides N."""
    framed = np.pad(patches, ((0, 0), (1, 0), (1, 0)), constant_values=255)
    side = framed.shape[1]
    grid = framed.reshape(-1, columns, side, side).swapaxes(1, 2).reshape(-1, columns * side)
    write_bytes(path, png(np.pad(grid, ((0, 1), (0, 1)), constant_values=255)))
