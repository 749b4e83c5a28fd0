"""Predicting single images with trained folds: class, probability, the folds' spread, out of distribution or not.

from chestfold import Predictor
prediction = Predictor("exp021")("xray.jpeg")
print(prediction.label, prediction.probability, prediction.spread, prediction.out_of_distribution)

Not for clinical use.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.decode import decode, resize
from chestfold.data.dicom import require_window
from chestfold.models.runner import PREDICT_BATCH
from chestfold.predict.trained_run import load_members

NOTICE = "Not for clinical use"

Levels = tuple[tuple[int, int] | None, str]
"""A declared range or none, and the name of a CT window or none."""


@dataclass(frozen=True)
class Prediction:
    """What the folds say of one image. `folds`: a row for each fold, class -> probability."""

    probabilities: dict[str, float]
    folds: tuple[dict[str, float], ...]
    ood_score: float | None
    """How far from the training images, over the distance within which 95 % of the validation images lie; None where
    it cannot be told."""
    no_lungs: str = ""
    """Why the lungs were not found, where the networks want them cut out; the image is left unmasked then."""

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return self.probabilities[self.label]

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Class -> the lowest and the highest probability that a fold gives it."""
        return {c: (min(f[c] for f in self.folds), max(f[c] for f in self.folds)) for c in self.probabilities}

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the image is unlike the training data; None where it cannot be told."""
        return None if self.ood_score is None else self.ood_score > 1


class Predictor:
    """All finished folds of a run, or of an ensemble's members; call it with an image.

    Args:
        name: a run with its checkpoints in runs/, or an ensemble of such runs.
        value_range: of 16-bit and DICOM pictures: the values that are black and white; else as the data set declares.
        window: of DICOM files: the name of a CT window; else as the data set declares.

    Raises:
        InputError: there is no finished fold, a checkpoint is damaged, or the ensemble's blend cannot be had for one.
    """

    def __init__(self, name: str, value_range: tuple[int, int] | None = None, window: str = "") -> None:
        require_window(window)
        if value_range and (window or value_range[0] == value_range[1]):
            raise InputError("give either a CT window or a range of two different numbers")
        self.name = name
        self._given: Levels = (value_range, window)
        self.runs, self._blend = load_members(name)
        self.classes = self.runs[0].classes

    def __call__(self, image: str | Path | np.ndarray) -> Prediction:
        """What the folds say of a file of any format, or of grey pixels uint8 (H, W), 0 black to 255 white.

        Raises:
            InputError: the file cannot be read.
        """
        return self.predictions([self.pixels(image)])[0]

    def many(self, paths: Sequence[Path]) -> "Iterator[list[tuple[Path, ReadImage | InputError]]]":
        """Files by the batch, in order, each with its prediction, or with the reason why it was not read."""
        _ = self.levels  # a data set that is not declared here is one complaint, not one for each file
        batches = [list(paths[start : start + PREDICT_BATCH]) for start in range(0, len(paths), PREDICT_BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoding = [pool.submit(_try_to_read, self.pixels, path) for path in batches[0]] if batches else []
            for n, batch in enumerate(batches):
                decoded = [future.result() for future in decoding]
                if n + 1 < len(batches):  # decoded while this batch is predicted
                    decoding = [pool.submit(_try_to_read, self.pixels, path) for path in batches[n + 1]]
                yield list(zip(batch, self._predicted(decoded), strict=True))

    def _predicted(self, decoded: "list[Pixels | InputError]") -> "list[ReadImage | InputError]":
        """Each image with its prediction; an error stays what it is."""
        read = [pixels for pixels in decoded if not isinstance(pixels, InputError)]
        made = iter(self.predictions(read))
        return [image if isinstance(image, InputError) else ReadImage(image, next(made)) for image in decoded]

    def predictions(self, images: "list[Pixels]") -> list[Prediction]:
        """What the folds say of decoded images."""
        if not images:
            return []
        of_runs = [run.predict(np.stack([pixels[run.exp.image_size] for pixels in images])) for run in self.runs]
        members = np.stack([run.probs for run in of_runs])
        scores = np.median(np.concatenate([run.ood_scores for run in of_runs]), axis=0)
        whole = _summing_to_one(self._blend(members.mean(axis=1)))
        folds = [_summing_to_one(self._blend(members[:, f])) for f in range(members.shape[1])]
        made = []
        for n in range(len(images)):
            reasons = [run.no_lungs[n] for run in of_runs if run.no_lungs[n]]
            made.append(
                Prediction(
                    probabilities=self._named(whole[n]),
                    folds=tuple(self._named(fold[n]) for fold in folds),
                    ood_score=None if np.isnan(scores[n]) else float(scores[n]),
                    no_lungs=reasons[0] if reasons else "",
                )
            )
        return made

    def _named(self, row: np.ndarray) -> dict[str, float]:
        return {name: float(p) for name, p in zip(self.classes, row, strict=True)}

    def pixels(self, image: str | Path | np.ndarray) -> "Pixels":
        """Side -> the picture at that size, for every size that a member wants."""
        sizes = {run.exp.image_size for run in self.runs}
        if isinstance(image, np.ndarray):
            return {size: _from_array(image, size) for size in sizes}
        path = Path(image)
        return {size: decode(path.parent, path.name, size, *self.levels) for size in sizes}

    @cached_property
    def levels(self) -> Levels:
        """What is black and white in 16-bit and DICOM pictures: as given, else as the data set declares."""
        if any(self._given):
            return self._given
        return find_dataset(self.runs[0].exp.data).levels


Pixels = dict[int, np.ndarray]
"""Side -> uint8 (side, side)."""


@dataclass(frozen=True)
class ReadImage:
    """An image that was read: its pixels, and what the folds say of it."""

    pixels: Pixels
    prediction: Prediction


def _try_to_read(read: Callable[[Path], Pixels], path: Path) -> Pixels | InputError:
    try:
        return read(path)
    except InputError as error:
        return error


def _from_array(pixels: np.ndarray, size: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise InputError(f"an image as an array is uint8 (H, W), not {pixels.dtype} {pixels.shape}; convert it first")
    return resize(pixels, size)


def _summing_to_one(probs: np.ndarray) -> np.ndarray:
    return probs / probs.sum(axis=-1, keepdims=True)
