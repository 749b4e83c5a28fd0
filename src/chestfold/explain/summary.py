"""Where the maps lie, as numbers: a row for each image, and the summary with intervals."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.files import runs_dir
from chestfold.core.provenance import code_commit, today
from chestfold.evaluate.attention import AgainstParent, Attention, ByMeasure
from chestfold.explain import measures
from chestfold.explain.fold import TARGETS, Explained
from chestfold.explain.masks import Known, why_no_lungs
from chestfold.explain.select import ExplainConfig, folder_of
from chestfold.train.prepare import Prepared

SHARES = ("in_lungs", "outside_lungs", "border", "chest_box", "lesion_energy")
POINTING = ("pointing", "pointing_strict")


def figures(part: Explained) -> pd.DataFrame:
    """The measures of each image, a row each: `predicted in_lungs`, `positive pointing`, and what an even map has."""
    table = part.rows.copy()
    table["lungs_by"] = [k.lungs_by for k in part.known]
    size = part.maps.large.shape[-1]
    masks = _masks(part, size)
    for name, stack in masks.items():
        there = np.array([m is not None and m.any() for m in stack])
        filled = np.stack([m if m is not None else np.zeros((size, size), bool) for m in stack])
        for k, target in enumerate(TARGETS):
            table[f"{target} {name}"] = np.where(there, measures.share(part.maps.large[:, k], filled), np.nan)
        table[f"even {name}"] = np.where(there, filled.mean(axis=(1, 2)), np.nan)
    for k, target in enumerate(TARGETS):
        for name, reach in (("pointing", measures.tolerance(size)), ("pointing_strict", 0.0)):
            hits = [
                _pointing(heat, about, reach) for heat, about in zip(part.maps.large[:, k], part.known, strict=True)
            ]
            table[f"{target} {name}"] = hits
    even = [_area(about, measures.tolerance(size)) for about in part.known]
    table["even pointing"], table["even pointing_strict"] = even, [_area(about, 0.0) for about in part.known]
    return table.merge(part.checked, on="id", how="left")


def _masks(part: Explained, size: int) -> dict[str, list[np.ndarray | None]]:
    """Measure -> the region of each image that it is a share of."""
    lungs = [about.lungs for about in part.known]
    every = len(part.known)
    return {
        "in_lungs": lungs,
        "outside_lungs": [None if mask is None else ~mask for mask in lungs],
        "border": [measures.border(size)] * every,
        "chest_box": [measures.chest_box(size)] * every,
        "lesion_energy": [about.lesion for about in part.known],
    }


def _pointing(heat: np.ndarray, about: Known, reach: float) -> float:
    if about.lesion is None or not about.lesion.any():
        return float("nan")
    return measures.pointing(heat, measures.grown(about.lesion, reach))


def _area(about: Known, reach: float) -> float:
    """The chance that a place drawn at random is a hit."""
    if about.lesion is None or not about.lesion.any():
        return float("nan")
    return float(measures.grown(about.lesion, reach).mean())


def attention(ready: Prepared, config: ExplainConfig, parts: dict[int, Explained], table: pd.DataFrame) -> Attention:
    """The content of attention.json: every measure with its interval, for each class and over all."""
    first = next(iter(parts.values()))
    number = {name: n for n, name in enumerate(ready.classes)}
    labels = table["label"].map(number).to_numpy(np.int64, copy=True)
    groups = table["group"].to_numpy()

    def summaries(prefix: str, names: Iterable[str]) -> ByMeasure:
        found = {}
        for name in names:
            values = table[f"{prefix}{name}"].to_numpy(np.float64)
            found[name] = measures.summary(values, labels, groups, ready.classes)
        return {name: of_classes for name, of_classes in found.items() if of_classes}

    of_targets = {target: summaries(f"{target} ", (*SHARES, *POINTING)) for target in (*TARGETS, "even")}
    return Attention(
        name=config.name,
        method=config.method,
        layer=first.maps.layer.name,
        grid=first.maps.layer.grid,
        image_size=ready.exp.image_size,
        data=ready.exp.data,
        view=ready.index.dataset.view,
        classes=ready.classes,
        positive=ready.index.dataset.positive,
        folds={str(fold): part.networks for fold, part in parts.items()},
        images={name: int((table["label"] == name).sum()) for name in ready.classes},
        checked=sum(len(part.checked) for part in parts.values()),
        empty_maps={target: _empty_maps(parts, k) for k, target in enumerate(TARGETS)},
        lungs=table["lungs_by"].value_counts().to_dict(),
        lungs_do_not_apply=why_no_lungs(ready.index),
        measures=of_targets,
        checks=summaries("", first.checked.columns[1:]),
        fingerprint=ready.fingerprint() | {"folds": ready.folds.name},
        commit=code_commit(),
        date=today(),
        against=against_parent(ready, config, table),
    )


def _empty_maps(parts: dict[int, Explained], target: int) -> int:
    """How many maps of a target are zero everywhere."""
    return sum(int((part.maps.raw[:, target].max(axis=(1, 2)) == 0).sum()) for part in parts.values())


def against_parent(ready: Prepared, config: ExplainConfig, table: pd.DataFrame) -> AgainstParent | None:
    """Paired differences to the parent's maps of the same method and layer; None where it was not explained.

    The intervals are of the pairs: a bootstrap over patients of the differences, not of the two means apart.
    """
    parent = ready.request.parent
    path = runs_dir() / parent / "explain" / folder_of(config).name / "images.csv"
    if not parent or Path(parent).name != parent or not path.exists():
        return None
    both = table.merge(pd.read_csv(path), on="id", suffixes=("", " theirs"), validate="one_to_one")
    if not len(both):
        return None
    columns = [f"{target} {name}" for target in TARGETS for name in (*SHARES, *POINTING)]
    return AgainstParent(parent=parent, images=len(both), measures=differences(both, columns, ready.classes))


def differences(both: pd.DataFrame, columns: list[str], classes: tuple[str, ...]) -> ByMeasure:
    """Column -> class (and "all") -> mean of ours minus theirs (`<column> theirs`), with its interval."""
    number = {name: n for n, name in enumerate(classes)}
    labels = both["label"].map(number).to_numpy(np.int64, copy=True)
    found = {}
    for column in columns:
        if f"{column} theirs" in both:
            gap = (both[column] - both[f"{column} theirs"]).to_numpy(np.float64)
            found[column] = measures.summary(gap, labels, both["group"].to_numpy(), classes)
    return {column: scores for column, scores in found.items() if scores}
