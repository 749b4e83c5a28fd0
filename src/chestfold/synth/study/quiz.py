"""`chestfold quiz`: one HTML page on which readers tell two kinds of image apart; it needs no network.

The page counts, and adds the ROC curve: the figures of every possible count are in it, as `reader_figures` has them.
"""

import base64
import hashlib
import json
from dataclasses import astuple, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import require_file, sha256_json, write_text
from chestfold.synth.gan.images import png
from chestfold.synth.study.reader_figures import CALLED_FROM, RATINGS, against_chance, d_prime, proportion

LARGEST_SIDE = 1024
"""Pixels; a larger image is scaled down by area."""
LOSSLESS_PIXELS = 512 * 512
"""An image with more of them goes into the page as a JPEG of `QUALITY`."""
QUALITY = 92


@dataclass(frozen=True)
class Question:
    """An image, uint8 (H, W), and what it is. `mask`: bool (H, W), where the lesion is; None: nobody knows.

    `model`: a model's probability of the signal, where the quiz has a model.
    """

    id: str
    truth: str
    image: np.ndarray
    mask: np.ndarray | None = None
    model: float | None = None


@dataclass(frozen=True)
class Quiz:
    """A quiz about the data set `name`. `classes`: noise and signal, as the CSV has them; half of the questions each.

    `kind`: real against synthetic nodules, two classes, or whether a label is there. `blind`: nothing is said before
    the end. `model`: name of the run whose answers are shown at the end.
    """

    name: str
    kind: Literal["synthetic", "classes", "label"]
    classes: tuple[str, str]
    questions: list[Question]
    blind: bool = False
    model: str = ""


def half_of(count: int) -> int:
    """Images of each kind; `InputError` where `count` is not even."""
    if count < 2 or count % 2:
        raise InputError(f"--count {count}: an even number is needed, half of each kind")
    return count // 2


def write_quiz(quiz: Quiz, path: Path) -> None:
    """Write the page; `InputError` where `path` cannot be a file."""
    require_file(path)
    write_text(path, page(quiz))


def page(quiz: Quiz) -> str:
    """The page as text: template, style and script of this package, images, figures, and the answers."""
    script = _asset("quiz_figures.js") + _asset("quiz.js")
    data = {
        "name": quiz.name,
        "kind": quiz.kind,
        "classes": quiz.classes,
        "blind": quiz.blind,
        "model": quiz.model,
        "ratings": RATINGS,
        "calledFrom": CALLED_FROM,
        "images": [_embed(question) for question in quiz.questions],
        "figures": figures_of_outcomes(len(quiz.questions) // 2),
        "answers": encode_answers(quiz.questions),
    }
    data["key"] = sha256_json(data)[:16]
    parts = {
        "{{policy}}": _policy(script),
        "{{style}}": _asset("quiz.css"),
        "{{data}}": json.dumps(data).replace("<", "\\u003c"),  # nothing in it can end its element
        "{{script}}": script,
    }
    text = _asset("quiz.html")
    for place, part in parts.items():
        text = text.replace(place, part)
    return text


def _asset(name: str) -> str:
    return files("chestfold.synth.study").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Only this script runs, and nothing is loaded from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"


def shrunk(image: np.ndarray) -> np.ndarray:
    """An image, uint8 (H, W), with sides of at most `LARGEST_SIDE`."""
    rows, columns = image.shape
    share = LARGEST_SIDE / max(rows, columns)
    if share >= 1:
        return image
    size = max(round(columns * share), 1), max(round(rows * share), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _embed(question: Question) -> dict[str, Any]:
    """Lossless where that is not too large: a JPEG smooths what a reader may look for."""
    height, width = question.image.shape
    if question.image.size <= LOSSLESS_PIXELS:
        kind, data = "png", png(question.image)
    else:
        encoded = cv2.imencode(".jpg", question.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        kind, data = "jpeg", encoded.tobytes()
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"width": width, "height": height, "uri": uri}


def figures_of_outcomes(half: int) -> dict[str, list[Any]]:
    """The figures that a reader of `half` images of each kind can reach, [value, low, high] each.

    `share` by the number of right answers about one kind; `accuracy` and `p_chance` (a number) by that of all;
    `d_prime` by hits and false alarms.
    """
    of_one = range(half + 1)
    of_all = range(2 * half + 1)
    return {
        "share": [astuple(proportion(right, half)) for right in of_one],
        "accuracy": [astuple(proportion(right, 2 * half)) for right in of_all],
        "p_chance": [against_chance(right, 2 * half) for right in of_all],
        "d_prime": [[astuple(d_prime(hits, half, alarms, half)) for alarms in of_one] for hits in of_one],
    }


def encode_answers(questions: list[Question]) -> str:
    """Ids, truths, outlines and the model's answers in base64: nobody reads them by chance in the source; no secret."""
    answers = []
    for question in questions:
        path = "" if question.mask is None else outline(question.mask)
        answers.append([question.id, question.truth, path, question.model])
    return base64.b64encode(json.dumps(answers).encode()).decode()


def outline(mask: np.ndarray) -> str:
    """The edges of a mask's pixels, bool (H, W), as an SVG path, in pixels of the image."""
    padded = np.pad(mask, 1).astype(np.int8)
    steps = []
    for row, column in np.argwhere(np.diff(padded, axis=0)[:, 1:-1]).tolist():
        steps.append(f"M{column} {row}h1")
    for row, column in np.argwhere(np.diff(padded, axis=1)[1:-1]).tolist():
        steps.append(f"M{column} {row}v1")
    return "".join(steps)
