"""Another data set whose labelled images join the training part of every fold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import sha256_json
from chestfold.core.task import Labels, Task
from chestfold.data.additions import Addition
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import Form, as_hashed, require_channels
from chestfold.data.dataset import Index
from chestfold.data.folds.checks import task_of
from chestfold.data.tabular import Cells, read_cells
from chestfold.data.twins import digests


@dataclass(frozen=True)
class ExtraSet:
    """The labelled training images of another data set. `rows`: its index's; `labels`: in the order of the rows.

    `cells`: what its table says of them, where that is asked for.
    """

    index: Index
    rows: pd.DataFrame
    labels: Labels
    cells: Cells | None = None

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.index.dataset.name

    @property
    def ids(self) -> list[str]:
        """Of its images."""
        return self.rows["id"].tolist()

    def sha256(self, channels: int) -> str:
        """Of the images, what is declared of their pixels in so many channels, their labels and their cells."""
        digest_of = digests(self.index)
        rows = [[row.id, digest_of[row.id], row.label] for row in self.rows.itertuples()]
        cells = [self.cells.texts.tolist()] if self.cells else []
        shown = as_hashed(self.index.dataset, channels)
        return sha256_json([list(self.index.dataset.classes), rows, *cells, *shown])

    def addition(self, form: Form) -> Addition:
        """Its images in the form of the experiment's own."""
        require_channels(form, self.index.dataset)
        cache = open_cache(self.index, form.size, form.channels, form.depth)
        ids = [f"{self.name}/{image_id}" for image_id in self.ids]
        about = f"of the data set {self.name}"
        pixels = np.asarray(cache.images[cache.rows(self.ids)])
        return Addition("extra", pixels, ids, self.labels, about, self.cells)


def open_extra(name: str, task: Task, columns: Sequence[str] = ()) -> ExtraSet:
    """The data set `name` as more images for `task`, with the `columns` beside the image.

    Of several labels, those that it does not declare are unknown for its images.

    Raises:
        InputError: there is no such data set, its classes are others, or it lacks a column.
    """
    index = open_index(name)
    theirs = task_of(index)
    _require_same_classes(name, theirs, task)
    rows = index.train
    labels = theirs.labels(rows["label"].tolist())
    known = ~np.isnan(theirs.truth(labels)).all(axis=1)
    kept = rows[known].reset_index(drop=True)
    cells = read_cells(kept, columns, index.dataset) if columns else None
    return ExtraSet(index, kept, _translated(labels[known], theirs, task), cells)


def _require_same_classes(name: str, theirs: Task, task: Task) -> None:
    source = f"extra = {name!r}"
    if theirs.sums_to_one != task.sums_to_one:
        raise InputError(f"{source}: it is declared as {theirs.name}, and this experiment's data set as {task.name}")
    unknown = [label for label in theirs.classes if label not in task.classes]
    missing = [label for label in task.classes if label not in theirs.classes]
    if unknown or (missing and task.sums_to_one):
        raise InputError(
            f"{source}: its classes are {', '.join(theirs.classes)}, and those here {', '.join(task.classes)}; give "
            "them the same names in its dataset.toml"
        )


def _translated(labels: Labels, theirs: Task, task: Task) -> Labels:
    """Labels of another data set, by its task, as those of this one, whose classes may have another order."""
    if task.sums_to_one:
        numbers = np.array([task.classes.index(label) for label in theirs.classes], np.int64)
        return numbers[labels]
    translated = np.full((len(labels), len(task.classes)), np.nan, np.float32)
    for column, label in enumerate(theirs.classes):
        translated[:, task.classes.index(label)] = labels[:, column]
    return translated
