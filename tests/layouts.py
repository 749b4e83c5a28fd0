"""Files of a data set, drawn in a line: what the tests of readers share."""

from pathlib import Path

import cv2
import numpy as np

from chestfold.data.dataset import Dataset, Index

PIXELS = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()


def put(root: Path, *places: str) -> Path:
    """Write an image to each place below `root`."""
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(PIXELS)
    return root


def declared(**changes) -> Dataset:
    """A declaration of healthy and ill, changed."""
    fields = dict(name="mine", about="", origin="", licence="", patient="", reader="folders")
    return Dataset(**(fields | {"classes": ("healthy", "ill"), "positive": "ill"} | changes))


def rows(index: Index, *columns: str) -> list[tuple]:
    """Some columns of an index, row by row."""
    return list(index.table[list(columns)].itertuples(index=False, name=None))


def table(root: Path, name: str, *lines: str) -> None:
    """Write the lines of a CSV."""
    (root / name).write_text("\n".join(lines) + "\n")
