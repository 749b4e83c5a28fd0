"""The heat map of an answer over its picture, with what was said and the notice beneath."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chestfold.core.files import sha256, write_bytes
from chestfold.data.decode import decode_native
from chestfold.data.loader import plain_batches
from chestfold.data.transforms.preprocess import preprocess_of, undo_frame
from chestfold.explain.cam import at_image_size, normalised, open_mapper
from chestfold.explain.pictures import STRENGTH, png
from chestfold.models.runner import Runner
from chestfold.predict.predictor import NOTICE, Prediction, Predictor, ReadImage
from chestfold.predict.trained_run import TrainedRun, weights_hash

LONGEST, SHORTEST = 512, 224
"""Pixels of a panel's longer side: no more, and a smaller picture is enlarged to the second."""
TEXT, GAP = 14, 4
BATCH = 16
"""Pictures a backward pass, which takes much more memory than a prediction."""
METHOD = "gradcam"
PAINTED = "overlay-1"
"""Names how a heat map is made and drawn; a part of its file's name, by its hash."""


class HeatmapWriter:
    """Writes the heat maps of one predictor into one folder; `layer` "": the family's last.

    Raises:
        InputError: a network has no layer that maps can be made of; lists those that it has.
    """

    def __init__(self, predictor: Predictor, folder: Path, layer: str = "") -> None:
        self._predictor, self._folder, self._layer = predictor, folder, layer
        self._weights = weights_hash(predictor.name)
        for run in predictor.runs:
            blank = np.zeros((1, run.exp.image_size, run.exp.image_size), np.uint8)
            maps_of(run, run.folds[0].networks[0], blank, np.zeros((1, 1), np.int64), layer)

    def write(self, seen: Sequence[tuple[Path, ReadImage]]) -> dict[Path, Path]:
        """Picture -> its heat map, written now unless the same is there.

        The name ends in a hash of the picture's content, the weights and the levels: another picture of the same name
        has another, and the same question asked again finds its prediction. Nothing is ever overwritten.
        """
        targets = {path: self._target(path) for path, _ in seen}
        missing = [(path, image) for path, image in seen if not targets[path].exists()]
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            maps = mean_maps(self._predictor, [image for _, image in some], self._layer)
            for (path, image), heat in zip(some, maps, strict=True):
                write_bytes(targets[path], png(self._picture(path, image, heat)))
        return targets

    def _target(self, path: Path) -> Path:
        about = f"{PAINTED} {self._weights} {self._predictor.levels} {self._layer}".encode()
        return self._folder / f"{path.stem}-{sha256(path.read_bytes() + about)[:8]}.png"

    def _picture(self, path: Path, image: ReadImage, heat: np.ndarray) -> np.ndarray:
        """Picture, overlay, and the words beneath: uint8 RGB."""
        grey = fitted(decode_native(path.parent, path.name, *self._predictor.levels))
        gap = np.zeros((len(grey), GAP, 3), np.uint8)
        panels = np.hstack([np.repeat(grey[:, :, None], 3, axis=2), gap, overlay(grey, heat)])
        return captioned(panels, caption_lines(self._predictor.name, image.prediction))


def mean_maps(predictor: Predictor, seen: Sequence[ReadImage], layer: str = "") -> np.ndarray:
    """The mean of all networks' maps of the classes that were answered, float32 (N, S, S), each's largest value 1.

    Each network's map counts alike, whatever its scale: how hot a map is says nothing of how much it matters.
    """
    size = max(seen[0].pixels)
    numbers = np.array([[predictor.classes.index(image.prediction.label)] for image in seen])
    total = np.zeros((len(seen), size, size), np.float32)
    for run in predictor.runs:
        pixels = np.stack([image.pixels[run.exp.image_size] for image in seen])
        for runner in [network for fold in run.folds for network in fold.networks]:
            maps = at_image_size(maps_of(run, runner, pixels, numbers, layer), size)
            total += undo_frame(preprocess_of(run.exp), maps)
    return normalised(total)


def maps_of(run: TrainedRun, runner: Runner, pixels: np.ndarray, numbers: np.ndarray, layer: str) -> np.ndarray:
    """One network's maps, float32 (N, rows, columns), of pictures uint8 (N, S, S) and classes (N, 1)."""
    (batch,) = plain_batches(run.images(pixels), len(pixels))
    images = runner.images(batch)
    with open_mapper(runner, images, METHOD, layer) as mapper:
        return mapper(images, numbers)[:, 0]


def fitted(grey: np.ndarray) -> np.ndarray:
    """A picture (H, W) scaled, its aspect kept, until its longer side lies within `SHORTEST` and `LONGEST`."""
    longer = max(grey.shape)
    factor = np.clip(longer, SHORTEST, LONGEST) / longer
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return grey if factor == 1 else cv2.resize(grey, (width, height), interpolation=way)


def overlay(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map (S, S) over a picture (H, W), stretched as the picture was for the network: uint8 RGB (H, W, 3)."""
    warm = np.clip(cv2.resize(heat, grey.shape[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = STRENGTH * warm[:, :, None]
    return (grey[:, :, None] * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def caption_lines(name: str, prediction: Prediction) -> list[str]:
    """What stands beneath: the answer, the word on ood_score, who answered, the notice. Nothing of a file's header."""
    low, high = prediction.spread[prediction.label]
    spread = f", folds {low:.3f}-{high:.3f}" if len(prediction.folds) > 1 else ""
    unlike = ["out of distribution: unlike the training data"] if prediction.out_of_distribution else []
    return [f"{prediction.label} {prediction.probability:.3f}{spread}", *unlike, name, f"{NOTICE}."]


def captioned(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """An RGB image with lines of text beneath it, widened in black where they need it."""
    font = ImageFont.load_default(TEXT)
    width = max(image.shape[1], *(int(font.getlength(line)) + 2 * GAP for line in lines))
    height = len(lines) * (TEXT + GAP) + 2 * GAP
    canvas = Image.new("RGB", (width, image.shape[0] + height))
    canvas.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(canvas)
    for n, line in enumerate(lines):
        draw.text((GAP, image.shape[0] + GAP + n * (TEXT + GAP)), line, fill="white", font=font)
    return np.asarray(canvas)
