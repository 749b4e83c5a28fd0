"""The calibrated copy of a result: runs/NAME-calibrated, a result like any other, with what it was calibrated by.

Out-of-fold predictions are calibrated by the other folds, test predictions and those of `chestfold predict` by all.
"""

from typing import Any

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import lock, sha256_json
from chestfold.core.run_folder import RunFolder
from chestfold.core.task import Task
from chestfold.evaluate import calibration, predictions
from chestfold.evaluate.calibration import Calibration
from chestfold.evaluate.ensemble import Calibrated, blend_tests
from chestfold.evaluate.results import Result, about_members, find_result, known_result, write_result

SUFFIX = "-calibrated"


def calibrate(name: str) -> Result:
    """The calibrated copy of a result; it is made, or made again, where there is none of its present predictions.

    Raises:
        InputError: no such result, a debug run, one that is calibrated already or averages ranks, one fold only, a
            class is missing in the folds that another one is calibrated by, or another result has the copy's name.
    """
    source = find_result(name)
    _require_probabilities(source)
    folder = RunFolder(name + SUFFIX)
    with lock(folder.path):
        known = known_result(folder.name)
        if folder.begun_folds() or (known and known.record.members != (name,)):
            raise InputError(f"{folder.path} holds another result; give that one another name first")
        if known and is_current(known, source):
            return known
        return _write(source, folder)


def is_current(result: Result, source: Result) -> bool:
    """Whether a calibrated result is of the predictions that its source has now."""
    made = result.record.calibration
    return made is not None and made.oof_sha256 == source.record.files["oof.parquet"]


def _require_probabilities(source: Result) -> None:
    record = source.record
    if source.is_debug:
        raise InputError(f"{source.name} is a debug run: its probabilities mean nothing, calibrated or not")
    if record.calibration:
        raise InputError(f"{source.name} is calibrated already")
    if record.method == "rank":
        raise InputError(
            f"{source.name} averages ranks, which depend on what else is predicted; blend its members by mean, greedy "
            "or stack to calibrate the blend"
        )


def _write(source: Result, folder: RunFolder) -> Result:
    oof, origin = source.oof()
    digest = source.record.files["oof.parquet"]
    assert digest is not None
    task = source.record.create_task()
    labels, folds = task.labels(oof["label"].tolist()), oof["fold"].to_numpy()
    try:
        made = calibration.fit_calibration(task, labels, predictions.probabilities(oof), folds, digest)
    except InputError as error:
        raise InputError(f"{source.name}: {error}") from error
    test = None
    if source.record.files.get("test.parquet"):
        blender = Calibrated(task, source.record.competition_metric, made.on_all)
        test = blend_tests([source.test()[0]], blender)
    about: dict[str, Any] = about_members([source]) | {"kind": "calibrated", "calibration": made}
    identity = {"experiment": folder.name, "config_sha256": sha256_json([source.name, "calibrated"])}
    origin |= identity | {"members": {source.name: digest}, "calibration": made.to_dict()}
    corrupted = _of_corrupted(source, task, made)
    return write_result(folder.path, _of_folds(oof, task, made), test, corrupted, origin, about, source.load_hooks())


def _of_folds(table: pd.DataFrame, task: Task, made: Calibration) -> pd.DataFrame:
    """Out-of-fold predictions, each calibrated by the other folds."""
    probs = made.of_fold(task, predictions.probabilities(table), table["fold"].to_numpy())
    return predictions.with_probabilities(table, probs)


def _of_corrupted(source: Result, task: Task, made: Calibration) -> pd.DataFrame | None:
    tables = source.corrupted()
    if tables is None:
        return None
    return predictions.stacked({name: _of_folds(table, task, made) for name, table in tables.items()})
