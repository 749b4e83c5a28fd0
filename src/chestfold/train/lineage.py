"""What a fold takes over from an earlier run, and the proof that this never saw its validation images.

A fold is the same one where number, fold file and labels are: then its earlier model was not trained on the images that
the new one is validated on. What that model took over itself was proven in the same way when it was trained.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder, RunFolder, fold_title
from chestfold.core.task import Task
from chestfold.evaluate import predictions
from chestfold.evaluate.results import find_result

SPLIT = {"folds_sha256": "a different fold file", "index_sha256": "different images, labels or patients"}
"""Hash in a fingerprint -> what of a split it is of."""


def earlier_fold(source: str, name: str, fold: int, ours: Mapping[str, str]) -> FoldFolder:
    """The finished fold `fold` of the run `name`, proven to be of the split that `ours` is of.

    Args:
        source: the setting that names the run, with its value, for a complaint.
        name: of the run.
        fold: its number.
        ours: the fingerprint of the fold that is about to be trained.

    Raises:
        InputError: there is none, a file of it was changed, or it is another fold or of another split.
    """
    folder = RunFolder(name).fold(fold)
    if not folder.is_finished():
        raise InputError(f"{source}: {_why_missing(name, fold)}")
    config = folder.config()
    if config.fold != fold:
        raise InputError(
            f"{source}: {folder.path} holds {fold_title(config.fold)}, whose model has seen images that "
            f"{fold_title(fold)} is validated on; restore the folder"
        )
    for key, what in SPLIT.items():
        if config.fingerprint.get(key) != ours[key]:
            raise InputError(
                f"{source}: {folder.path} was trained with {what}, and may have seen images that {fold_title(fold)} "
                "is validated on; take a run on the same folds"
            )
    return folder


def _why_missing(name: str, fold: int) -> str:
    """Why there is no finished fold, and what to do."""
    run = RunFolder(name)
    if run.begun_folds():
        return f"{fold_title(fold)} of it is not finished in {run.path}; train it first"
    result = find_result(name)
    if result.record.kind == "imported":
        return f"it was imported from {result.record.source}, without networks; take a run of your own"
    if result.record.kind != "experiment":
        members = ", ".join(result.record.members)
        return f"it is not a run but made of others; take one of these ({members})"
    return f"it is published, without its folds; train it here first, or copy them to {run.path}"


def file_of_test_predictions(source: str, folder: FoldFolder) -> Path:
    """Where a proven fold has its test predictions; `InputError` where it has none."""
    path = folder.table_path("test")
    if path.name not in folder.manifest().files:
        raise InputError(f"{source}: {folder.path} has no test predictions, because its data set had no test images")
    return path


def earlier_test_predictions(
    source: str, folder: FoldFolder, ids: Sequence[str], task: Task, ours: Mapping[str, str]
) -> np.ndarray:
    """What a proven fold predicted for the test images `ids`, float64 (N, K), in their order and that of the classes.

    Raises:
        InputError: it predicted none, other images or other classes, or the file is another fold's.
    """
    path = file_of_test_predictions(source, folder)
    table, origin = predictions.read(path)
    if origin["fold"] != folder.config().fold or origin["folds_sha256"] != ours["folds_sha256"]:
        raise InputError(f"{source}: {path} was made by {fold_title(origin['fold'])} of another run; restore it")
    if set(table["id"]) != set(ids) or origin["content_sha256"] != ours["content_sha256"]:
        raise InputError(
            f"{source}: {path} is not about the {len(ids)} test images that are here now, but about {len(table)} of "
            "another time or of a debug run; train that run again"
        )
    if sorted(predictions.class_columns(table)) != sorted(task.classes):
        raise InputError(f"{source}: {path} has other classes ({', '.join(predictions.class_columns(table))})")
    return predictions.probabilities(predictions.aligned(table, pd.Series(ids), task.classes))
