"""`chestfold synth quiz`: one HTML page on which readers tell real from synthetic; it needs no network."""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import sha256, write_text
from chestfold.core.rng import generator
from chestfold.synth.blend.poisson import Mask
from chestfold.synth.study.blended_set import Blends, Card, open_blends


def write_quiz(name: str, path: Path, count: int, seed: int) -> None:
    """Write the page of `count` pictures, half of them real, in a seeded order.

    Raises:
        InputError: an odd number, more than there are, or `path` cannot be a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    write_text(path, page(draw_cards(open_blends(name), count, seed), name))


def draw_cards(blends: Blends, count: int, seed: int) -> list[Card]:
    """Half real, half synthetic, shuffled. No nodule is shown twice: once where it was found, once where it was put."""
    if count < 2 or count % 2:
        raise InputError(f"--count {count}: an even number is needed, half real and half synthetic")
    half, rng = count // 2, generator("quiz", seed)
    synthetic = blends.blended.iloc[rng.permutation(len(blends.blended))[:half]]
    shown = set(";".join(synthetic["parents"]).split(";")) if not blends.about["nodules"]["generator"] else set()
    strangers = blends.real[~blends.real["real"].isin(shown)]
    real = strangers.iloc[rng.permutation(len(strangers))[:half]]
    for kind, found in (("synthetic", synthetic), ("real", real)):
        if len(found) < half:
            there = f"{blends.folder} has {len(found)} {kind} pictures for this quiz"
            raise InputError(f"{there}; ask for --count {2 * len(found)}, or blend more")
    cards = [blends.card(i, "synthetic") for i in synthetic["id"]]
    cards += [blends.card(i, "real") for i in real["id"]]
    return [cards[n] for n in rng.permutation(count)]


def page(cards: list[Card], name: str) -> str:
    """The page as text: template, style and script of this package, pictures, and the answers not in plain sight."""
    script, style = _asset("quiz.js"), _asset("quiz.css")
    data = json.dumps({"name": name, "pictures": [_picture(c) for c in cards], "sealed": seal(cards, name)})
    parts = {
        "{{policy}}": _policy(script),
        "{{style}}": style,
        "{{data}}": data.replace("<", "\\u003c"),  # nothing in it can end the element that it stands in
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


def _picture(card: Card) -> dict[str, Any]:
    """Lossless: a JPEG would smooth real and synthetic pictures alike."""
    _, png = cv2.imencode(".png", card.picture)
    height, width = card.picture.shape
    uri = "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()
    return {"width": width, "height": height, "uri": uri}


def seal(cards: list[Card], name: str) -> dict[str, str]:
    """Truths, ids and outlines so that nobody reads them by chance in the page's source; it is no secret."""
    plain = [[c.id, c.truth, outline(c.mask) if c.mask is not None else ""] for c in cards]
    key = sha256(name.encode())
    data = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    pad = np.resize(np.frombuffer(bytes.fromhex(key), np.uint8), len(data))
    return {"key": key, "text": base64.b64encode((data ^ pad).tobytes()).decode()}


def outline(mask: Mask) -> str:
    """The edges of a mask's pixels as an SVG path, in pixels of the picture."""
    padded = np.pad(mask, 1)
    steps = []
    for across in (True, False):
        grid = padded if across else padded.T
        rows, columns = np.nonzero(grid[1:, 1:-1] != grid[:-1, 1:-1])
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            steps.append(f"M{column} {row}h1" if across else f"M{row} {column}v1")
    return "".join(steps)
