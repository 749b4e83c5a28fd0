"""A contact sheet: hosts before and after, with the seam as it was and as it is, one line for each."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from chestfold.synth.blend.paste import Blended, Grey
from chestfold.synth.blend.poisson import Mask

SIDE = 180
"""Pixels of a picture on the sheet."""
AROUND = 12
"""Pixels of the host that are shown around what was changed."""
COLUMNS = ("host", "blended", "seam smoothed", "nodule, changed")


@dataclass(frozen=True)
class Example:
    """A host before and after, and a line about it."""

    host: Grey
    blended: Blended
    about: str


def write_sheet(path: Path, examples: list[Example]) -> None:
    """Write the examples as a PNG, two to a row; every close-up is enlarged without smoothing."""
    cells = [_cell(example) for example in examples]
    if len(cells) % 2:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[n : n + 2]) for n in range(0, len(cells), 2)]
    path.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def _cell(example: Example) -> np.ndarray:
    """Five pictures side by side, BGR, with a line of text above each."""
    blended = example.blended
    near = _near(blended.changed)
    shown = [example.host[near], blended.unsmoothed[near], blended.picture[near]]
    pictures = [cv2.cvtColor(_enlarged(part), cv2.COLOR_GRAY2BGR) for part in shown]
    drawn = pictures[-1].copy()
    for mask, colour in ((blended.changed, (90, 160, 255)), (blended.nodule, (80, 230, 80))):
        edges, _ = cv2.findContours(_enlarged(mask[near].astype(np.uint8)), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, edges, -1, colour, 1)
    whole = cv2.cvtColor(_whole(blended), cv2.COLOR_GRAY2BGR)
    texts = (example.about, *COLUMNS)
    return np.hstack([_titled(p, text) for p, text in zip([whole, *pictures, drawn], texts, strict=True)])


def _near(changed: Mask) -> tuple[slice, slice]:
    """A square around what was changed, as far as the picture goes."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    half = max(np.ptp(rows), np.ptp(columns)) // 2 + AROUND
    row, column = (int(v[0] + v[-1]) // 2 for v in (rows, columns))
    return slice(max(row - half, 0), row + half), slice(max(column - half, 0), column + half)


def _whole(blended: Blended) -> Grey:
    side = max(blended.picture.shape)
    square = np.zeros((side, side), np.uint8)
    square[: blended.picture.shape[0], : blended.picture.shape[1]] = blended.picture
    shrinks = side > SIDE
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=kind), np.uint8)


def _enlarged(part: np.ndarray) -> np.ndarray:
    return cv2.resize(part, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def _titled(picture: np.ndarray, text: str) -> np.ndarray:
    framed = cv2.copyMakeBorder(picture, 18, 4, 2, 2, cv2.BORDER_CONSTANT, value=(40, 40, 40))
    return cv2.putText(framed, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (235, 235, 235), 1, cv2.LINE_AA)
