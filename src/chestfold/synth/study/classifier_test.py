"""`chestfold synth classifier-test`: a classifier two-sample test of blended nodules against real ones (C2ST).

Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017. An AUC of 0.5: they cannot be told apart.

It is an experiment like any other: a data set of its own (input/NAME_c2st), a fold file, five folds grouped by
patient, out-of-fold scores with a bootstrap interval, in runs/NAME_c2st. The last epoch predicts, not the best one: to
choose by the validation score would make every figure a little larger than it is.

The control is the same test with all that blending may have changed in black: what it tells then, it tells by the
surroundings, which were chosen (there must be lung around a nodule), not by the blending.
"""

import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd

from chestfold.core.config import Experiment, Request
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, sha256_json, write_bytes, write_text
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate.results import Result, find_result
from chestfold.synth.blend.outline import with_margin
from chestfold.synth.blend.paste import Grey, box_of
from chestfold.synth.blend.seam import touched
from chestfold.synth.study.blended_set import Blends, Card, open_blends
from chestfold.train.run import run_request

SIDE = 50
"""Pixels of a cutting from a slice, with the nodule in its middle; as large as a LUNA16 patch."""
FOLDS = 5
RECIPE = {"backbone": "resnet18", "image_size": 64, "lr": 1e-3, "augment": "d4", "ema_decay": 0.99, "tta": "d4"}


def classifier_test(name: str, epochs: int, surroundings: bool = False) -> Result:
    """Train the classifier of input/NAME, or find it trained; its score "at_half", "auc" is the answer.

    Args:
        name: a set that `synth blend` has made.
        epochs: of training.
        surroundings: the control, input/NAME_surroundings: the nodule and all around it that was changed is black.

    Raises:
        InputError: NAME was not made by `synth blend`, or there is no real nodule whose place is known to compare with.
    """
    data = f"{name}_{'surroundings' if surroundings else 'c2st'}"
    _write_data(open_blends(name), data, surroundings)
    folds.make(open_index(data), data, FOLDS)
    exp = Experiment(data=data, epochs=epochs, average_last=1, **RECIPE)  # type: ignore[arg-type]
    run_request(Request(data, exp))
    return find_result(data)


def _write_data(blends: Blends, data: str, surroundings: bool) -> None:
    """The data set of the test, unless it is there; the declaration comes last, so a torn one is not taken for whole."""
    folder, origin = input_dir() / data, sha256_json(blends.about["sha256"])
    if (folder / "dataset.toml").exists():
        if origin not in (folder / "dataset.toml").read_text():
            raise InputError(f"{folder} was made of another {blends.folder.name}; remove it and runs/{data}")
        return
    real = blends.real[blends.real["box"] != ""]
    if not len(real):
        raise InputError(f"{blends.folder} holds no real nodule whose place is known: there is nothing to compare with")
    rows = []
    for truth, table in (("synthetic", blends.blended), ("real", real)):
        for image_id, group in zip(table["id"], table["group"], strict=True):
            rows.append({"id": image_id, "label": truth, "group": group})
            card = blends.card(image_id, truth)
            picture = cutting(hidden(card) if surroundings else card)
            write_bytes(folder / "images" / f"{image_id}.png", cv2.imencode(".png", picture)[1].tobytes())
    write_text(folder / "train.csv", pd.DataFrame(rows).to_csv(index=False))
    write_text(folder / "dataset.toml", _declaration(blends.folder.name, origin))


def hidden(card: Card) -> Card:
    """The same picture with the nodule, its margin and the band around the seam in black, real or not."""
    if card.mask is None:
        return card
    return replace(card, picture=np.where(touched(with_margin(card.mask)), 0, card.picture).astype(np.uint8))


def cutting(card: Card) -> Grey:
    """A square of `SIDE` pixels with the nodule in its middle, uint8; a smaller picture is taken whole.

    At the picture's border the square is moved inwards, for real nodules and for blended ones alike.
    """
    if min(card.picture.shape) <= SIDE or card.mask is None:
        return card.picture
    left, top, right, bottom = box_of(card.mask)
    starts = [(top + bottom - SIDE) // 2, (left + right - SIDE) // 2]
    row, column = (int(np.clip(start, 0, side - SIDE)) for start, side in zip(starts, card.picture.shape, strict=True))
    return card.picture[row : row + SIDE, column : column + SIDE]


def _declaration(name: str, origin: str) -> str:
    values = {
        "about": f"real nodules and those of {name}, to be told apart",
        "origin": f"made here: chestfold synth classifier-test {name} ({origin})",
        "classes": ["real", "synthetic"],
        "positive": "synthetic",
        "reader": "csv",
        "group_column": "group",
        "patient": "as in the hosts",
        "view": "patch",
    }
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
