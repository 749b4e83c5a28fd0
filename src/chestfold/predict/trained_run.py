"""Runs and ensembles back in memory, with what each fold is familiar with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chestfold.core.config import Experiment, Request
from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, read_json, runs_dir, sha256_file, sha256_json
from chestfold.data.loader import Images, images_of
from chestfold.data.transforms.preprocess import preprocess_of
from chestfold.evaluate.ensemble import METHODS, Apply, gather
from chestfold.evaluate.results import Result, find_result
from chestfold.models import ood
from chestfold.models.load import load_networks, predict_mean
from chestfold.models.runner import PREDICT_BATCH, Runner
from chestfold.train.prepare import Prepared, prepare
from chestfold.train.run import write_ood

CHUNK = PREDICT_BATCH
"""Pictures in memory at a time: one batch."""


@dataclass(frozen=True)
class Fold:
    """The networks of one fold, and what they are familiar with (None where it cannot be told)."""

    networks: list[Runner]
    known: ood.OodDetector | None


@dataclass(frozen=True)
class Run:
    """The finished folds of a run, in memory. `numbers` are the folds'."""

    name: str
    classes: tuple[str, ...]
    exp: Experiment
    numbers: tuple[int, ...]
    folds: list[Fold]

    def look(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """What the folds see in uint8 pixels (N, S, S).

        Returns:
            probabilities (F, N, K); ood_score (F, N), NaN where it cannot be told; and of each picture why its lungs
            were not found, "" where they were or are not needed.
        """
        images = self.images(pixels)
        looked = [_look(fold, images, self.exp.tta) for fold in self.folds]
        declined = images.lungs.reasons if images.lungs else [""] * len(pixels)
        return np.stack([probs for probs, _ in looked]), np.stack([ood_score for _, ood_score in looked]), declined

    def images(self, pixels: np.ndarray) -> Images:
        """Decoded pixels as the networks are given them."""
        names = [f"picture {n}" for n in range(len(pixels))]
        return images_of(preprocess_of(self.exp), pixels, names, np.full(len(pixels), -1, np.int64))


def _look(fold: Fold, images: Images, tta: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, K) and ood_score (N,), in one pass where the first view is the picture as it is."""
    if fold.known is None:
        return predict_mean(fold.networks, images, tta), np.full(len(images), np.nan)
    runner = fold.networks[-1]
    if tta == "crops":
        return predict_mean(fold.networks, images, tta), fold.known.ood_score(ood.features(runner, images)[1])
    with ood.captured_features(runner.module, *ood.middle_layer(runner.module)) as caught:
        probs = predict_mean(fold.networks, images, tta)
    views = len(caught) // -(-len(images) // CHUNK)
    return probs, fold.known.ood_score(torch.cat(caught[::views]).numpy())


def load_members(name: str) -> tuple[list[Run], Apply]:
    """The runs behind `name`, and how their probabilities (M, N, K) become one (N, K)."""
    folders = finished(name)
    about = None if folders else _ensemble(name)
    if about is None:
        return [load_run(name, folders)], lambda probs: probs[0]
    blend = _blend_of(about)
    runs = [load_run(member, finished(member)) for member in about.about["members"]]
    for run in runs[1:]:
        if run.numbers != runs[0].numbers:
            raise InputError(
                f"{run.name} has the folds {list(run.numbers)} in runs/ and {runs[0].name} {list(runs[0].numbers)}; "
                "restore or train the missing ones"
            )
    return runs, blend


def finished(name: str) -> list[Path]:
    """The folders of the finished folds of runs/NAME, by number."""
    if not name or Path(name).name != name:
        return []
    found = (path.parent for path in (runs_dir() / name).glob("fold*/manifest.json"))
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("fold")))


def _ensemble(name: str) -> Result | None:
    places = [base / name / "scores.json" for base in (runs_dir(), published_dir()) if name]
    for path in places:
        if Path(name).name == name and path.exists() and read_json(path)["kind"] == "ensemble":
            return Result(name, path.parent, read_json(path))
    return None


def _blend_of(result: Result) -> Apply:
    """The ensemble's own blend; `InputError` for one that needs a whole test set, or whose members have changed."""
    method, names = result.about["method"], result.about["members"]
    made_from, now = result.oof()[1]["members"], [find_result(name) for name in names]
    for member in now:
        if member.about["files"]["oof.parquet"] != made_from[member.name]:
            raise InputError(f"{member.name} was trained again after {result.name} was made from it; blend them again")
    if method == "rank":
        raise InputError(
            f"{result.name} averages ranks within a whole test set, which one picture has not; blend its members by "
            "mean, greedy or stack to ask about single pictures"
        )
    if method == "stack":
        members = gather(now)
        return METHODS[method](members.probs, members.labels, members.groups).apply
    weights = np.array(result.about["weights"])
    return lambda probs: np.tensordot(weights, probs, axes=1)


def load_run(name: str, folders: list[Path]) -> Run:
    """The finished folds in `folders`, with what they are familiar with, which is fitted now where it is missing."""
    if not folders:
        raise InputError(f"{runs_dir() / name} holds no finished fold; train it first, or copy its folder here")
    config: dict[str, Any] = read_json(folders[0] / "config.json")
    exp = replace(Experiment.from_dict(config["settings"]), compile=False)  # it would cost a minute at every start
    networks = [load_networks(folder, exp) for folder in folders]
    known = _ood_detectors(name, exp, config, folders, networks)
    folds = [Fold(nets, k) for nets, k in zip(networks, known, strict=True)]
    numbers = tuple(int(folder.name.removeprefix("fold")) for folder in folders)
    return Run(name, tuple(config["classes"]), exp, numbers, folds)


def identity(name: str) -> str:
    """A hash of the weights behind `name`."""
    about = None if finished(name) else _ensemble(name)
    names = about.about["members"] if about else [name]
    files = [path for n in names for folder in finished(n) for path in sorted(folder.glob("*.ckpt"))]
    weights = [sha256_file(path) for path in files if not path.name.startswith("last")]
    return sha256_json([weights, about.about["weights"] if about else None])


def _ood_detectors(
    name: str, exp: Experiment, config: dict[str, Any], folders: list[Path], networks: list[list[Runner]]
) -> list[ood.OodDetector | None]:
    """What each fold is familiar with: from its file, else fitted now from the data set, else None, and why is said."""
    known = [_read_ood(folder) for folder in folders]
    if all(known):
        return known
    try:
        say(f"{name} has no notes on its training data yet ({ood.FILE}); they are made now, once")
        request = Request(name, exp, (), False, config["parent"], {})
        ready = prepare(request)
        _require_same_data(ready, config)
        for folder, nets, k in zip(folders, networks, known, strict=True):
            if k is None:
                write_ood(ready, int(folder.name.removeprefix("fold")), folder, nets[-1])
    except InputError as error:
        say(f"what is unlike the training data cannot be told: {error}")
        return [None] * len(folders)
    return [_read_ood(folder) for folder in folders]


def _require_same_data(ready: Prepared, config: dict[str, Any]) -> None:
    """Raise `InputError` when the data set here is not the one that the run was trained on."""
    now, then = ready.fingerprint(), config["fingerprint"]
    if any(now[key] != then[key] for key in ("content_sha256", "folds_sha256")):
        raise InputError(f"the images or folds of {ready.request.exp.data} here are not those of the run")


def _read_ood(folder: Path) -> ood.OodDetector | None:
    """None where there is none, or where it belongs to other weights."""
    path = folder / ood.FILE
    if not path.exists():
        return None
    known = ood.read(path)
    return known if known.checkpoint == sha256_file(folder / "best.ckpt") else None
