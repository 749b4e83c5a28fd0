"""Synthetic images for the training part of a fold, and the proof that none is related to its validation images.

A synthetic set has a part for each fold, a data set of its own: input/NAME_fold0, input/NAME_fold1, ... as
`chestfold synth blend NAME_fold0 --fold 0` makes them. Its train.csv says what each image was made from: `parents`
(ids of real nodules, or of all that the generator saw, joined by `;`) and `host`. Rows without parents are untouched
copies of hosts, which the real set holds already: they are left out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, sha256_file, sha256_json
from chestfold.data.cache import Cache, open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form, as_hashed, require_channels
from chestfold.data.tables import read_table

NEEDED = ("label", "group", "host", "parents", "fold")


@dataclass(frozen=True)
class SyntheticPart:
    """A synthetic set's images for one fold, not yet proven. `table`: one row an image, cells are texts."""

    name: str
    path: Path
    fold: int
    table: pd.DataFrame
    cache: Cache
    sha256: str

    @property
    def pixels(self) -> np.ndarray:
        """(N, S, S) or (N, S, S, 3), in the order of the table."""
        return np.asarray(self.cache.images[self.cache.rows(self.table["id"])])

    @property
    def ids(self) -> list[str]:
        """Their ids, which carry the name of the part: those of real images may be the same."""
        return [f"{self.name}/{i}" for i in self.table["id"]]

    def parents(self) -> set[str]:
        """Ids of all real nodules that an image of this part was made from."""
        return {parent for cell in self.table["parents"] for parent in cell.split(";")}


def open_part(name: str, fold: int, form: Form) -> SyntheticPart:
    """The synthetic images of the set `name` for `fold`, in the form of the real ones.

    Raises:
        InputError: there is no such part; its table lacks a column, or was made for another fold.
    """
    full = f"{name}_fold{fold}"
    if not (input_dir() / full / "dataset.toml").exists():
        raise InputError(
            f"there is no {input_dir() / full}, the synthetic images for fold {fold}; make it with: "
            f"chestfold synth blend {full} --fold {fold} --nodules ... --hosts ... --count ..."
        )
    index = open_index(full)
    path = index.root / index.dataset.table
    table = read_table(path)
    for column in NEEDED:
        if column not in table:
            raise InputError(f"{path} has no column {column!r}, so that nobody knows what its images were made from")
    table = table[table["parents"] != ""].reset_index(drop=True)
    if table.empty:
        raise InputError(f"{path}: no row has parents, so that the set holds no synthetic image")
    strays = table[table["fold"] != str(fold)]
    if len(strays):
        row = strays.iloc[0]
        raise InputError(f"{path}: {row['id']} was made for fold {row['fold'] or '(none)'}, not for fold {fold}")
    require_channels(form, index.dataset)
    cache = open_cache(index, form.size, form.channels, form.depth)
    digest = sha256_json([cache.content, sha256_file(path), *as_hashed(index.dataset, form.channels)])
    return SyntheticPart(full, path, fold, table, cache, digest)


def require_unrelated(part: SyntheticPart, group_of: dict[str, str], held_out: set[str]) -> None:
    """Prove that no image of `part` descends from a held-out image or from another of the same patient.

    Args:
        part: what is about to be trained upon.
        group_of: id -> patient of every real image of the experiment's data set.
        held_out: ids of the real images that must stay unseen: validation and test.

    Raises:
        InputError: one does; names it, its parent and what to do.
    """
    patients = {group_of[i] for i in held_out}
    related = held_out | {i for i, group in group_of.items() if group in patients}
    for row in part.table.to_dict("records"):
        origins = {*row["parents"].split(";"), row["host"]} - {""}
        guilty = sorted(origins & related)
        if guilty:
            raise InputError(
                f"{_where(part, row)} descends from {guilty[0]}, which {_why(guilty[0], held_out)} {_ADVICE}"
            )
        if not row["host"] and row["group"] in patients:
            raise InputError(f"{_where(part, row)} is of patient {row['group']}, who is held out {_ADVICE}")


_ADVICE = "in this fold; make the set again with synth blend --fold"


def _where(part: SyntheticPart, row: dict[Any, Any]) -> str:
    return f"{part.path}: {row['id']}"


def _why(parent: str, held_out: set[str]) -> str:
    return "is held out" if parent in held_out else "is of a patient who is held out"
