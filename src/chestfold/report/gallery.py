"""The gallery of a run's heat maps: one page, made of the folder that `chestfold explain` left and of nothing else."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from chestfold.core.files import write_text
from chestfold.evaluate.attention import Attention
from chestfold.report.attention import CHECKS, MEASURES, attention_view, difference_names
from chestfold.report.render import render
from chestfold.report.worst_errors import jpeg_uri

QUALITY = 82


@dataclass(frozen=True)
class Card:
    """An image with its heat map. `uri`: of both, a JPEG; `attention`, `pointing`: in words.

    `outside`: share of the attention outside the lungs where they are known, else on the border; NaN for an empty map.
    """

    row: dict[str, Any]
    uri: str
    attention: str
    pointing: str
    outside: float

    @property
    def is_right(self) -> bool:
        """Whether the prediction is."""
        return bool(self.row["predicted"] == self.row["label"])


def write_gallery(folder: Path) -> Path:
    """Write FOLDER/gallery.html from its attention.json, images.csv and pictures/.

    Raises:
        InputError: attention.json is damaged.
    """
    about = Attention.from_json(folder / "attention.json")
    rows = pd.read_csv(
        folder / "images.csv", encoding="utf-8-sig", dtype={"id": str, "group": str, "label": str, "predicted": str}
    )
    shown = rows[rows["picture"].notna()].sort_values(["p_true", "id"], kind="stable")
    page = render(
        "gallery.html",
        script="gallery.js",
        styles=["style.css", "gallery.css"],
        about=about,
        counts=_counts(about),
        attention=attention_view(about),
        cards=[_card(row, about, folder / "pictures") for row in shown.to_dict("records")],
        total=len(rows),
    )
    path = folder / "gallery.html"
    write_text(path, page)
    return path


def _counts(about: Attention) -> str:
    return ", ".join(f"{count} {name}" for name, count in about.images.items())


def _card(row: dict[Any, Any], about: Attention, pictures: Path) -> Card:
    lungs = row["predicted in_lungs"]
    border = row["predicted border"]
    if not np.isfinite(border):
        attention = f"an empty map: no evidence for {row['predicted']}"
    elif np.isfinite(lungs):
        attention = f"attention: {lungs:.0%} in the lungs, {border:.0%} on the border"
    else:
        attention = f"attention: {border:.0%} on the border"
    pointing = ""
    if np.isfinite(row["positive pointing"]):
        where = "at" if row["positive pointing"] >= 0.5 else "beside"
        pointing = f"map of {about.positive}: points {where} the lesion"
    outside = 1 - lungs if np.isfinite(lungs) else border
    png = np.frombuffer((pictures / row["picture"]).read_bytes(), np.uint8)
    pixels = np.asarray(cv2.imdecode(png, cv2.IMREAD_COLOR))
    return Card(row, jpeg_uri(pixels, QUALITY), attention, pointing, outside)


def format_lines(folder: Path) -> list[str]:
    """The figures of a folder for the terminal: what was explained, and each measure of the predicted class."""
    about = Attention.from_json(folder / "attention.json")
    rows, columns = about.grid
    lines = [f"{about.name}: {about.method} of {about.layer} ({rows} x {columns} cells), {_counts(about)}"]
    for key, name in MEASURES.items():
        target = "positive" if key.startswith(("pointing", "lesion")) else "predicted"
        score = about.figure(target, key)
        if score:
            lines.append(f"  {name:<34} {score}   an even map: {about.measures['even'][key]['all'].value:.4f}")
    for key, name in CHECKS.items():
        if key in about.checks:
            lines.append(f"  {name:<34} {about.checks[key]['all']}")
    if about.against:
        for key, name in difference_names(about).items():
            if key in about.against.measures:
                score = about.against.measures[key]["all"]
                lines.append(f"  {name:<34} {score}   against {about.against.parent}, paired")
    return lines
