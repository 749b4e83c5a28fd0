"""What one call of `chestfold explain` asks for: the run, its folds, and the images of each."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.files import runs_dir
from chestfold.core.rng import generator
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.train.prepare import Prepared, prepare


@dataclass(frozen=True)
class ExplainConfig:
    """What one call asks for. `folds`, `ids` empty: all; `count`: images a fold, 0 for all; `layer` "": by family."""

    name: str
    method: str = "gradcam"
    layer: str = ""
    folds: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    count: int = 40


def folder_of(config: ExplainConfig) -> Path:
    """Where the maps of a config lie; a layer or ids of one's own have a folder of their own."""
    words = [config.method, *([config.layer] if config.layer else []), *(["ids"] if config.ids else [])]
    return runs_dir() / config.name / "explain" / re.sub(r"[^\w.+-]", "_", "-".join(words))


def open_run(name: str) -> tuple[Prepared, list[int]]:
    """A run of runs/ with its data in hand, and its finished folds; the experiment's code is not needed.

    Raises:
        InputError: no finished fold; or images, labels or folds are not those that it was trained on.
    """
    folders = RunFolder(name).require_finished_folds()
    config = folders[0].config()
    ready = prepare(Request(name, config.exp(), parent=config.parent, changed=config.changed))
    for folder in folders:
        _require_same_data(ready, folder)
    return ready, [folder.number for folder in folders]


def _require_same_data(ready: Prepared, folder: FoldFolder) -> None:
    folder.is_finished()  # proves the hash of every file
    then, now = folder.config().fingerprint, ready.fingerprint()
    for key in ("index_sha256", "content_sha256", "folds_sha256"):
        if then[key] != now[key]:
            what = key.removesuffix("_sha256")
            raise InputError(f"{folder.path} was trained on another {what} of {ready.exp.data} than the one in input/")


def select_images(ready: Prepared, trained: list[int], config: ExplainConfig) -> dict[int, list[str]]:
    """Fold -> ids of its own validation images that are explained.

    Raises:
        InputError: a fold that is not trained, an unknown id, or an id that the folds asked for were trained on.
    """
    for fold in config.folds:
        ready.folds.require(fold)
        if fold not in trained:
            raise InputError(f"fold {fold} of {config.name} is not finished; finished are {trained}")
    folds = sorted(set(config.folds)) or trained
    if config.ids:
        return _chosen_by_id(ready, folds, trained, config)
    return {fold: random_sample(ready, fold, config.count) for fold in folds}


def _chosen_by_id(ready: Prepared, folds: list[int], trained: list[int], config: ExplainConfig) -> dict[int, list[str]]:
    home = dict(zip(ready.folds.table["id"], ready.folds.table["fold"].tolist(), strict=True))
    tests = set(ready.index.test["id"])
    chosen: dict[int, list[str]] = {}
    for image in dict.fromkeys(config.ids):
        if image not in home:
            near = difflib.get_close_matches(image, home, n=1)
            hint = "is a test image, which no fold validates" if image in tests else "is no image of this data set"
            more = f"; did you mean {near[0]}?" if near and image not in tests else ""
            raise InputError(f"--ids {image}: it {hint}{more}")
        fold = home[image]
        if fold not in folds and config.folds:
            raise InputError(
                f"--ids {image}: it is a validation image of fold {fold}, and the model of fold {folds[0]} was trained "
                "on it; leave out --fold"
            )
        if fold not in trained:
            raise InputError(f"--ids {image}: it belongs to fold {fold} of {config.name}, which is not finished")
        chosen.setdefault(fold, []).append(image)
    return dict(sorted(chosen.items()))


def random_sample(ready: Prepared, fold: int, count: int) -> list[str]:
    """`count` validation images of a fold by lot, as many of each class as there are, at most its part; 0: all."""
    ids = ready.folds.ids(fold)
    if count == 0:
        return sorted(ids)
    rows = ready.rows(ids)
    part = max(1, count // len(ready.classes))
    kept: list[str] = []
    for label in ready.classes:
        there = sorted(rows.loc[rows["label"] == label, "id"])
        order = generator("explain", ready.request.exp.data, fold, label).permutation(len(there))
        kept += [there[n] for n in order[:part]]
    return sorted(kept)
