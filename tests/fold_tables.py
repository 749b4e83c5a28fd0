"""Indexes without image files, for tests of how images are split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.task.multilabel import label_text
from chestfold.data.dataset import Dataset, Index
from chestfold.data.folds import splitting
from chestfold.data.folds.checks import kinds_of, task_of


def index_of(task: str, classes: Sequence[str], texts: Sequence[str], groups: Sequence[str]) -> Index:
    """One training image for each label text."""
    ids = [f"t{n:06d}" for n in range(len(texts))]
    columns = {"id": ids, "path": [f"{i}.png" for i in ids], "label": list(texts), "group": list(groups)}
    positive = "" if task == "multilabel" else classes[-1]
    about = {"name": "drawn", "classes": tuple(classes), "positive": positive, "reader": "csv", "task": task}
    dataset = Dataset.model_validate(about)
    return Index(dataset, Path(), pd.DataFrame(columns | {"split": "train"}))


def images_of(index: Index) -> splitting.Images:
    """What is split, without a search for duplicates."""
    task = task_of(index)
    table = index.train[["id", "group", "label"]]
    return splitting.Images(index, table, [], [], task, kinds_of(task, table["label"].tolist()))


def texts_of(classes: Sequence[str], indicator: np.ndarray) -> list[str]:
    """The label text of each row of an indicator (N, K) of 0, 1 and NaN."""
    return [label_text(classes, row) for row in indicator]


def with_labels(index: Index, classes: Sequence[str], texts: Sequence[str]) -> Index:
    """The same images as a set of several labels an image; `texts` are those of the training images."""
    table = index.table.copy()
    table.loc[table["split"] == "train", "label"] = list(texts)
    about = index.dataset.model_dump() | {"task": "multilabel", "classes": tuple(classes), "positive": ""}
    return replace(index, dataset=Dataset(**about), table=table)
