"""Asking trained folds about single pictures: class, probability, the folds' spread, and whether it is like their data.

from chestfold import Predictor
answer = Predictor("exp021")("xray.jpeg")
print(answer.label, answer.probability, answer.spread, answer.out_of_distribution)

Not for clinical use.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.decode import decode, resize
from chestfold.data.dicom import require_window
from chestfold.predict.trained_run import CHUNK, load_members

NOTICE = "Not for clinical use"

Levels = tuple[tuple[int, int] | None, str]
"""A declared range or none, and the name of a CT window or none."""


@dataclass(frozen=True)
class Answer:
    """What the folds say of one picture. `folds`: a row for each fold, class -> probability."""

    probabilities: dict[str, float]
    folds: tuple[dict[str, float], ...]
    ood_score: float | None
    """How far from the training images, over the distance within which 95 % of the validation images lie; None where
    it cannot be told."""
    no_lungs: str = ""
    """Why the lungs were not found, where the networks want them cut out; the picture is seen whole then."""

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
        """Whether the picture is unlike the training data; None where it cannot be told."""
        return None if self.ood_score is None else self.ood_score > 1


class Predictor:
    """All finished folds of a run, or of an ensemble's members; call it with a picture.

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

    def __call__(self, image: str | Path | np.ndarray) -> Answer:
        """What the folds say of a file of any format, or of grey pixels uint8 (H, W), 0 black to 255 white.

        Raises:
            InputError: the file cannot be read.
        """
        return self.answers([self.pixels(image)])[0]

    def many(self, paths: Sequence[Path]) -> Iterator[list[tuple[Path, "Looked | InputError"]]]:
        """Files by the batch, in order, each with its answer and pixels, or with the reason why it was not read."""
        _ = self.levels  # a data set that is not declared here is one complaint, not one for each file
        chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = [pool.submit(_tried, self.pixels, path) for path in chunks[0]] if chunks else []
            for n, chunk in enumerate(chunks):
                ready, ahead = ahead, [pool.submit(_tried, self.pixels, p) for p in (*chunks, [])[n + 1]]
                yield list(zip(chunk, self._answered(ready), strict=True))

    def _answered(self, futures: "list[Future[Pixels | InputError]]") -> "list[Looked | InputError]":
        results = [future.result() for future in futures]
        good = [pixels for pixels in results if not isinstance(pixels, InputError)]
        answers = iter(self.answers(good))
        return [r if isinstance(r, InputError) else Looked(r, next(answers)) for r in results]

    def answers(self, pictures: "list[Pixels]") -> list[Answer]:
        """What the folds say of decoded pictures."""
        if not pictures:
            return []
        looked = [run.look(np.stack([p[run.exp.image_size] for p in pictures])) for run in self.runs]
        members = np.stack([probs for probs, _, _ in looked])
        ood_score = np.median(np.concatenate([far for _, far, _ in looked]), axis=0)
        declined = [next(filter(None, reasons), "") for reasons in zip(*(r for _, _, r in looked), strict=True)]
        whole = _summing_to_one(self._blend(members.mean(axis=1)))
        folds = np.stack([_summing_to_one(self._blend(members[:, f])) for f in range(members.shape[1])])
        each = zip(whole, folds.swapaxes(0, 1), ood_score, declined, strict=True)
        return [self._answer(*one) for one in each]

    def _answer(self, probs: np.ndarray, folds: np.ndarray, ood_score: float, declined: str) -> Answer:
        def named(row: np.ndarray) -> dict[str, float]:
            return {name: float(p) for name, p in zip(self.classes, row, strict=True)}

        known = None if np.isnan(ood_score) else float(ood_score)
        return Answer(named(probs), tuple(map(named, folds)), known, declined)

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
        dataset = find_dataset(self.runs[0].exp.data)
        return dataset.value_range, dataset.ct_window


Pixels = dict[int, np.ndarray]
"""Side -> uint8 (side, side)."""


@dataclass(frozen=True)
class Looked:
    """A picture that was read: its pixels, and what the folds say of it."""

    pixels: Pixels
    answer: Answer


def _tried(read: Callable[[Path], Pixels], path: Path) -> Pixels | InputError:
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
