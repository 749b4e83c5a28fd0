"""The gallery of a run's heat maps: one page, made of the folder that `chestfold explain` left and of nothing else."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from chestfold.core.files import write_text
from chestfold.evaluate.attention import Attention
from chestfold.report.attention import CHECKS, MEASURES, attention_tables, difference_words
from chestfold.report.document import asset, document
from chestfold.report.markup import Html, join, tag

SORTS = (
    ("error", "worst error first", "true class least probable first"),
    ("confidence", "surest first", "predicted class most probable first"),
    ("doubt", "most doubtful first", "predicted class least probable first"),
    ("outside", "attention outside first", "of the lungs where they are known, else on the border"),
)
QUALITY = 82


def write_gallery(folder: Path) -> Path:
    """Write FOLDER/gallery.html from its attention.json, images.csv and pictures/.

    Raises:
        InputError: attention.json is damaged.
    """
    about = Attention.from_json(folder / "attention.json")
    rows = pd.read_csv(folder / "images.csv", dtype={"id": str, "group": str, "label": str, "predicted": str})
    shown = rows[rows["picture"].notna()]
    path = folder / "gallery.html"
    write_text(path, _page(about, shown, len(rows), folder / "pictures"))
    return path


def format_lines(folder: Path) -> list[str]:
    """The figures of a folder for the terminal: what was explained, and each measure of the predicted class."""
    about = Attention.from_json(folder / "attention.json")
    rows, columns = about.grid
    counts = ", ".join(f"{count} {name}" for name, count in about.images.items())
    lines = [f"{about.name}: {about.method} of {about.layer} ({rows} x {columns} cells), {counts}"]
    for key, words in MEASURES.items():
        target = "positive" if key.startswith(("pointing", "lesion")) else "predicted"
        found = about.figure(target, key)
        if found:
            lines.append(f"  {words:<34} {found}   an even map: {about.measures['even'][key]['all'].value:.4f}")
    for key, words in CHECKS.items():
        if key in about.checks:
            lines.append(f"  {words:<34} {about.checks[key]['all']}")
    if about.against:
        for key, words in difference_words(about).items():
            if key in about.against.measures:
                score = about.against.measures[key]["all"]
                lines.append(f"  {words:<34} {score}   against {about.against.parent}, paired")
    return lines


def _page(about: Attention, shown: pd.DataFrame, total: int, pictures: Path) -> str:
    title = f"{about.name}: where it looks"
    cards = [_card(row, about, pictures) for row in _by_error(shown).to_dict("records")]
    main = tag(
        "main",
        _chapter("Measures", tag("div", attention_tables(about), class_="card")),
        _chapter("Pictures", _legend(about, len(shown), total), _controls(about), _cards(cards)),
    )
    style = join([asset("style.css"), asset("gallery.css")])
    return document(title, "gallery.js", style, _header(title, about), main)


def _chapter(title: str, *parts: Html) -> Html:
    return tag("section", tag("h2", title), *parts, id=title.lower(), class_="chapter")


def _header(title: str, about: Attention) -> Html:
    rows, columns = about.grid
    counts = ", ".join(f"{count} {name}" for name, count in about.images.items())
    folds = ", ".join(about.folds)
    facts = {
        "method": about.method,
        "layer": f"{about.layer} ({rows} x {columns} cells at {about.image_size} px)",
        "data": about.data,
        "folds": folds,
        "images": counts,
        "made": about.date,
    }
    listed = [tag("div", tag("dt", key), tag("dd", value)) for key, value in facts.items()]
    words = "Validation images only, each by the model that has not seen its patient. "
    return tag(
        "header",
        tag("h1", title),
        tag("p", words, tag("strong", "Not for clinical use.")),
        tag("dl", *listed, class_="facts"),
        tag("nav", *[tag("a", name, href=f"#{name.lower()}") for name in ("Measures", "Pictures")]),
        tag("noscript", tag("p", "Sorting needs JavaScript; the worst errors stand first.")),
    )


def _legend(about: Attention, shown: int, total: int) -> Html:
    words = f"{shown} of {total} images. Left: the picture; right: the heat map of the predicted class, over what "
    words += "the network saw, from dark (little) to bright (most). "
    keys = [tag("span", "lungs", class_="key-lungs")] if any(k in about.lungs for k in ("truth", "segmented")) else []
    if "lesion_energy" in about.measures["positive"]:
        keys.append(tag("span", "known lesion", class_="key-lesion"))
    more = [" Outlines: ", *keys] if keys else []
    return tag("p", words, *more, class_="note outlines")


def _controls(about: Attention) -> Html:
    sorts = [tag("option", words, value=key, title=title) for key, words, title in SORTS]
    classes = [tag("option", "all", value="")] + [tag("option", name, value=name) for name in about.classes]
    return tag(
        "form",
        tag("label", "Order ", tag("select", *sorts, id="order")),
        tag("label", "True class ", tag("select", *classes, id="class")),
        tag("label", tag("input", type="checkbox", id="errors"), " errors only"),
        tag("output", id="count"),
        class_="controls",
    )


def _cards(cards: Sequence[Html]) -> Html:
    return tag("div", *cards, class_="gallery", id="gallery")


def _by_error(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["p_true", "id"], kind="stable")


def _card(row: dict[Any, Any], about: Attention, pictures: Path) -> Html:
    right = row["predicted"] == row["label"]
    lungs, border = row["predicted in_lungs"], row["predicted border"]
    known = bool(np.isfinite(lungs))
    outside = 1 - lungs if known else border
    empty = not np.isfinite(border)
    words = [
        tag("b", row["label"]),
        tag("span", f"{'predicted' if right else 'wrongly predicted'} {row['predicted']} {row['p_predicted']:.4f}"),
        tag("span", "an empty map: nothing speaks for this class" if empty else _attention(lungs, border, known)),
        tag("span", f"{row['id']}, fold {row['fold']}", class_="id"),
    ]
    if np.isfinite(row["positive pointing"]):
        hit = "points at the lesion" if row["positive pointing"] >= 0.5 else "points beside the lesion"
        words.insert(3, tag("span", f"map of {about.positive}: {hit}"))
    return tag(
        "figure",
        tag(
            "img",
            src=_uri(pictures / row["picture"]),
            alt=f"{row['label']}, predicted {row['predicted']}",
            width=452,
            height=224,
        ),
        tag("figcaption", *words),
        class_="card look" + ("" if right else " wrong"),
        data_label=row["label"],
        data_wrong="0" if right else "1",
        data_error=f"{row['p_true']:.6f}",
        data_confidence=f"{-row['p_predicted']:.6f}",
        data_doubt=f"{row['p_predicted']:.6f}",
        data_outside="" if empty else f"{-outside:.6f}",
    )


def _attention(lungs: float, border: float, known: bool) -> str:
    on = f"{border:.0%} on the border"
    return f"attention: {lungs:.0%} in the lungs, {on}" if known else f"attention: {on}"


def _uri(path: Path) -> Html:
    """A picture as a JPEG inside an address: a fifth of the PNG's size. Ready markup: base64 may look like a path."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    _, jpeg = cv2.imencode(".jpg", np.asarray(image), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return Html("data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode())
