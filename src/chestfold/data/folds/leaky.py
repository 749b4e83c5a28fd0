"""A split that leaks on purpose: by image, whatever the patient and the duplicates, as a plain stratified split does.

It is there to be compared with the sound one: the difference is what leaks would have added to the score. What is
trained on it carries a warning, and is blended with nothing else.
"""

from chestfold.core.errors import InputError
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
    from sklearn.model_selection import StratifiedKFold  # half a second, which nobody else who has folds needs

    images = linked_images(index)
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    table = images.table.assign(fold=0)
    strata = images.task.strata(images.task.labels(table["label"].tolist()))
    for fold, (_, held_out) in enumerate(splitter.split(table, strata)):
        table.iloc[held_out, table.columns.get_loc("fold")] = fold
    leaks = leak_report(table, images.exact, images.near)
    if not any(leaks["straddling"].values()):
        raise InputError(f"{index.dataset.name}: no patient and no duplicate has two images, so that nothing can leak")
    table["group"] = table["id"]
    record = describe(index, table, leaks, LEAKY, count).model_copy(update={"seed": seed})
    return store(name, index, table, record)
