"""What one call of `chestfold explain` is about: the run, its folds, and the images of each."""

import re
from dataclasses import dataclass
from pathlib import Path

from chestfold.core.config import Request, did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.data.channels import require_shown
from chestfold.train.prepare import Prepared, prepare


@dataclass(frozen=True)
class ExplainConfig:
    """The options. `folds`, `ids` empty: all; `count`: images a fold, 0 for all; `layer` "": chosen by family."""

    name: str
    method: str = "gradcam"
    layer: str = ""
    folds: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    count: int = 40

    def folder(self, run: str = "") -> Path:
        """Where the maps of such a call are, of this run or of another one; own layers and ids have own folders."""
        words = [self.method]
        if self.layer:
            words.append(self.layer)
        if self.ids:
            words.append("ids")
        return RunFolder(run or self.name).path / "explain" / re.sub(r"[^\w.+-]", "_", "-".join(words))


def open_run(name: str) -> tuple[Prepared, list[int]]:
    """A run of runs/ with its data in hand, and its finished folds; the experiment's code is not needed.

    Raises:
        InputError: no finished fold; or images, labels or folds are not those that it was trained on.
    """
    folders = RunFolder(name).require_finished_folds()
    config = folders[0].config()
    request = Request(name, config.exp(), parent=config.parent, changed=config.changed)
    ready = prepare(request, trained=folders[0])
    for folder in folders:
        _require_same_data(ready, folder)
    return ready, [folder.number for folder in folders]


def _require_same_data(ready: Prepared, folder: FoldFolder) -> None:
    folder.is_finished()  # proves the hash of every file
    trained_on = folder.config().fingerprint
    present = ready.fingerprint()
    for name in ("index", "content", "folds"):
        key = f"{name}_sha256"
        if trained_on[key] != present[key]:
            raise InputError(f"{folder.path} was trained on another {name} of {ready.exp.data} than the one in input/")
    require_shown(folder.config().shown, ready.index.dataset, ready.exp.channels, str(folder.path))


def select_images(ready: Prepared, trained: list[int], config: ExplainConfig) -> dict[int, list[str]]:
    """Fold -> ids of its own validation images that are explained: a random sample, stratified by class, or `ids`.

    Raises:
        InputError: a fold that is not trained, an unknown id, or an id that the chosen folds were trained on.
    """
    for fold in config.folds:
        ready.folds.require(fold)
        if fold not in trained:
            raise InputError(f"fold {fold} of {config.name} is not finished; finished are {trained}")
    if config.ids:
        return _by_fold(ready, trained, config)
    sample = ready.folds.sample(config.count) if config.count else ready.folds
    return {fold: sorted(sample.ids(fold)) for fold in sorted(set(config.folds)) or trained}


def _by_fold(ready: Prepared, trained: list[int], config: ExplainConfig) -> dict[int, list[str]]:
    """Fold -> those of the chosen ids that it validates."""
    fold_of = dict(zip(ready.folds.table["id"], ready.folds.table["fold"].tolist(), strict=True))
    tests = set(ready.index.test["id"])
    chosen: dict[int, list[str]] = {}
    for image in dict.fromkeys(config.ids):
        if image in tests:
            raise InputError(f"--ids {image}: it is a test image, which no fold validates")
        if image not in fold_of:
            raise InputError(f"--ids {image}: it is no image of this data set{did_you_mean(image, fold_of)}")
        fold = fold_of[image]
        if config.folds and fold not in config.folds:
            other = f"the model of fold {min(config.folds)} was trained on it; leave out --fold"
            raise InputError(f"--ids {image}: it is a validation image of fold {fold}, and {other}")
        if fold not in trained:
            raise InputError(f"--ids {image}: it belongs to fold {fold} of {config.name}, which is not finished")
        chosen.setdefault(fold, []).append(image)
    return dict(sorted(chosen.items()))
