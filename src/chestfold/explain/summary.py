"""Where the maps are, as numbers: a row for each image, and the summary with intervals."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.provenance import code_commit, today
from chestfold.core.task import Task
from chestfold.evaluate.attention import AgainstParent, Attention, ByMeasure, read_images
from chestfold.explain import measures
from chestfold.explain.fold import TARGETS, Explained
from chestfold.explain.masks import why_no_lungs
from chestfold.explain.select import ExplainConfig
from chestfold.train.prepare import Prepared

SHARES = ("in_lungs", "outside_lungs", "border", "chest_box", "lesion_energy")
POINTING = {"pointing": measures.TOLERANCE, "pointing_strict": 0.0}
"""Measure -> how far beside the lesion a map may point, as a share of the side."""
MEASURES = (*SHARES, *POINTING)


def figures(part: Explained) -> pd.DataFrame:
    """The measures of each image, a row each: `predicted in_lungs`, `positive pointing`, and what an even map has."""
    table = part.rows.copy()
    table["lungs_by"] = [masks.lungs_by for masks in part.masks]
    size = part.maps.large.shape[-1]
    for name, inside in _regions(part, size).items():
        known = inside.any(axis=(1, 2))
        for k, target in enumerate(TARGETS):
            table[f"{target} {name}"] = np.where(known, measures.share(part.maps.large[:, k], inside), np.nan)
        table[f"even {name}"] = np.where(known, inside.mean(axis=(1, 2)), np.nan)
    for name, tolerance in POINTING.items():
        for key, hits in _pointing(part, tolerance * size).items():
            table[f"{key} {name}"] = hits
    return table.merge(part.checked, on="id", how="left")


def _regions(part: Explained, size: int) -> dict[str, np.ndarray]:
    """Measure -> the region of each image that it is a share of, bool (N, S, S); empty where it is not known."""
    lungs = _stacked([masks.lungs for masks in part.masks], size)
    outside = _stacked([None if masks.lungs is None else ~masks.lungs for masks in part.masks], size)
    return {
        "in_lungs": lungs,
        "outside_lungs": outside,
        "border": np.broadcast_to(measures.border(size), lungs.shape),
        "chest_box": np.broadcast_to(measures.chest_box(size), lungs.shape),
        "lesion_energy": _stacked([masks.lesion for masks in part.masks], size),
    }


def _stacked(masks: list[np.ndarray | None], size: int) -> np.ndarray:
    nothing = np.zeros((size, size), bool)
    return np.stack([nothing if mask is None else mask for mask in masks])


def _pointing(part: Explained, tolerance: float) -> dict[str, np.ndarray]:
    """Whether the map of each target points at the lesion, within `tolerance` pixels; even: the chance of any place."""
    hits = {key: np.full(len(part.masks), np.nan) for key in (*TARGETS, "even")}
    for n, masks in enumerate(part.masks):
        if masks.lesion is not None:
            lesion = measures.dilated(masks.lesion, tolerance)
            hits["even"][n] = lesion.mean()
            for k, target in enumerate(TARGETS):
                hits[target][n] = measures.pointing(part.maps.large[n, k], lesion)
    return hits


def summarize(ready: Prepared, config: ExplainConfig, parts: dict[int, Explained], table: pd.DataFrame) -> Attention:
    """The content of attention.json: every measure with its interval, for each class and over all."""
    first = next(iter(parts.values()))
    dataset = ready.index.dataset
    of_targets = {}
    for target in (*TARGETS, "even"):
        found = summaries(table, [f"{target} {name}" for name in MEASURES], ready.task)
        of_targets[target] = {column.removeprefix(f"{target} "): figures for column, figures in found.items()}
    return Attention(
        name=config.name,
        method=config.method,
        layer=first.maps.layer.name,
        grid=first.maps.layer.grid,
        image_size=ready.exp.image_size,
        data=ready.exp.data,
        view=dataset.view,
        classes=ready.classes,
        positive=ready.task.classes[ready.task.positive_number],
        folds={str(fold): part.networks for fold, part in parts.items()},
        images=_count_classes(table, ready.task),
        checked=sum(len(part.checked) for part in parts.values()),
        empty_maps={target: _count_empty(parts, k) for k, target in enumerate(TARGETS)},
        lungs=table["lungs_by"].value_counts().to_dict(),
        lungs_do_not_apply=why_no_lungs(ready.index),
        measures=of_targets,
        checks=summaries(table, first.checked.columns[1:], ready.task),
        fingerprint=ready.fingerprint() | {"folds": ready.folds.name},
        commit=code_commit(),
        date=today(),
        against=_against_parent(ready, config, table),
    )


def _truth(table: pd.DataFrame, task: Task) -> np.ndarray:
    return task.truth(task.labels(table["label"].tolist()))


def _count_classes(table: pd.DataFrame, task: Task) -> dict[str, int]:
    """Class -> how many images belong to it."""
    counts = (_truth(table, task) == 1).sum(axis=0)
    return dict(zip(task.classes, counts.tolist(), strict=True))


def summaries(table: pd.DataFrame, columns: Iterable[str], task: Task) -> ByMeasure:
    """Column -> its mean with an interval, over each class and over all; only columns that have a value."""
    truth = _truth(table, task)
    groups = table["group"].to_numpy()
    found = {}
    for column in columns:
        of_classes = measures.summary(table[column].to_numpy(np.float64), truth, groups, task.classes)
        if of_classes:
            found[column] = of_classes
    return found


def _count_empty(parts: dict[int, Explained], target: int) -> int:
    """How many maps of a target are zero everywhere."""
    return sum(int((part.maps.raw[:, target].max(axis=(1, 2)) == 0).sum()) for part in parts.values())


def _against_parent(ready: Prepared, config: ExplainConfig, table: pd.DataFrame) -> AgainstParent | None:
    """Paired differences to the parent's maps of the same method and layer; None where it was not explained."""
    parent = ready.request.parent
    if not parent or Path(parent).name != parent:
        return None
    theirs = read_images(config.folder(parent))
    if theirs is None:
        return None
    both = table.merge(theirs, on="id", suffixes=("", " theirs"), validate="one_to_one")
    if both.empty:
        return None
    columns = [f"{target} {name}" for target in TARGETS for name in MEASURES]
    return AgainstParent(parent=parent, images=len(both), measures=differences(both, columns, ready.task))


def differences(both: pd.DataFrame, columns: Iterable[str], task: Task) -> ByMeasure:
    """Column -> mean of ours minus theirs (`<column> theirs`) with an interval, over each class and over all."""
    gaps = both[["label", "group"]].copy()
    shared = [column for column in columns if f"{column} theirs" in both]
    for column in shared:
        gaps[column] = both[column] - both[f"{column} theirs"]
    return summaries(gaps, shared, task)
