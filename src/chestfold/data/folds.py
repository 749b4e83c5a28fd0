"""Fold files: made once, asserted, hashed, committed, never edited."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, read_json, sha256, write_bytes, write_json
from chestfold.core.rng import key
from chestfold.data.cache import content_hashes, open_cache
from chestfold.data.dataset import Index
from chestfold.data.duplicates import exact_groups, joined, near_pairs
from chestfold.data.tables import read_table

SCHEME = "stratified by label, grouped by patient and duplicates"
THUMBNAIL = 64


@dataclass(frozen=True)
class Folds:
    """A fold file that was read and checked. `table`: id, group, label, fold; one row per training image."""

    name: str
    table: pd.DataFrame
    sha256: str
    count: int

    def ids(self, fold: int) -> list[str]:
        """Ids of the validation images of `fold`."""
        self.require(fold)
        return self.table.loc[self.table["fold"] == fold, "id"].tolist()

    def other_ids(self, fold: int) -> list[str]:
        """Ids of the training images of `fold`: those of all other folds."""
        self.require(fold)
        return self.table.loc[self.table["fold"] != fold, "id"].tolist()

    def sample(self, images: int) -> "Folds":
        """Of each fold about so many images, of each of its classes the same number where there are enough."""
        classes = self.table["label"].nunique()
        order = self.table["id"].map(lambda image_id: key("folds sample", image_id))
        shuffled = self.table.loc[order.sort_values().index]
        kept = shuffled.groupby(["fold", "label"], sort=False).head(max(1, images // classes))
        return replace(self, table=self.table.loc[sorted(kept.index)].reset_index(drop=True))

    def require(self, fold: int) -> None:
        """Raise `InputError` when there is no such fold."""
        if not 0 <= fold < self.count:
            raise InputError(f"fold {fold} does not exist: folds/{self.name}.csv has folds 0 to {self.count - 1}")


def linked_duplicates(index: Index) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Positions in `index.train` of byte-identical images (groups) and of near duplicates (pairs)."""
    train = index.train
    digest_of = dict(zip(index.table["id"], content_hashes(index), strict=True))
    cache = open_cache(index, THUMBNAIL)
    thumbnails = np.asarray(cache.images)[cache.rows(train["id"])]
    return exact_groups([digest_of[i] for i in train["id"]]), near_pairs(thumbnails)


def split(index: Index, count: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A fold table (id, group, label, fold) and its leak report. Duplicates are one group before the split.

    Raises:
        InputError: fewer groups in a class than folds.
    """
    train = index.train
    exact, near = linked_duplicates(index)
    groups = joined(train["group"].tolist(), [*exact, *near])
    table = pd.DataFrame({"id": train["id"], "group": groups, "label": train["label"], "fold": -1})
    for name, members in table.groupby("label")["group"]:
        if members.nunique() < count:
            raise InputError(f"{count} folds need {count} patients in class {name!r}; it has {members.nunique()}")
    from sklearn.model_selection import StratifiedGroupKFold  # a second of work that few commands need

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(splitter.split(table, table["label"], table["group"])):
        table.loc[rows, "fold"] = fold
    assert_sound(table, index, count)
    report = leak_report(table, exact, near)
    if any(report["straddling"].values()):
        raise AssertionError(f"the split leaks: {report}")
    return table, report


def assert_sound(table: pd.DataFrame, index: Index, count: int) -> None:
    """Prove what a fold file promises.

    Raises:
        InputError: an id twice or missing, a group in two folds, a class missing from a fold, a fold too many,
            another label.
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
    if table["fold"].max() >= count:  # it would be validated nowhere and trained on everywhere
        raise InputError(f"the fold file has a fold {table['fold'].max()}, but is said to have {count} folds")
    cells = pd.crosstab(table["fold"], table["label"]).reindex(range(count), fill_value=0)
    if (cells == 0).any(axis=None):
        fold, label = next((f, c) for f in cells.index for c in cells.columns if cells.loc[f, c] == 0)
        raise InputError(f"fold {fold} has no image of class {label!r}; make fewer folds")


def leak_report(table: pd.DataFrame, exact: list[list[int]], near: list[tuple[int, int]]) -> dict[str, dict[str, int]]:
    """How many groups and duplicates there are, and how many of them are in more than one fold."""
    folds = table["fold"].to_numpy()
    kinds: dict[str, Sequence[Sequence[int]]] = {"exact duplicates": exact, "near duplicates": near}
    straddling = {kind: sum(len(set(folds[list(s)])) > 1 for s in sets) for kind, sets in kinds.items()}
    straddling["groups"] = int((table.groupby("group")["fold"].nunique() > 1).sum())
    found = {kind: len(sets) for kind, sets in kinds.items()} | {"groups": table["group"].nunique()}
    return {"found": found, "straddling": straddling}


def _paths(name: str) -> tuple[Path, Path]:
    return folds_dir() / f"{name}.csv", folds_dir() / f"{name}.json"


def make(index: Index, name: str, count: int = 5, seed: int = 0) -> tuple[Folds, bool]:
    """Write folds/NAME.csv and .json; True when they are new, False when the same split was there already.

    Raises:
        InputError: another split of this name exists (fold files are never edited).
    """
    csv_path, json_path = _paths(name)
    table, report = split(index, count, seed)
    data = table.to_csv(index=False, lineterminator="\n").encode()
    if csv_path.exists() and csv_path.read_bytes() != data:
        raise InputError(f"{csv_path} exists and differs; fold files are never edited, choose a new --name")
    if csv_path.exists() and json_path.exists():
        return load(name, index), False
    about = {
        "data": index.dataset.name,
        "scheme": SCHEME,
        "seed": seed,
        "folds": count,
        "patient": index.dataset.patient,
        "index_sha256": index.sha256(),
        "sha256": sha256(data),
        "leaks": report,
        "images": {str(f): c.to_dict() for f, c in pd.crosstab(table["fold"], table["label"]).iterrows()},
    }
    write_bytes(csv_path, data)
    write_json(json_path, about)
    return load(name, index), True


def load(name: str, index: Index) -> Folds:
    """Read and check folds/NAME.csv against its JSON and against the data set.

    Raises:
        InputError: it is missing, was edited, belongs to other data, or is not sound.
    """
    csv_path, json_path = _paths(name)
    data = index.dataset.name
    if not (csv_path.exists() and json_path.exists()):
        raise InputError(f"{csv_path} does not exist; make it: chestfold folds make {data} --name {name}")
    about = read_json(json_path)
    if about["data"] != data:
        raise InputError(f"{csv_path} belongs to the data set {about['data']!r}, not to {data!r}")
    if sha256(csv_path.read_bytes()) != about["sha256"]:
        raise InputError(f"{csv_path} was changed after it was made (hash differs); restore it or make a new one")
    table = read_table(csv_path)
    table["fold"] = table["fold"].astype(int)
    assert_sound(table, index, about["folds"])
    if index.sha256() != about["index_sha256"]:
        raise InputError(f"{csv_path}: labels or patients of {data} changed since it was made; make a new one")
    return Folds(name, table, about["sha256"], about["folds"])


def check(name: str, index: Index) -> dict[str, dict[str, int]]:
    """Read folds/NAME.csv, prove it again, search for duplicates again, and return the leak report."""
    folds = load(name, index)
    order = index.train["id"].tolist()
    table = folds.table.set_index("id").loc[order].reset_index()
    return leak_report(table, *linked_duplicates(index))
