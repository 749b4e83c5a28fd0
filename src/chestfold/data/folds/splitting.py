"""A split into folds: stratified by label, grouped by patient and duplicates."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.rng import key
from chestfold.core.task import Task
from chestfold.data.dataset import Index
from chestfold.data.duplicates import joined
from chestfold.data.folds.assign import balanced, covering, seeded_order
from chestfold.data.folds.checks import (
    Kinds,
    LeakReport,
    assert_sound,
    count_by,
    first_lack,
    kinds_of,
    leak_report,
    linked_duplicates,
    task_of,
    ways_on,
)

SCHEME = "stratified by label, grouped by patient and duplicates"
SCHEME_LABELS = "stratified by all labels, grouped by patient and duplicates"
COVERED = "; a patient of each rare class placed first"
"""Added to the scheme where no seed gave every fold all that it needs."""
TRIES = 10
"""Further seeds, where the split of the given one lacks something."""
SEEDS = 2**32


@dataclass(frozen=True)
class Images:
    """The training images of `index`, and what links them. `table`: id, group, label; duplicates are one group."""

    index: Index
    table: pd.DataFrame
    exact: list[list[int]]
    near: list[tuple[int, int]]
    task: Task
    kinds: Kinds


@dataclass(frozen=True)
class Split:
    """A sound split. `table`: id, group, label, fold; `seed`: the one that gave it, which need not be the given one."""

    table: pd.DataFrame
    leaks: LeakReport
    scheme: str
    seed: int


def linked_images(index: Index) -> Images:
    """The training images; those of patients who share a duplicate are one group."""
    train, task = index.train, task_of(index)
    exact, near = linked_duplicates(index)
    groups = joined(train["group"].tolist(), [*exact, *near])
    table = pd.DataFrame({"id": train["id"], "group": groups, "label": train["label"]})
    return Images(index, table, exact, near, task, kinds_of(task, table["label"].tolist()))


def split(index: Index, count: int, seed: int) -> Split:
    """Deal the training images of `index` out to `count` folds. Duplicates are one group before that.

    Raises:
        InputError: a class has fewer patients than folds, or no split was found in which every fold has all classes
            (of several labels an image: images with and without each).
    """
    return split_images(linked_images(index), count, seed)


def split_images(images: Images, count: int, seed: int) -> Split:
    """As `split`: the split of `seed`; if that lacks a class, of further seeds; else one that is made to have all."""
    if not 0 <= seed < SEEDS:
        raise InputError(f"--seed {seed}: a whole number from 0 to {SEEDS - 1} is needed")
    _require_patients(images, count)
    scheme = SCHEME if images.task.sums_to_one else SCHEME_LABELS
    for tried in [seed, *(key("folds", seed, n) % SEEDS for n in range(TRIES))]:
        fold_of = stratified(images, count, tried)
        if first_lack(images.kinds, fold_of, count) is None:
            return _proven(images, fold_of, count, scheme, tried)
    return _proven(images, _with_all_kinds(images, count, seed), count, scheme + COVERED, seed)


def _require_patients(images: Images, count: int) -> None:
    """Raise `InputError` where a kind of image has fewer patients than there are folds; it names the rarest."""
    codes, names = pd.factorize(images.table["group"])
    patients = (count_by(codes, images.kinds.held, len(names)) > 0).sum(axis=0)
    fewest = int(patients.min())
    if fewest >= count:
        return
    kind = images.kinds.names[int(patients.argmin())]
    there = "there is 1" if fewest == 1 else f"there are {fewest}"
    fewer = f"make fewer folds (--folds {fewest}), or add patients"
    way = fewer if fewest > 1 else "add patients, or leave it out"
    raise InputError(f"{count} folds need {count} patients {kind}; {there}: {way}")


def stratified(images: Images, count: int, seed: int) -> np.ndarray:
    """The fold of each image, int64 (N,): exclusive classes by scikit-learn, several labels an image by `balanced`."""
    if not images.task.sums_to_one:
        codes, counts, order = _groups(images, seed)
        return balanced(counts, count, order)[codes]
    from sklearn.model_selection import StratifiedGroupKFold  # a second of work that few commands need

    table = images.table
    fold_of = np.full(len(table), -1)
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(table, table["label"], table["group"])):
        fold_of[rows] = fold
    return fold_of


def _groups(images: Images, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The group number of each image (N,); of each group its images of each kind and in all (G, R + 1); an order."""
    codes, names = pd.factorize(images.table["group"])
    every_image = np.ones((len(codes), 1), bool)
    counts = count_by(codes, np.hstack([images.kinds.held, every_image]), len(names))
    return codes, counts, seeded_order(counts, list(names), seed)


def _with_all_kinds(images: Images, count: int, seed: int) -> np.ndarray:
    """The fold of each image, int64 (N,), where every fold has what it needs, and else is as even as that allows."""
    codes, counts, order = _groups(images, seed)
    fixed = covering(counts[:, :-1] > 0, counts[:, -1], count, order)
    if fixed is None:
        one_class = images.task.sums_to_one
        each = "an image of every class" if one_class else "an image with and one without each label"
        way = ways_on(count, f"leave a {'class' if one_class else 'label'} out")
        raise InputError(f"no split was found in which each of {count} folds has {each}: {way}")
    return balanced(counts, count, order, fixed)[codes]


def _proven(images: Images, fold_of: np.ndarray, count: int, scheme: str, seed: int) -> Split:
    table = images.table.assign(fold=fold_of)
    assert_sound(table, images.index, count)
    leaks = leak_report(table, images.exact, images.near)
    if any(leaks["straddling"].values()):
        raise AssertionError(f"the split leaks: {leaks}")
    return Split(table, leaks, scheme, seed)
