"""`chestfold synth quiz`: one HTML page on which readers tell real from synthetic; it needs no network.

The page only counts: the figures of every possible outcome are in it, as `reader_figures` gives them.
"""

import base64
import hashlib
import json
from dataclasses import astuple
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.files import write_text
from chestfold.core.rng import generator
from chestfold.synth.blend.poisson import Mask
from chestfold.synth.gan.images import png
from chestfold.synth.study.blended_set import BlendedSet, Sample, open_blended_set
from chestfold.synth.study.reader_figures import against_chance, d_prime, proportion


def write_quiz(name: str, path: Path, count: int, seed: int) -> None:
    """Write the page of `count` images, half of them real, in a seeded order.

    Raises:
        InputError: an odd number, more than there are, or `path` cannot be a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    write_text(path, page(draw_samples(open_blended_set(name), count, seed), name))


def draw_samples(blended_set: BlendedSet, count: int, seed: int) -> list[Sample]:
    """Half real, half synthetic, shuffled. No nodule is shown twice: where it was found, and where it was put."""
    if count < 2 or count % 2:
        raise InputError(f"--count {count}: an even number is needed, half real and half synthetic")
    half = count // 2
    rng = generator("quiz", seed)
    synthetic = blended_set.blended.iloc[rng.permutation(len(blended_set.blended))[:half]]
    others = blended_set.real[~blended_set.real["real"].isin(synthetic["parents"])]
    real = others.iloc[rng.permutation(len(others))[:half]]
    samples = []
    for truth, chosen in (("synthetic", synthetic), ("real", real)):
        if len(chosen) < half:
            there = f"{blended_set.folder} has {len(chosen)} {truth} images for this quiz"
            raise InputError(f"{there}; ask for --count {2 * len(chosen)}, or blend more")
        samples += [blended_set.sample(image_id, truth) for image_id in chosen["id"]]
    return [samples[n] for n in rng.permutation(count)]


def page(samples: list[Sample], name: str) -> str:
    """The page as text: template, style and script of this package, images, figures, and the answers."""
    script = _asset("quiz.js")
    data = {
        "name": name,
        "images": [_embed(sample) for sample in samples],
        "figures": figures_of_outcomes(len(samples) // 2),
        "answers": encode_answers(samples),
    }
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


def _embed(sample: Sample) -> dict[str, Any]:
    """Lossless: a JPEG would smooth real and synthetic images alike."""
    height, width = sample.image.shape
    uri = "data:image/png;base64," + base64.b64encode(png(sample.image)).decode()
    return {"width": width, "height": height, "uri": uri}


def figures_of_outcomes(half: int) -> dict[str, list[Any]]:
    """The figures that a reader of `half` real and `half` synthetic images can reach, [value, low, high] each.

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


def encode_answers(samples: list[Sample]) -> str:
    """Ids, truths and outlines in base64, so that nobody reads them by chance in the page's source; no secret."""
    answers = []
    for sample in samples:
        answers.append([sample.id, sample.truth, "" if sample.mask is None else outline(sample.mask)])
    return base64.b64encode(json.dumps(answers).encode()).decode()


def outline(mask: Mask) -> str:
    """The edges of a mask's pixels as an SVG path, in pixels of the image."""
    padded = np.pad(mask, 1).astype(np.int8)
    steps = []
    for row, column in np.argwhere(np.diff(padded, axis=0)[:, 1:-1]).tolist():
        steps.append(f"M{column} {row}h1")
    for row, column in np.argwhere(np.diff(padded, axis=1)[1:-1]).tolist():
        steps.append(f"M{column} {row}v1")
    return "".join(steps)
