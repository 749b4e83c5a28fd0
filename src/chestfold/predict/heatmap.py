"""The heat map of a prediction over its image, with what was predicted and the notice beneath."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from chestfold.core.files import sha256, write_bytes
from chestfold.data.channels import form_of
from chestfold.data.decode import decode_native
from chestfold.data.transforms.preprocess import preprocess_of, undo_frame
from chestfold.evaluate.fonts import Lettering, letter
from chestfold.explain.cam import BATCH, at_image_size, network_maps, normalised
from chestfold.explain.overlay import RGB, as_rgb, beside, captioned, fitted, overlay, png, scale_bar
from chestfold.predict.prediction import NOTICE, Prediction
from chestfold.predict.predictor import Predictor, ReadImage
from chestfold.predict.remarks import Kind, Remark
from chestfold.predict.trained_run import weights_hash

SHORTEST, LONGEST = 320, 640
"""Pixels of a panel's longer side: a smaller image is enlarged to the first, a larger one shrunk to the second."""
INKS: dict[Kind, RGB] = {Kind.UNLIKE: (255, 214, 80), Kind.DISAGREE: (255, 140, 255)}
"""Colours of remarks; the others are white."""
NAMED = 6
"""Classes in a caption at most, the most probable first."""
METHOD = "gradcam"
VERSION = "overlay-3"
"""Names how a heat map is made and drawn; a part of its file's name, by its hash."""


class HeatmapWriter:
    """Writes the heat maps of one predictor into one folder; `layer` "": the family's last.

    Raises:
        InputError: a network has no layer that maps can be made of; lists those that it has.
    """

    def __init__(self, predictor: Predictor, folder: Path, layer: str = "") -> None:
        self._predictor = predictor
        self._folder = folder
        self._layer = layer
        self._weights = weights_hash(predictor.name)
        self._lettering = letter(predictor.classes)
        for run in predictor.runs:
            form = form_of(run.exp)
            blank = run.images(np.zeros((1, *form.shape), form.dtype), [dict.fromkeys(run.exp.tabular, "")])
            network_maps(run.folds[0].networks[0], blank, np.zeros((1, 1), np.int64), METHOD, layer)

    def write(self, images: Sequence[tuple[Path, ReadImage]]) -> dict[Path, Path]:
        """Image -> its heat map, written now unless the same is there.

        The name ends in a hash of the image's content, the weights and the levels: another image of the same name has
        another, and the same prediction made again finds its heat map. Nothing is ever overwritten.
        """
        targets = {path: self._target(path, image) for path, image in images}
        missing = [(path, image) for path, image in images if not targets[path].exists()]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            labels = [image.prediction.label for _, image in batch]
            maps = mean_maps(self._predictor, [image for _, image in batch], labels, self._layer)
            for (path, image), heat in zip(batch, maps, strict=True):
                write_bytes(targets[path], png(self._draw(path, image.prediction, heat)))
        return targets

    def write_legend(self) -> None:
        """Say which class each number in the heat maps is, where no font here has the letters of the names."""
        self._lettering.write_legend(self._folder)

    def _target(self, path: Path, image: ReadImage) -> Path:
        about = f"{VERSION} {self._weights} {self._predictor.levels} {self._layer}"
        shown = "".join(self._lettering.shown.values())
        if shown != "".join(self._predictor.classes) or not shown.isascii():
            about += f" {shown}"  # another picture once a font is installed
        about += "".join(f" {name}={text}" for name, text in image.values.items())  # which change prediction and map
        about += "".join(f" {remark.text()}" for remark in image.prediction.remarks)
        return self._folder / f"{path.stem}-{sha256(image.digest.encode() + about.encode())[:8]}.png"

    def _draw(self, path: Path, prediction: Prediction, heat: np.ndarray) -> np.ndarray:
        """The image, the map over it, and the words beneath: uint8 RGB."""
        grey = decode_native(path.parent, path.name, *self._predictor.levels)
        lines = caption_lines(path.name, self._predictor.name, prediction, self._lettering)
        return picture(grey, heat, prediction, lines)


def picture(grey: np.ndarray, heat: np.ndarray, prediction: Prediction, lines: Sequence[tuple[str, RGB]]) -> np.ndarray:
    """An image (H, W), its map and a caption; the map of an image unlike the training data does not catch the eye."""
    faded = bool(prediction.out_of_distribution)
    plain = fitted(grey, SHORTEST, LONGEST)
    panels = beside(as_rgb(plain), overlay(plain, heat, faded), scale_bar(len(plain), faded))
    return captioned(panels, lines)


def mean_maps(predictor: Predictor, images: Sequence[ReadImage], labels: Sequence[str], layer: str = "") -> np.ndarray:
    """The mean map of the networks that answered, float32 (N, S, S), each's largest value 1.

    Each network's map counts alike: its scale says nothing of how much it matters. `labels`: the class of each map.
    """
    size = max(form.size for form in images[0].pixels)
    classes = np.array([[predictor.classes.index(label)] for label in labels])
    answering = [predictor.answering(image.prediction.seen) for image in images]
    total = np.zeros((len(images), size, size), np.float32)
    for number, run in enumerate(predictor.runs):
        pixels = np.stack([image.pixels[form_of(run.exp)] for image in images])
        inputs = run.images(pixels, [image.values for image in images])
        for position, fold in enumerate(run.folds):
            rows = np.array([n for n, folds in enumerate(answering) if position in folds[number]], np.int64)
            if not len(rows):
                continue
            for network in fold.networks:
                _, maps = network_maps(network, inputs.take(rows), classes[rows], METHOD, layer)
                total[rows] += undo_frame(preprocess_of(run.exp), at_image_size(maps[:, 0], size))
    return normalised(total)


def caption_lines(
    file: str, name: str, prediction: Prediction, lettering: Lettering | None = None, label: str = ""
) -> list[tuple[str, RGB]]:
    """File, classes with their probabilities, every remark, what the map is of, model and date, the notice.

    Nothing of a file's header. Each line with its colour. `label`: the class of the map, if not the most probable one.
    """
    lettering = lettering or letter(list(prediction.probabilities))
    lines = [lettering.text(file), class_line(prediction, lettering)]
    white: RGB = (255, 255, 255)
    drawn = [(line, white) for line in lines]
    for remark in prediction.remarks:
        drawn.append((_remark_line(remark, lettering), INKS.get(remark.kind, white)))
    what = f"Heat map of {lettering.text(label or prediction.label)}; lines at 50 and 80 % of its maximum"
    drawn.append((what, white))
    drawn.append((f"{lettering.text(name)}, {date.today().isoformat()}. {NOTICE}.", white))
    return drawn


def class_line(prediction: Prediction, lettering: Lettering) -> str:
    """The classes, the most probable first with the spread of its folds."""
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    words = [f"{lettering.text(label)} {probability:.3f}" for label, probability in ranked[:NAMED]]
    if len(prediction.folds) > 1:
        low, high = prediction.spread[prediction.label]
        words[0] += f" (folds {low:.3f}-{high:.3f})"
    if len(ranked) > NAMED:
        words.append(f"{len(ranked) - NAMED} more")
    line = ", ".join(words)
    if prediction.decision == prediction.label:
        return line
    return f"{line}; decided: {lettering.text(prediction.decision)}"


def _remark_line(remark: Remark, lettering: Lettering) -> str:
    shown = replace(remark, values={key: lettering.text(value) for key, value in remark.values.items()})
    return shown.text()
