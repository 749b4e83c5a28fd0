"""A split that leaks on purpose: by image, whatever the patient and the duplicates, as a plain stratified split does.

It is there to be compared with the sound one: the difference is what leaks would have added to the score. What is
trained on it carries a warning, and is blended with nothing else.
"""

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.task import Task
from chestfold.data.dataset import Index
from chestfold.data.folds.checks import leak_report
from chestfold.data.folds.file import LEAKY, Folds, describe, store
from chestfold.data.folds.splitting import linked_images


def make_leaky(index: Index, name: str, count: int, seed: int) -> tuple[Folds, bool]:
    """Write folds/NAME.csv and .json, in which every image is its own group; True when they are new.

    Raises:
        InputError: another split of this name exists, or the patients and the images are the same, so that nothing
            can leak.
    """
    images = linked_images(index)
    table = split_by_image(images.table, images.task, count, seed)
    leaks = leak_report(table, images.exact, images.near)
    if not any(leaks["straddling"].values()):
        raise InputError(f"{index.dataset.name}: no patient and no duplicate has two images, so that nothing can leak")
    table["group"] = table["id"]
    record = describe(index, table, leaks, LEAKY, count).model_copy(update={"seed": seed})
    return store(name, index, table, record)


def split_by_image(table: pd.DataFrame, task: Task, count: int, seed: int) -> pd.DataFrame:
    """A copy of a table of images, columns id and label, with a column fold: stratified, and nothing else."""
    from sklearn.model_selection import StratifiedKFold  # half a second, which nobody else who has folds needs

    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    split = table.assign(fold=0)
    strata = task.strata(task.labels(table["label"].tolist()))
    for fold, (_, held_out) in enumerate(splitter.split(table, strata)):
        split.iloc[held_out, split.columns.get_loc("fold")] = fold
    return split
