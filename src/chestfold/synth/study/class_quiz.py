"""`chestfold quiz`: two classes of a data set, or a label of several, with a model's answers beside the reader's."""

from typing import Literal

import numpy as np
import pandas as pd

from chestfold.core.config import did_you_mean
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.core.task import Task, create_task
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.decode import decode_native
from chestfold.data.masks import LESION, read_mask
from chestfold.evaluate.results import Result, find_result
from chestfold.synth.study.quiz import Question, Quiz, half_of, shrunk


def class_quiz(name: str, classes: list[str], count: int, seed: int, blind: bool = False, run: str = "") -> Quiz:
    """A quiz of `count` labelled images of `name`, half of each kind, in a seeded order, each of another patient.

    Args:
        name: a data set.
        classes: two of its classes, the second is the signal; one label of several. None: the two that there are.
        count: of images.
        seed: another choice and order.
        blind: nothing is said before the end.
        run: name of a result. Only images that it has out-of-fold predictions of are drawn: no model has seen its own.

    Raises:
        InputError: an odd number or more than there are, a class that there is not, a run on other images.
    """
    half = half_of(count)
    index = open_index(name)
    task = create_task(index.dataset.task, index.dataset.classes, index.dataset.positive)
    chosen = _chosen_classes(task, classes)
    table = _with_kind(index.table, task, chosen)
    if run:
        table = table.merge(_model_answers(find_result(run), table, task, chosen), on="id")
    rng = generator("class quiz", seed)
    rows = _draw(table, half, rng, f"{name}{f' with predictions of {run}' if run else ''}", chosen)
    kind: Literal["classes", "label"] = "label" if len(chosen) == 1 else "classes"
    return Quiz(name, kind, _csv_names(chosen), [_question(index, row, chosen) for row in rows], blind, run)


def _chosen_classes(task: Task, classes: list[str]) -> list[str]:
    """One label, or two classes."""
    for name in classes:
        if name not in task.classes:
            near = did_you_mean(name, task.classes)
            raise InputError(f"--classes: {name!r} is not one of the classes{near}; they are {', '.join(task.classes)}")
    if task.sums_to_one and not classes and len(task.classes) == 2:
        return [name for name in task.classes if name != task.positive] + [task.positive]
    wanted, what = (2, "two different classes") if task.sums_to_one else (1, "one label, which is there or not")
    if len(set(classes)) != wanted or len(classes) != wanted:
        raise InputError(f"--classes: name {what}, of {', '.join(task.classes)}")
    return classes


def _csv_names(chosen: list[str]) -> tuple[str, str]:
    """Noise and signal."""
    return (f"no {chosen[0]}", chosen[0]) if len(chosen) == 1 else (chosen[0], chosen[1])


def _with_kind(table: pd.DataFrame, task: Task, chosen: list[str]) -> pd.DataFrame:
    """The images whose label is known and one of the two, with a column `is_signal`."""
    truth = task.truth(task.labels(table["label"].tolist()))
    signal = truth[:, task.classes.index(chosen[-1])]
    noise = 1 - signal if len(chosen) == 1 else truth[:, task.classes.index(chosen[0])]
    return table.assign(is_signal=signal == 1)[(signal == 1) | (noise == 1)]


def _model_answers(result: Result, table: pd.DataFrame, task: Task, chosen: list[str]) -> pd.DataFrame:
    """Columns id and model: the probability of the signal against the noise, of models that have not seen the image."""
    record = result.record
    if result.is_debug:
        raise InputError(f"--run {result.name} is a debug run: its answers mean nothing beside a reader's")
    oof = result.oof()[0]
    if set(record.classes) != set(task.classes) or not oof["id"].isin(table["id"]).any():
        raise InputError(f"--run {result.name} is a result on {record.data}, which has other images or classes")
    known = table.merge(oof[["id", "label"]], on="id", suffixes=("", " of the run"))
    changed = known[known["label"] != known["label of the run"]]
    if len(changed):
        raise InputError(f"--run {result.name}: the label of {changed['id'].iloc[0]!r} was another when it was trained")
    signal = oof[chosen[-1]].to_numpy()
    if len(chosen) == 2:
        both = signal + oof[chosen[0]].to_numpy()
        signal = np.divide(signal, both, out=np.full(len(signal), 0.5), where=both > 0)
    return pd.DataFrame({"id": oof["id"], "model": signal})


def _draw(
    table: pd.DataFrame, half: int, rng: np.random.Generator, source: str, chosen: list[str]
) -> list[dict[str, object]]:
    """Rows of `half` images of each kind, no two of one patient, shuffled."""
    shuffled = table.iloc[rng.permutation(len(table))]
    signals = shuffled[shuffled["is_signal"]].drop_duplicates("group")
    noises = shuffled[~shuffled["is_signal"]].drop_duplicates("group")
    # the kind with fewer patients chooses first: a patient may have images of both
    first, second = sorted((signals, noises), key=len)
    first = first.head(half)
    second = second[~second["group"].isin(first["group"])].head(half)
    fewest = min(len(first), len(second))
    if fewest < half:
        words = " and ".join(_csv_names(chosen))
        there = f"{source}: of {words} {fewest} images each can be drawn, no two of one patient"
        raise InputError(f"{there}; ask for --count {2 * fewest}" if fewest else there)
    rows = pd.concat([first, second]).to_dict("records")
    return [rows[n] for n in rng.permutation(2 * half)]


def _question(index: Index, row: dict[str, object], chosen: list[str]) -> Question:
    image_id = str(row["id"])
    image = shrunk(decode_native(index.root, str(row["path"]), *index.dataset.levels))
    mask = read_mask(index, LESION, image_id, image.shape)
    noise, signal = _csv_names(chosen)
    model = float(row["model"]) if "model" in row else None  # type: ignore[arg-type]
    return Question(image_id, signal if row["is_signal"] else noise, image, mask, model)
