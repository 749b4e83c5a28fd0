"""Predicting single images with trained folds: class, probability, the folds' spread, out of distribution or not.

from chestfold import Predictor
prediction = Predictor("exp021")("xray.jpeg")
print(prediction.label, prediction.probability, prediction.spread, prediction.out_of_distribution)

Not for clinical use.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from chestfold.core import hooks
from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.channels import Form, decode_form, file_places, form_of
from chestfold.data.dataset import Dataset, Levels
from chestfold.data.decode import decode, resize
from chestfold.data.dicom import require_window
from chestfold.data.levels import at_depth, repeated
from chestfold.models.runner import PREDICT_BATCH
from chestfold.predict.trained_run import Values, load_members
from chestfold.predict.values import ValueTable

NOTICE = "Not for clinical use"

Pixels = dict[Form, np.ndarray]
"""An image in every form that a network wants."""


@dataclass(frozen=True)
class Prediction:
    """What the folds predict for one image.

    `probabilities`: the mean over the folds, by class; `folds`: those of each fold. `ood_score`: the distance from the
    training images over the one within which 95 % of the validation images are; None where it cannot be told.
    `no_lungs`: why no lungs were found, where the networks want them cut out; the image is left unmasked then.
    """

    probabilities: dict[str, float]
    folds: tuple[dict[str, float], ...]
    ood_score: float | None
    no_lungs: str = ""
    decided: str = ""

    @property
    def decision(self) -> str:
        """What is decided at 0.5: a class or grade; of several labels those that are there, joined by `|`, or `-`."""
        return self.decided or self.label

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
        """Class -> the lowest and the highest probability of a fold."""
        ends = {}
        for name in self.probabilities:
            of_folds = [fold[name] for fold in self.folds]
            ends[name] = (min(of_folds), max(of_folds))
        return ends

    @property
    def out_of_distribution(self) -> bool | None:
        """Whether the image is unlike the training data; None where it cannot be told."""
        return None if self.ood_score is None else self.ood_score > 1


@dataclass(frozen=True)
class Decoded:
    """An image that was read, and the values of the columns that the networks see beside it."""

    pixels: Pixels
    values: Values


@dataclass(frozen=True)
class ReadImage(Decoded):
    """The same with its prediction."""

    prediction: Prediction


class Predictor:
    """All finished folds of a run, or of an ensemble's members; call it with an image.

    Args:
        name: a run with its checkpoints in runs/, or an ensemble of such runs.
        value_range: of 16-bit and DICOM images: the values that are black and white; else as the data set declares.
        window: of DICOM files: the name of a CT window; else as the data set declares.
        trust_hooks: run the hooks.py of a run that came from elsewhere: it is code.
        table: a CSV with the values of files, where the networks see columns beside the image.

    Raises:
        InputError: there is no finished fold, a checkpoint is damaged, the ensemble cannot predict single images, or
            the table lacks a column.
    """

    def __init__(
        self,
        name: str,
        value_range: tuple[int, int] | None = None,
        window: str = "",
        trust_hooks: bool = False,
        table: Path | None = None,
    ) -> None:
        if trust_hooks:
            hooks.trust()
        require_window(window)
        if value_range and (window or value_range[0] == value_range[1]):
            raise InputError("give either a CT window or a range of two different numbers")
        self.name = name
        self._given: Levels = (value_range, window)
        self.runs, self._blend = load_members(name)
        self.task = self.runs[0].task
        self.classes = self.task.classes
        self.columns = tuple(dict.fromkeys(name for run in self.runs for name in run.exp.tabular))
        self._table = ValueTable(table, self.columns) if table else None
        if table and not self.columns:
            raise InputError(f"{name} sees nothing but the image; leave the table away")

    def __call__(self, image: str | Path | np.ndarray, values: Mapping[str, Any] | None = None) -> Prediction:
        """The prediction for a file of any format, or for grey pixels uint8 (H, W), 0 black to 255 white.

        For networks of three channels pixels are (H, W, 3); for those of 16 bits they may be uint16. Neighbouring
        slices of a file are looked for in its folder.

        `values`: column -> value, None where it is not known, for networks that see columns beside the image; else
        those of the table are taken.

        Raises:
            InputError: the file cannot be read; a value is not given.
        """
        if values is None and isinstance(image, str | Path):
            given = self._values_of(Path(image))
        else:
            given = {name: "" if value is None else str(value) for name, value in (values or {}).items()}
        return self.predictions([Decoded(self.pixels(image), self._checked(given))])[0]

    def require_values(self) -> None:
        """Raise `InputError` where the networks see columns beside the image, and no table has them."""
        if self.columns and self._table is None:
            raise InputError(
                f"{self.name} sees {', '.join(self.columns)} beside the image: give --table CSV with these columns "
                "and a column file or id"
            )

    def _values_of(self, path: Path) -> Values:
        """Those of a file; raises as `require_values`, and where the table has no row of it."""
        self.require_values()
        return self._table.of(path) if self._table else {}

    def _checked(self, values: Values) -> Values:
        missing = [name for name in self.columns if name not in values]
        if missing:
            raise InputError(f"{self.name} sees {', '.join(missing)} beside the image: give values, None if not known")
        return values

    def many(self, paths: Sequence[Path]) -> Iterator[list[tuple[Path, ReadImage | InputError]]]:
        """Files by the batch, in order, each with its prediction, or with the reason why it was not read."""
        _ = self.levels  # a data set that is not declared here is one complaint, not one for each file
        self.require_values()
        batches = [paths[start : start + PREDICT_BATCH] for start in range(0, len(paths), PREDICT_BATCH)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            decoding = pool.map(self._read, batches[0] if batches else [])
            for n, batch in enumerate(batches):
                decoded = list(decoding)
                if n + 1 < len(batches):  # decoded while this batch is predicted
                    decoding = pool.map(self._read, batches[n + 1])
                yield list(zip(batch, self._with_predictions(decoded), strict=True))

    def _read(self, path: Path) -> Decoded | InputError:
        try:
            return Decoded(self.pixels(path), self._values_of(path))
        except InputError as error:
            return error

    def _with_predictions(self, decoded: Sequence[Decoded | InputError]) -> list[ReadImage | InputError]:
        """Each image with its prediction; an error stays what it is."""
        made = iter(self.predictions([image for image in decoded if not isinstance(image, InputError)]))
        found: list[ReadImage | InputError] = []
        for image in decoded:
            found.append(image if isinstance(image, InputError) else ReadImage(image.pixels, image.values, next(made)))
        return found

    def predictions(self, images: Sequence[Decoded]) -> list[Prediction]:
        """Those for decoded images."""
        if not images:
            return []
        values = [image.values for image in images]
        of_runs = []
        for run in self.runs:
            pixels = np.stack([image.pixels[form_of(run.exp)] for image in images])
            of_runs.append(run.predict(pixels, values))
        members = np.stack([run.probs for run in of_runs])
        folds = [self._blend_members(members[:, fold]) for fold in range(members.shape[1])]
        blended = self._blend_members(members.mean(axis=1))
        scores = np.median(np.concatenate([run.ood_scores for run in of_runs]), axis=0)
        made = []
        for n in range(len(images)):
            reasons = [run.no_lungs[n] for run in of_runs if run.no_lungs[n]]
            prediction = Prediction(
                probabilities=self._by_class(blended[n]),
                folds=tuple(self._by_class(fold[n]) for fold in folds),
                ood_score=None if np.isnan(scores[n]) else float(scores[n]),
                no_lungs=reasons[0] if reasons else "",
                decided=self.task.name_of(blended[n]),
            )
            made.append(prediction)
        return made

    def _blend_members(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities of the members (M, N, K) to one prediction of the task (N, K)."""
        return self.task.normalised(self._blend(probs))

    def _by_class(self, probs: np.ndarray) -> dict[str, float]:
        return dict(zip(self.classes, probs.tolist(), strict=True))

    def pixels(self, image: str | Path | np.ndarray) -> Pixels:
        """An image in every form that a member wants."""
        forms = {form_of(run.exp) for run in self.runs}
        if isinstance(image, np.ndarray):
            return {form: self._of_array(image, form) for form in forms}
        return {form: self._of_file(Path(image), form) for form in forms}

    def _of_file(self, path: Path, form: Form) -> np.ndarray:
        if form.channels == 1:
            return decode(path.parent, path.name, form.size, *self.levels, depth=form.depth)
        places = file_places(self.dataset, path, form)
        return decode_form(self.dataset, path.parent, places, form, self.levels)

    def _of_array(self, image: np.ndarray, form: Form) -> np.ndarray:
        if form.channels == 3 and image.ndim == 2 and self.dataset.three_channels in ("rgb", "grey"):
            image = repeated(image)
        is_pixels = image.ndim == len(form.shape) and image.shape[2:] == form.shape[2:] and image.size > 0
        if not is_pixels or image.dtype not in (np.uint8, form.dtype):
            kinds = "uint8" if form.depth == 8 else "uint8 or uint16"
            wanted = f"{kinds} {'(H, W)' if form.channels == 1 else '(H, W, 3)'}"
            given = f"{image.dtype} {image.shape}"
            raise InputError(f"an image as an array is {wanted}, not {given}; convert it first")
        return at_depth(resize(image, form.size), form.depth)

    @cached_property
    def dataset(self) -> Dataset:
        """The declaration of the data set that the networks were trained on."""
        return find_dataset(self.runs[0].exp.data)

    @cached_property
    def levels(self) -> Levels:
        """What is black and white in 16-bit and DICOM images: as given, else as the data set declares."""
        if not any(self._given):
            return self.dataset.levels
        if any(run.exp.channels == 3 for run in self.runs) and self.dataset.three_channels == "windows":
            raise InputError(f"{self.name} sees three windows that its data set declares; give no window and no range")
        return self._given
