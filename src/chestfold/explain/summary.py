"""Where the maps lie, as numbers: a row for each image, and the summary with intervals."""

from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.provenance import describe_code
from chestfold.evaluate.metrics import Score
from chestfold.explain import measures
from chestfold.explain.fold import TARGETS, Explained
from chestfold.explain.masks import Known, why_no_lungs
from chestfold.explain.paired import differences, parents_rows
from chestfold.explain.select import ExplainConfig, folder_of
from chestfold.train.prepare import Prepared

SHARES = ("in_lungs", "outside_lungs", "border", "chest_box", "lesion_energy")
POINTING = ("pointing", "pointing_strict")


def figures(part: Explained) -> pd.DataFrame:
    """The measures of each image, a row each: `predicted in_lungs`, `positive pointing`, and what an even map has."""
    table = part.rows.copy()
    table["lungs_by"] = [k.lungs_by for k in part.known]
    size = part.large.shape[-1]
    masks = _masks(part, size)
    for name, stack in masks.items():
        there = np.array([m is not None and m.any() for m in stack])
        filled = np.stack([m if m is not None else np.zeros((size, size), bool) for m in stack])
        for k, target in enumerate(TARGETS):
            table[f"{target} {name}"] = np.where(there, measures.share(part.large[:, k], filled), np.nan)
        table[f"even {name}"] = np.where(there, filled.mean(axis=(1, 2)), np.nan)
    for k, target in enumerate(TARGETS):
        for name, reach in (("pointing", measures.tolerance(size)), ("pointing_strict", 0.0)):
            hits = [_pointing(heat, about, reach) for heat, about in zip(part.large[:, k], part.known, strict=True)]
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


def attention(
    ready: Prepared, config: ExplainConfig, parts: dict[int, Explained], table: pd.DataFrame
) -> dict[str, Any]:
    """The content of attention.json: every measure with its interval, for each class and over all."""
    first = next(iter(parts.values()))
    number = {name: n for n, name in enumerate(ready.classes)}
    labels = table["label"].map(number).to_numpy(np.int64, copy=True)
    groups = table["group"].to_numpy()

    def format_lines(column: str) -> dict[str, dict[str, float]]:
        return _json(measures.summary(table[column].to_numpy(np.float64), labels, groups, ready.classes))

    per_target = {
        target: {name: found for name in (*SHARES, *POINTING) if (found := format_lines(f"{target} {name}"))}
        for target in (*TARGETS, "even")
    }
    tested = {column: found for column in first.checked.columns[1:] if (found := format_lines(column))}
    counts = {name: int((table["label"] == name).sum()) for name in ready.classes}
    return {
        "name": config.name,
        "method": config.method,
        "layer": first.layer.name,
        "grid": list(first.layer.grid),
        "image_size": ready.request.exp.image_size,
        "data": ready.request.exp.data,
        "view": ready.index.dataset.view,
        "classes": list(ready.classes),
        "positive": ready.index.dataset.positive,
        "folds": {str(fold): part.networks for fold, part in parts.items()},
        "images": counts,
        "checked": int(sum(len(part.checked) for part in parts.values())),
        "empty_maps": {
            t: int(sum((p.raw[:, k].max(axis=(1, 2)) == 0).sum() for p in parts.values()))
            for k, t in enumerate(TARGETS)
        },
        "lungs": table["lungs_by"].value_counts().to_dict(),
        "lungs_do_not_apply": why_no_lungs(ready.index),
        "measures": per_target,
        "checks": tested,
        "fingerprint": ready.fingerprint() | {"folds": ready.folds.name},
        **{key: describe_code()[key] for key in ("commit", "date")},
    }


def against_parent(ready: Prepared, config: ExplainConfig, table: pd.DataFrame) -> dict[str, Any] | None:
    """Paired differences to the parent's maps of the same method and layer; None where it was not explained."""
    parent = ready.request.parent
    theirs = parents_rows(parent, folder_of(config).name)
    if theirs is None or not set(theirs["id"]) & set(table["id"]):
        return None
    columns = [f"{target} {name}" for target in TARGETS for name in (*SHARES, *POINTING)]
    found = differences(table, theirs, columns, ready.classes)
    images = len(set(theirs["id"]) & set(table["id"]))
    return {"parent": parent, "images": images, "measures": {c: _json(scores) for c, scores in found.items()}}


def _json(scores: dict[str, Score]) -> dict[str, dict[str, float]]:
    return {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in scores.items()}
