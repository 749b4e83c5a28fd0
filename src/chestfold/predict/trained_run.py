"""Runs and ensembles back in memory, with each fold's detector of out-of-distribution images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from chestfold.core.config import Experiment, is_debug
from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, sha256_file, sha256_json
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.core.task import Task
from chestfold.data.channels import require_shown
from chestfold.data.dataset import Dataset
from chestfold.data.folds.file import FoldsRecord
from chestfold.data.loader import Images, images_of
from chestfold.data.tabular import Cells
from chestfold.data.transforms.preprocess import preprocess_of
from chestfold.evaluate.ensemble import blender_of, require_same_members
from chestfold.evaluate.results import Result, ResultRecord, find_result
from chestfold.models import ood
from chestfold.models.load import load_networks, predict_mean
from chestfold.models.runner import Runner

Blend = Callable[[np.ndarray], np.ndarray]
"""Probabilities of the members (M, N, K) to one (N, K)."""
Values = Mapping[str, str]
"""Column of a table -> text of an image."""


@dataclass(frozen=True)
class FoldModels:
    """The networks of one fold, and its out-of-distribution detector (None where it has none)."""

    networks: list[Runner]
    detector: ood.OodDetector | None

    def predict(self, images: Images, tta: str) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (N, K) and OOD scores (N,), NaN without a detector."""
        if self.detector is None:
            return predict_mean(self.networks, images, tta), np.full(len(images), np.nan)
        probs, features = ood.predicted_with_features(self.networks, images, tta)
        return probs, self.detector.score(features)


@dataclass(frozen=True)
class RunPrediction:
    """What the folds of a run predict for N images: probabilities (F, N, K) and OOD scores (F, N).

    `no_lungs`: why the lungs of each image were not found, "" where they were or are not needed.
    """

    probs: np.ndarray
    ood_scores: np.ndarray
    no_lungs: list[str]


@dataclass(frozen=True)
class TrainedRun:
    """The finished folds of a run, in memory.

    `numbers` are the folds', `of` is how many the run has, with those that are not trained; 0 where that is not known.
    `is_debug`: a short pass of `--debug`, which has learned nothing. `shown`: how its files became pixels, as
    `channels.shown_as`; None where that is not known.
    """

    name: str
    task: Task
    exp: Experiment
    numbers: tuple[int, ...]
    folds: list[FoldModels]
    of: int = 0
    is_debug: bool = False
    shown: dict[str, str] | None = None

    def require_shown(self, dataset: Dataset) -> None:
        """Raise `InputError` where `dataset` now declares other pixels than the networks were trained on."""
        require_shown(self.shown, dataset, self.exp.channels, self.name)

    def predict(self, pixels: np.ndarray, values: Sequence[Values] = ()) -> RunPrediction:
        """Of decoded pixels in the form of the experiment, (N, S, S) or (N, S, S, 3), and the values of its columns."""
        images = self.images(pixels, values)
        predicted = [fold.predict(images, self.exp.tta) for fold in self.folds]
        return RunPrediction(
            probs=np.stack([probs for probs, _ in predicted]),
            ood_scores=np.stack([scores for _, scores in predicted]),
            no_lungs=images.lungs.reasons if images.lungs else [""] * len(pixels),
        )

    def images(self, pixels: np.ndarray, values: Sequence[Values] = ()) -> Images:
        """Decoded pixels, (N, S, S) or (N, S, S, 3), preprocessed as in training, with their `values`."""
        names = [f"image {n}" for n in range(len(pixels))]
        images = images_of(preprocess_of(self.exp), pixels, names, self.task.labels([""] * len(pixels)))
        return replace(images, cells=self._cells(values))

    def _cells(self, values: Sequence[Values]) -> Cells | None:
        if not self.exp.tabular or not values:
            return None
        texts = [[of_image[name] for name in self.exp.tabular] for of_image in values]
        return Cells(self.exp.tabular, frozenset(), np.array(texts, str))


def load_members(name: str) -> tuple[list[TrainedRun], Blend]:
    """The runs behind `name`, and how their probabilities become one.

    Raises:
        InputError: there is no finished fold, members hold different folds, or a blend cannot be had for one image.
    """
    result = _made_of_others(name)
    if result is None:
        return [load_run(name)], lambda probs: probs[0]
    if result.record.calibration:
        return _load_calibrated(result)
    blend = _blend_of(result)
    runs = [load_run(member) for member in result.record.members]
    for run in runs[1:]:
        if run.numbers != runs[0].numbers:
            raise InputError(
                f"{run.name} has the folds {list(run.numbers)} in runs/ and {runs[0].name} {list(runs[0].numbers)}; "
                "restore or train the missing ones, or predict with one of them where they are of different fold files"
            )
    return runs, blend


def _load_calibrated(result: Result) -> tuple[list[TrainedRun], Blend]:
    """The runs behind what was calibrated, and their blend calibrated by all out-of-fold predictions."""
    require_same_members(result)
    runs, blend = load_members(result.record.members[0])
    scale = blender_of(result).predict
    return runs, lambda probs: scale(blend(probs)[None])


def _made_of_others(name: str) -> Result | None:
    """The ensemble or the calibrated result `name`; None where that is a run with folds, or nothing."""
    if RunFolder(name).finished_folds():
        return None
    try:
        result = find_result(name)
    except InputError:  # `load_run` says what is missing
        return None
    return result if result.record.kind in ("ensemble", "calibrated") else None


def _is_imported(name: str) -> bool:
    try:
        return find_result(name).record.kind == "imported"
    except InputError:  # it is a run that is not finished, which is said by others
        return False


def _blend_of(result: Result) -> Blend:
    """The ensemble's own blend; `InputError` for one that needs a whole test set, or whose members have changed."""
    require_same_members(result)
    if result.record.method == "rank":
        raise InputError(
            f"{result.name} averages ranks within a whole test set, which one image has not; blend its members by "
            "mean, greedy or stack to predict single images"
        )
    return blender_of(result).predict


def load_run(name: str) -> TrainedRun:
    """The finished folds of runs/NAME."""
    if not RunFolder(name).finished_folds() and _is_imported(name):
        raise InputError(f"{name} was imported: it has predictions and no networks; predict with a run of your own")
    return load_folds(name, RunFolder(name).require_finished_folds())


def load_folds(name: str, folders: Sequence[FoldFolder]) -> TrainedRun:
    """Some trainings of one run."""
    config = folders[0].config()
    exp = replace(config.exp(), compile=False)  # it would cost a minute at every start
    folds = []
    for folder in folders:
        networks = load_networks(folder, exp)
        folds.append(FoldModels(networks, _detector(folder, networks[-1])))
    numbers = tuple(folder.number for folder in folders)
    debug = is_debug(name) or is_debug(config.experiment)
    return TrainedRun(name, config.create_task(), exp, numbers, folds, number_of_folds(name, exp), debug, config.shown)


def number_of_folds(name: str, exp: Experiment) -> int:
    """How many folds a run has, as its fold file says, or its scores where that is not here; 0 where neither is."""
    record = folds_dir() / f"{exp.fold_file}.json"
    if record.exists():
        return FoldsRecord.from_json(record).folds
    scores = RunFolder(name).path / "scores.json"
    return ResultRecord.from_json(scores).folds.count if scores.exists() else 0


def _detector(folder: FoldFolder, network: Runner) -> ood.OodDetector | None:
    """None where there is none, or where it belongs to other weights."""
    path = folder.path / ood.FILE
    if not path.exists():
        return None
    detector = ood.read(path)
    if detector.checkpoint != sha256_file(folder.best_checkpoint):
        return None
    if len(detector.mean) != ood.middle_layer(network.module)[1]:
        raise InputError(f"{path} is of another network than the one beside it; restore it, or delete it")
    return detector


def weights_hash(name: str) -> str:
    """A hash of the weights behind `name`."""
    result = _made_of_others(name)
    if result and result.record.calibration:
        return sha256_json([weights_hash(result.record.members[0]), result.record.calibration.to_dict()])
    hashes = []
    for run in result.record.members if result else (name,):
        for folder in RunFolder(run).finished_folds():
            paths = [folder.best_checkpoint, *folder.averaged_checkpoints()]
            hashes += [sha256_file(path) for path in paths if path.exists()]
    return sha256_json([hashes, result.record.weights if result else None])
