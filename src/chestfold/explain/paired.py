"""How a run's attention differs from its parent's, on the images that both were asked about."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.files import runs_dir
from chestfold.explain import measures


def parents_rows(parent: str, folder_name: str) -> pd.DataFrame | None:
    """images.csv of the parent's maps of the same kind; None where it has none."""
    path = runs_dir() / parent / "explain" / folder_name / "images.csv"
    return pd.read_csv(path) if parent and Path(parent).name == parent and path.exists() else None


def differences(ours: pd.DataFrame, theirs: pd.DataFrame, columns: list[str], classes: tuple[str, ...]) -> Any:
    """Column -> class (and "all") -> mean of ours minus theirs over the images in both, with its interval.

    The intervals are of the pairs: a bootstrap over patients of the differences, not of the two means apart.
    """
    both = ours.merge(theirs, on="id", suffixes=("", " theirs"), validate="one_to_one")
    number = {name: n for n, name in enumerate(classes)}
    labels = both["label"].map(number).to_numpy(np.int64, copy=True)
    gaps = {c: (both[c] - both[f"{c} theirs"]).to_numpy(np.float64) for c in columns if f"{c} theirs" in both}
    found = {c: measures.summary(gap, labels, both["group"].to_numpy(), classes) for c, gap in gaps.items()}
    return {column: scores for column, scores in found.items() if scores}
