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
from chestfold.core.config import is_debug
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file
from chestfold.data.catalogue import find_dataset
from chestfold.data.channels import Form, decode_form, file_places, form_of
from chestfold.data.dataset import Dataset, Levels
from chestfold.data.decode import decode, resize
from chestfold.data.dicom import require_window
from chestfold.data.levels import at_depth, repeated
from chestfold.models.runner import PREDICT_BATCH
from chestfold.predict.prediction import Prediction
from chestfold.predict.remarks import Kind, Remark
from chestfold.predict.seen import Seen, SeenImages, open_seen_images
from chestfold.predict.trained_run import RunPrediction, Values, load_members
from chestfold.predict.values import ValueTable

Pixels = dict[Form, np.ndarray]
"""An image in every form that a network wants."""


@dataclass(frozen=True)
class Decoded:
    """An image that was read, and the values of the columns that the networks see beside it.

    `digest`: SHA-256 of its file; "" where there is none.
    """

    pixels: Pixels
    values: Values
    digest: str


@dataclass(frozen=True)
class ReadImage(Decoded):
    """The same with its prediction."""

    prediction: Prediction


class Predictor:
    """All finished folds of a run, or of an ensemble's members; call it with an image.

    Args:
        name: a run with its checkpoints in runs/, an ensemble of such runs, or the calibrated copy of one.
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
            return self.read(Path(image)).prediction
        given = {name: "" if value is None else str(value) for name, value in (values or {}).items()}
        pixels = self.pixels(image)
        digest = "" if isinstance(image, np.ndarray) else sha256_file(Path(image))
        return self.predictions([Decoded(pixels, self._checked(given), digest)])[0]

    def read(self, path: Path) -> ReadImage:
        """A file and its prediction; raises as a call."""
        image = self._decoded(path)
        return ReadImage(image.pixels, image.values, image.digest, self.predictions([image])[0])

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
            decoding = pool.map(self._decoded_or_error, batches[0] if batches else [])
            for n, batch in enumerate(batches):
                decoded = list(decoding)
                if n + 1 < len(batches):  # decoded while this batch is predicted
                    decoding = pool.map(self._decoded_or_error, batches[n + 1])
                yield list(zip(batch, self._with_predictions(decoded), strict=True))

    def _decoded(self, path: Path) -> Decoded:
        return Decoded(self.pixels(path), self._values_of(path), sha256_file(path))

    def _decoded_or_error(self, path: Path) -> Decoded | InputError:
        try:
            return self._decoded(path)
        except InputError as error:
            return error

    def _with_predictions(self, decoded: Sequence[Decoded | InputError]) -> list[ReadImage | InputError]:
        """Each image with its prediction; an error stays what it is."""
        made = iter(self.predictions([image for image in decoded if not isinstance(image, InputError)]))
        found: list[ReadImage | InputError] = []
        for image in decoded:
            if isinstance(image, Decoded):
                found.append(ReadImage(image.pixels, image.values, image.digest, next(made)))
            else:
                found.append(image)
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
        return [self._prediction(image, of_runs, n) for n, image in enumerate(images)]

    def _prediction(self, image: Decoded, of_runs: Sequence[RunPrediction], n: int) -> Prediction:
        """That of image number `n`, by the folds that may answer."""
        seen = self.seen_images.find(image.digest, [image.pixels[form_of(run.exp)] for run in self.runs])
        answering = self.answering(seen)
        members = np.stack([run.probs[folds, n] for run, folds in zip(of_runs, answering, strict=True)])
        folds = [self._blend_members(members[:, fold, None])[0] for fold in range(members.shape[1])]
        blended = self._blend_members(members.mean(axis=1, keepdims=True))[0]
        scores = [run.ood_scores[folds, n] for run, folds in zip(of_runs, answering, strict=True)]
        score = float(np.median(np.concatenate(scores)))
        reasons = [run.no_lungs[n] for run in of_runs if run.no_lungs[n]]
        return Prediction(
            probabilities=self._by_class(blended),
            folds=tuple(self._by_class(fold) for fold in folds),
            ood_score=None if np.isnan(score) else score,
            no_lungs=reasons[0] if reasons else "",
            decided=self.task.name_of(blended),
            fold_decisions=tuple(self.task.name_of(fold) for fold in folds),
            seen=seen,
            model=self.remarks,
        )

    def answering(self, seen: Seen | None) -> list[list[int]]:
        """Of each run the positions of the folds that answer: all, or the one that has not seen an image."""
        if seen is None or not seen.unseen_by:
            return [list(range(len(run.folds))) for run in self.runs]
        return [[run.numbers.index(fold)] for run, fold in zip(self.runs, seen.unseen_by, strict=True)]

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
    def seen_images(self) -> SeenImages:
        """Those that the networks were trained on, as far as they are here."""
        return open_seen_images(self.runs)

    @cached_property
    def remarks(self) -> tuple[Remark, ...]:
        """What must be read beside every prediction: that nothing was learned, or that folds are missing."""
        remarks, run = [], self.runs[0]
        if is_debug(self.name) or any(run.is_debug for run in self.runs):
            remarks.append(Remark(Kind.DEBUG))
        if run.of != len(run.folds):
            values = {"trained": str(len(run.folds)), "of": str(run.of or "?")}
            remarks.append(Remark(Kind.PARTIAL, values))
        return tuple(remarks)

    @cached_property
    def dataset(self) -> Dataset:
        """The declaration of the data set that the networks were trained on."""
        return find_dataset(self.runs[0].exp.data)

    @cached_property
    def levels(self) -> Levels:
        """What is black and white in 16-bit and DICOM images: as given, else as the data set declares."""
        if not any(self._given):
            for run in self.runs:
                run.require_shown(self.dataset)
            return self.dataset.levels
        if any(run.exp.channels == 3 for run in self.runs) and self.dataset.three_channels == "windows":
            raise InputError(f"{self.name} sees three windows that its data set declares; give no window and no range")
        return self._given
