"""A contact sheet: hosts before and after, with the seam as it was and as it is, one row of images for each."""

from pathlib import Path

import cv2
import numpy as np

from chestfold.synth.blend.paste import Blended
from chestfold.synth.blend.poisson import bounding_box
from chestfold.synth.gan.images import png

SIDE = 180
"""Pixels of an image on the sheet."""
AROUND = 12
"""Pixels of the host that are shown around what was changed."""
ORANGE = (90, 160, 255)
GREEN = (80, 230, 80)


def write_sheet(path: Path, examples: dict[str, Blended]) -> None:
    """Write the examples as a PNG, each with its title."""
    path.write_bytes(png(np.vstack([_row(title, blended) for title, blended in examples.items()])))


def _row(title: str, blended: Blended) -> np.ndarray:
    """The blended image, and four close-ups, BGR, each with its title above."""
    near = bounding_box(blended.changed, AROUND)
    outlined = _scale(blended.image[near])
    for mask, colour in ((blended.changed, ORANGE), (blended.nodule, GREEN)):
        scaled = _scale(mask[near].astype(np.uint8))[:, :, 0]
        edges, _ = cv2.findContours(scaled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(outlined, edges, -1, colour, 1)
    images = {
        title: _scale(blended.image),
        "host": _scale(blended.host[near]),
        "blended": _scale(blended.unsmoothed[near]),
        "seam smoothed": _scale(blended.image[near]),
        "nodule, changed": outlined,
    }
    return np.hstack([_with_title(image, title) for title, image in images.items()])


def _scale(image: np.ndarray) -> np.ndarray:
    """To a square of `SIDE` pixels, BGR, black below or on the right: by area where it shrinks, else unsmoothed."""
    side = max(image.shape)
    square = np.pad(image, [(0, side - length) for length in image.shape])
    interpolation = cv2.INTER_AREA if side > SIDE else cv2.INTER_NEAREST
    scaled = cv2.resize(square, (SIDE, SIDE), interpolation=interpolation)
    return cv2.cvtColor(scaled, cv2.COLOR_GRAY2BGR)


def _with_title(image: np.ndarray, title: str) -> np.ndarray:
    framed = cv2.copyMakeBorder(image, 18, 4, 2, 2, cv2.BORDER_CONSTANT, value=(40, 40, 40))
    return cv2.putText(framed, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (235, 235, 235), 1, cv2.LINE_AA)
