"""`chestfold synth classifier-test`: a classifier two-sample test of blended nodules against real ones (C2ST).

Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017. An AUC of 0.5: they cannot be told apart.

It is an experiment like any other: a data set of its own (input/NAME_c2st), a fold file, five folds grouped by
patient, out-of-fold scores with a bootstrap interval, in runs/NAME_c2st. The last epoch predicts, not the best one: to
choose by the validation score would make every figure a little larger than it is.

The control is the same test with all that blending may have changed in black: what it tells then, it tells by the
surroundings, which were chosen (there must be lung around a nodule), not by the blending.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from chestfold.core.config import Experiment, Request
from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, sha256_json, write_bytes, write_text
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.declaration import declaration_text
from chestfold.evaluate.results import Result, find_result
from chestfold.synth.blend.paste import Grey
from chestfold.synth.blend.poisson import bounding_box
from chestfold.synth.blend.seam import changed_pixels
from chestfold.synth.blend.segment import with_margin
from chestfold.synth.gan.images import png
from chestfold.synth.study.blended_set import BlendedSet, Sample, open_blended_set
from chestfold.train.run import run_request

SIDE = 50
"""Pixels of a crop from a slice, with the nodule in its middle; as large as a LUNA16 patch."""
FOLDS = 5
RECIPE = Experiment(backbone="resnet18", image_size=64, lr=1e-3, augment="d4", ema_decay=0.99, tta="d4", average_last=1)


def classifier_test(name: str, epochs: int, surroundings: bool = False) -> Result:
    """Train the classifier of input/NAME, or find it trained; its score "at_half", "auc" is the answer.

    Args:
        name: a set that `synth blend` has made.
        epochs: of training.
        surroundings: the control, input/NAME_surroundings: the nodule and all around it that was changed is black.

    Raises:
        InputError: NAME was not made by `synth blend`, or there is no real nodule whose place is known to compare with.
    """
    data = f"{name}_surroundings" if surroundings else f"{name}_c2st"
    write_data(open_blended_set(name), data, surroundings)
    folds.make(open_index(data), data, FOLDS)
    run_request(Request(data, replace(RECIPE, data=data, epochs=epochs)))
    return find_result(data)


def write_data(blended_set: BlendedSet, data: str, surroundings: bool) -> None:
    """The data set of the test, unless it is there; dataset.toml is written last: without it, it is incomplete."""
    folder = input_dir() / data
    origin = sha256_json(blended_set.about["sha256"])
    declaration = folder / "dataset.toml"
    if declaration.exists():
        if origin not in declaration.read_text():
            raise InputError(f"{folder} was made of another {blended_set.folder.name}; remove it and runs/{data}")
        return
    real = blended_set.real[blended_set.real["box"] != ""]
    if real.empty:
        raise InputError(
            f"{blended_set.folder} holds no real nodule whose place is known: there is nothing to compare with"
        )
    rows = []
    for truth, table in (("synthetic", blended_set.blended), ("real", real)):
        for image_id, group in zip(table["id"], table["group"], strict=True):
            sample = blended_set.sample(image_id, truth)
            image = crop(hide_changes(sample) if surroundings else sample)
            write_bytes(folder / "images" / f"{image_id}.png", png(image))
            rows.append({"id": image_id, "label": truth, "group": group})
    write_text(folder / "train.csv", pd.DataFrame(rows).to_csv(index=False))
    name = blended_set.folder.name
    values = {
        "about": f"real nodules and those of {name}, to be told apart",
        "origin": f"made here: chestfold synth classifier-test {name} ({origin})",
        "classes": ["real", "synthetic"],
        "positive": "synthetic",
        "reader": "csv",
        "group": "group",
        "patient": "as in the hosts",
        "view": "patch",
    }
    write_text(declaration, declaration_text(values))


def hide_changes(sample: Sample) -> Sample:
    """The same image with the nodule, its margin and the band around the seam in black, real or not."""
    if sample.mask is None:
        return sample
    hidden = changed_pixels(with_margin(sample.mask))
    return replace(sample, image=np.where(hidden, 0, sample.image).astype(np.uint8))


def crop(sample: Sample) -> Grey:
    """A square of `SIDE` pixels with the nodule in its middle, uint8; of a smaller image all.

    At the image's border the square is moved inwards, for real nodules and for blended ones alike.
    """
    if min(sample.image.shape) <= SIDE or sample.mask is None:
        return sample.image
    starts = []
    for box, length in zip(bounding_box(sample.mask), sample.image.shape, strict=True):
        centred = (box.start + box.stop - SIDE) // 2
        starts.append(int(np.clip(centred, 0, length - SIDE)))
    top, left = starts
    return sample.image[top : top + SIDE, left : left + SIDE]
