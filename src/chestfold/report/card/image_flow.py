"""Where the images of a result went: read, left out, joined as duplicates, dealt to folds, scored. Never guessed."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import folds_dir, sha256_file
from chestfold.core.task import Task
from chestfold.data.catalogue import open_index
from chestfold.data.check import THUMBNAIL, Report, check
from chestfold.data.dataset import Index
from chestfold.data.decode import decode
from chestfold.data.folds import FoldsRecord
from chestfold.data.tables import read_table
from chestfold.evaluate.results import Result

LIMIT = 45.0
"""Seconds that reading all images once may take here."""
SAMPLE = 24
"""Images that are read to know how long all of them take."""


@dataclass(frozen=True)
class Part:
    """Some images. `labels`: class or label -> images that have it; "": those whose label is withheld."""

    images: int
    patients: int
    labels: dict[str, int]


@dataclass(frozen=True)
class ImageFlow:
    """What is known of a result's images; None: not known here.

    `left_out`: what the reader of the data set says it left out. `read`: all images, `train`, `test`: of each split.
    `record`: of the fold file, with its search for duplicates among the training images. `folds`: what each holds.
    `report`: of `data check`, today. `scored`: images with an out-of-fold prediction.
    """

    left_out: tuple[str, ...] | None
    read: Part | None
    train: Part | None
    test: Part | None
    record: FoldsRecord | None
    folds: list[Part] | None
    report: Report | None
    scored: Part

    @property
    def searched(self) -> dict[str, int] | None:
        """What the search found when the folds were made, and how much of it is in more than one fold."""
        if self.record is None:
            return None
        found, straddling = self.record.leaks["found"], self.record.leaks["straddling"]
        counts = {kind: found[f"{kind} duplicates"] for kind in ("exact", "near")}
        return counts | {"groups": found["groups"], "straddling": sum(straddling.values())}

    @property
    def searched_today(self) -> dict[str, int] | None:
        """What `data check` finds in all images, training and test."""
        report = self.report
        if report is None:
            return None
        counts = {"exact": len(report.exact), "near": len(report.near), "conflicts": len(report.conflicts)}
        return counts | {"both": report.test_images_in_train}

    def in_folds(self, numbers: Sequence[int]) -> int | None:
        """Images of some folds."""
        return sum(self.folds[number].images for number in numbers) if self.folds else None


def image_flow(result: Result) -> ImageFlow:
    """What the fold file, the result's own tables and input/, where it is there and still the same, know."""
    task = result.record.create_task()
    record = _fold_record(result)
    index = _index_of(result, record) if record else None
    return ImageFlow(
        left_out=index.notes if index else None,
        read=_part(index.table, task) if index else None,
        train=_part(index.train, task) if index else None,
        test=_part(index.test, task) if index else _test_part(result, task),
        record=record,
        folds=_parts_of_folds(result, task) if record else None,
        report=_report(index) if index else None,
        scored=_part(result.oof()[0], task),
    )


def _part(table: pd.DataFrame, task: Task) -> Part:
    return Part(len(table), table["group"].nunique(), label_counts(table["label"].tolist(), task))


def label_counts(texts: Sequence[str], task: Task) -> dict[str, int]:
    """Class or label -> how many images have it; "" -> of how many all is withheld, where there are some."""
    truth = task.truth(task.labels(texts))
    counts = dict(zip(task.classes, np.nansum(truth, axis=0).astype(int).tolist(), strict=True))
    withheld = Counter(texts)[""]
    return counts | ({"": withheld} if withheld else {})


def _fold_record(result: Result) -> FoldsRecord | None:
    """What is said of the fold file that the result was made with, where it is here and still the same."""
    folds = result.record.folds
    csv, json = (folds_dir() / f"{folds.file}.{suffix}" for suffix in ("csv", "json"))
    if not (csv.exists() and json.exists()) or sha256_file(csv) != folds.sha256:
        return None
    return FoldsRecord.from_json(json)


def _parts_of_folds(result: Result, task: Task) -> list[Part]:
    table = read_table(folds_dir() / f"{result.record.folds.file}.csv")
    return [_part(rows, task) for _, rows in table.groupby(table["fold"].astype(int))]


def _index_of(result: Result, record: FoldsRecord) -> Index | None:
    """The data set in input/, where its training images, labels and patients are those of the fold file."""
    try:
        index = open_index(result.record.data)
    except InputError:  # a card is of a result: it says that its images are not here
        return None
    return index if index.sha256() == record.index_sha256 else None


def _test_part(result: Result, task: Task) -> Part | None:
    return None if result.record.files.get("test.parquet") is None else _part(result.test()[0], task)


def _report(index: Index) -> Report | None:
    """The findings of `data check`; None where reading all images would take too long."""
    places = index.table["path"].tolist()
    some = places[:: max(1, len(places) // SAMPLE)][:SAMPLE]
    begun = time.monotonic()
    for place in some:
        try:
            decode(index.root, place, THUMBNAIL, *index.dataset.levels)
        except InputError:
            continue  # the report counts it
    seconds = (time.monotonic() - begun) / len(some) * len(places) / (os.cpu_count() or 1)
    return check(index) if seconds < LIMIT else None
