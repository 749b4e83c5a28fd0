"""The heat map of a prediction over its image, with what was predicted and the notice beneath."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from chestfold.core.files import sha256, write_bytes
from chestfold.data.channels import form_of
from chestfold.data.decode import decode_native
from chestfold.data.transforms.preprocess import preprocess_of, undo_frame
from chestfold.evaluate.fonts import Lettering, letter, pillow_font
from chestfold.explain.cam import BATCH, at_image_size, network_maps, normalised
from chestfold.explain.overlay import GAP, as_rgb, beside, overlay, png
from chestfold.predict.predictor import NOTICE, Prediction, Predictor, ReadImage
from chestfold.predict.trained_run import Values, weights_hash

LONGEST, SHORTEST = 512, 224
"""Pixels of a panel's longer side: no more, and a smaller image is enlarged to the second."""
TEXT = 14
METHOD = "gradcam"
VERSION = "overlay-2"
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
        targets = {path: self._target(path, image.values) for path, image in images}
        missing = [(path, image) for path, image in images if not targets[path].exists()]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            maps = mean_maps(self._predictor, [image for _, image in batch], self._layer)
            for (path, image), heat in zip(batch, maps, strict=True):
                write_bytes(targets[path], png(self._draw(path, image.prediction, heat)))
        return targets

    def write_legend(self) -> None:
        """Say which class each number in the heat maps is, where no font here has the letters of the names."""
        self._lettering.write_legend(self._folder)

    def _target(self, path: Path, values: Values) -> Path:
        about = f"{VERSION} {self._weights} {self._predictor.levels} {self._layer}"
        shown = "".join(self._lettering.shown.values())
        if shown != "".join(self._predictor.classes) or not shown.isascii():
            about += f" {shown}"  # another picture once a font is installed
        about += "".join(f" {name}={text}" for name, text in values.items())  # which change prediction and map
        return self._folder / f"{path.stem}-{sha256(path.read_bytes() + about.encode())[:8]}.png"

    def _draw(self, path: Path, prediction: Prediction, heat: np.ndarray) -> np.ndarray:
        """The image, the map over it, and the words beneath: uint8 RGB."""
        grey = fitted(decode_native(path.parent, path.name, *self._predictor.levels))
        lines = caption_lines(self._predictor.name, prediction, self._lettering)
        return captioned(beside(as_rgb(grey), overlay(grey, heat)), lines)


def mean_maps(predictor: Predictor, images: Sequence[ReadImage], layer: str = "") -> np.ndarray:
    """The mean of all networks' maps of the predicted classes, float32 (N, S, S), each's largest value 1.

    Each network's map counts alike: its scale says nothing of how much it matters.
    """
    size = max(form.size for form in images[0].pixels)
    classes = np.array([[predictor.classes.index(image.prediction.label)] for image in images])
    total = np.zeros((len(images), size, size), np.float32)
    for run in predictor.runs:
        pixels = np.stack([image.pixels[form_of(run.exp)] for image in images])
        inputs = run.images(pixels, [image.values for image in images])
        for fold in run.folds:
            for network in fold.networks:
                _, maps = network_maps(network, inputs, classes, METHOD, layer)
                total += undo_frame(preprocess_of(run.exp), at_image_size(maps[:, 0], size))
    return normalised(total)


def fitted(grey: np.ndarray) -> np.ndarray:
    """An image (H, W) scaled, its aspect kept, until its longer side is between `SHORTEST` and `LONGEST`."""
    longer = max(grey.shape)
    factor = np.clip(longer, SHORTEST, LONGEST) / longer
    if factor == 1:
        return grey
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST)


def caption_lines(name: str, prediction: Prediction, lettering: Lettering | None = None) -> list[str]:
    """The prediction, whether it is out of distribution, the model, the notice. Nothing of a file's header."""
    lettering = lettering or letter(list(prediction.probabilities))
    line = f"{lettering.text(prediction.label)} {prediction.probability:.3f}"
    if len(prediction.folds) > 1:
        low, high = prediction.spread[prediction.label]
        line += f", folds {low:.3f}-{high:.3f}"
    lines = [line, lettering.text(name), f"{NOTICE}."]
    if prediction.out_of_distribution:
        lines.insert(1, "out of distribution: unlike the training data")
    return lines


def captioned(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """An RGB image with lines of text beneath it, widened in black where they need it."""
    fonts = [pillow_font(line, TEXT) for line in lines]
    lengths = [int(font.getlength(line)) for font, line in zip(fonts, lines, strict=True)]
    width = max(image.shape[1], *(length + 2 * GAP for length in lengths))
    height = len(lines) * (TEXT + GAP) + 2 * GAP
    canvas = Image.new("RGB", (width, len(image) + height))
    canvas.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(canvas)
    for n, line in enumerate(lines):
        draw.text((GAP, len(image) + GAP + n * (TEXT + GAP)), line, fill="white", font=fonts[n])
    return np.asarray(canvas)
