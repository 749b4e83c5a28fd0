"""What a fold table promises, proven; how even it is, measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.task import Task, create_task
from chestfold.data.cache import content_hashes, open_cache
from chestfold.data.dataset import Index
from chestfold.data.duplicates import exact_groups, near_pairs

THUMBNAIL = 64
DEFAULT_COUNT = 5
"""Folds, where no number is given."""

LeakReport = dict[str, dict[str, int]]
"""`found` and `straddling`: kind of link between images -> how many."""


def task_of(index: Index) -> Task:
    """What the labels of a data set mean."""
    dataset = index.dataset
    return create_task(dataset.task, dataset.classes, dataset.positive)


# What every fold must hold


@dataclass(frozen=True)
class Kinds:
    """The kinds of image that no fold may lack. `held`: bool (N, R), which of them an image is; `names` say what."""

    names: list[str]
    held: np.ndarray


def kinds_of(task: Task, texts: Sequence[str]) -> Kinds:
    """One for each class; of several labels an image two for each: has it, and is known not to have it."""
    truth = task.truth(task.labels(texts))
    if task.sums_to_one:
        return Kinds([f"of class {name!r}" for name in task.classes], truth == 1)
    names = [f"with label {name!r}" for name in task.classes] + [f"without label {name!r}" for name in task.classes]
    return Kinds(names, np.hstack([truth == 1, truth == 0]))


def count_by(codes: np.ndarray, columns: np.ndarray, length: int) -> np.ndarray:
    """Sums of the rows of `columns` (N, C) that share a code (N,), int64 (length, C)."""
    sums = np.zeros((length, columns.shape[1]), np.int64)
    np.add.at(sums, codes, columns.astype(np.int64))
    return sums


def first_lack(kinds: Kinds, fold_of: np.ndarray, count: int) -> tuple[int, str] | None:
    """The first fold that has no image of some kind, and the name of the kind; None where each fold has all."""
    cells = count_by(fold_of, kinds.held, count)
    lacks = np.argwhere(cells == 0).tolist()
    return (lacks[0][0], kinds.names[lacks[0][1]]) if lacks else None


def ways_on(count: int, other: str) -> str:
    """What helps where folds lack a kind of image, and `other` ways; two folds cannot become fewer."""
    return f"make fewer folds, add patients, or {other}" if count > 2 else f"add patients, or {other}"


def assert_sound(table: pd.DataFrame, index: Index, count: int) -> None:
    """Prove what a fold file promises.

    Raises:
        InputError: an id twice or missing, another label, a group in two folds, a fold that there is not, a class
            missing from a fold, or a label of which a fold has no image with it, or none without it.
    """
    if table["id"].duplicated().any():
        raise InputError(f"id {table.loc[table['id'].duplicated(), 'id'].iloc[0]!r} occurs twice in the fold file")
    expected = index.train.set_index("id")["label"]
    strays = sorted(set(table["id"]) ^ set(expected.index))
    if strays:
        raise InputError(f"the fold file and the data set differ in {len(strays)} ids, the first is {strays[0]!r}")
    wrong = table[table["label"].to_numpy() != expected.loc[table["id"]].to_numpy()]
    if len(wrong):
        raise InputError(f"the label of {wrong['id'].iloc[0]!r} in the fold file is not that of the data set")
    spread = table.groupby("group")["fold"].nunique()
    if (spread > 1).any():
        raise InputError(f"group {spread.idxmax()!r} is in {spread.max()} folds")
    outside = table.loc[~table["fold"].between(0, count - 1), "fold"]
    if len(outside):  # it would be validated nowhere and trained on everywhere
        raise InputError(f"the fold file has a fold {outside.iloc[0]}, but is said to have {count} folds")
    lack = first_lack(kinds_of(task_of(index), table["label"].tolist()), table["fold"].to_numpy(), count)
    if lack:
        fold, kind = lack
        raise InputError(f"fold {fold} has no image {kind}; {ways_on(count, 'try another --seed')}")


# Leaks


def linked_duplicates(index: Index) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Positions in `index.train` of byte-identical images (groups) and of near duplicates (pairs)."""
    train = index.train
    digest_of = dict(zip(index.table["id"], content_hashes(index), strict=True))
    cache = open_cache(index, THUMBNAIL)
    thumbnails = np.asarray(cache.images)[cache.rows(train["id"])]
    return exact_groups([digest_of[i] for i in train["id"]]), near_pairs(thumbnails)


def leak_report(table: pd.DataFrame, exact: list[list[int]], near: list[tuple[int, int]]) -> LeakReport:
    """How many groups and duplicates there are, and how many of them are in more than one fold."""
    folds = table["fold"].to_numpy()
    kinds: dict[str, Sequence[Sequence[int]]] = {"exact duplicates": exact, "near duplicates": near}
    straddling = {}
    for kind, sets in kinds.items():
        in_folds = [set(folds[list(members)]) for members in sets]
        straddling[kind] = sum(len(numbers) > 1 for numbers in in_folds)
    straddling["groups"] = int((table.groupby("group")["fold"].nunique() > 1).sum())
    found = {kind: len(sets) for kind, sets in kinds.items()} | {"groups": table["group"].nunique()}
    return {"found": found, "straddling": straddling}


# How even the folds are


def label_rates(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """How far the rate of each label in a fold lies from its rate in all images; only known labels count.

    Returns:
        Columns label, rate (0 to 1), lowest and highest in a fold, deviation (the largest distance, 0 to 1), and
        relative (that divided by the rate).
    """
    truth = pd.DataFrame(task.truth(task.labels(table["label"].tolist())), columns=list(task.classes))
    of_folds = truth.groupby(table["fold"].to_numpy()).mean()  # a mean leaves NaN out
    rate = truth.mean()
    deviation = (of_folds - rate).abs().max()
    rows = {"rate": rate, "lowest": of_folds.min(), "highest": of_folds.max(), "deviation": deviation}
    return pd.DataFrame(rows | {"relative": deviation / rate}).rename_axis("label").reset_index()


def large_groups(index: Index, count: int, table: pd.DataFrame | None = None) -> list[str]:
    """A line for each patient with more images than a fold's part, and for each set of patients joined by duplicates.

    `table`: a fold table, whose groups are the joined ones.
    """
    train, part = index.train, len(index.train) / count
    lines = []
    for name, size in _larger(train["group"], part).items():
        way = f"declare unknown_group = {json.dumps([name], ensure_ascii=False)} if it means unknown"
        if index.dataset.reader == "folders" or index.dataset.patient_pattern:  # it is no cell of a table
            way = "look whether that is one patient"
        has = _share(size, len(train))
        lines.append(f"patient {name!r} has {has}, and a fold's part is {part:.0f}: {way}")
    if table is None:
        return lines
    patients = train.set_index("id")["group"].loc[table["id"]].to_numpy()
    for name, size in _larger(table["group"], part).items():
        members = len(set(patients[table["group"] == name]))
        if members > 1:
            lines.append(
                f"{members} patients, the first is {name!r}, share duplicates and are one group of "
                f"{_share(size, len(train))}: look whether empty or test pictures are among them"
            )
    return lines


def _larger(groups: pd.Series, part: float) -> dict[str, int]:
    """Groups of several images that are larger than `part`, the largest first."""
    sizes = groups.value_counts()
    large = sizes[(sizes > part) & (sizes > 1)]
    return {str(name): int(size) for name, size in large.items()}


def _share(size: int, images: int) -> str:
    return f"{size} of {images} images ({100 * size / images:.0f} %)"
