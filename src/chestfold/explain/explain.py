"""Heat maps of a trained run, from its files: each fold's model on the fold's own validation images.

A map of an image that the model was trained on shows what it remembers; none is made.
"""

import difflib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from chestfold import experiment, masking, oof
from chestfold.batches import Images, plain_batches
from chestfold.config import Experiment
from chestfold.console import bar, say
from chestfold.engine import Runner, voting_epochs
from chestfold.experiment import Prepared
from chestfold.explain import checks, measures, pictures
from chestfold.explain.layers import Layer
from chestfold.explain.maps import METHODS, at_image_size, in_fp32, normalised, open_mapper
from chestfold.explain.masks import Known, known, why_no_lungs
from chestfold.explain.paired import differences, parents_rows
from chestfold.files import BadInput, explained_disk_errors, read_json, runs_dir, sha256_file, write_bytes, write_json
from chestfold.metrics import Score
from chestfold.options import Request
from chestfold.predict import load_voters
from chestfold.provenance import describe_code
from chestfold.results import ATTENTION
from chestfold.rng import generator

BATCH = 16
"""Images a backward pass: maps of a large network at 224 px take much more memory than its predictions."""
CHECKED = 16
"""Images a fold for deletion, insertion and spoilt weights, which cost a hundred forward passes each."""
PICTURED = 40
"""Pictures a fold at most: the worst errors, the surest answers, and some by lot."""
TARGETS = ("called", "positive")
"""The classes that an image has maps of: what the model calls it, and the positive class of the data set."""
SHARES = ("in_lungs", "outside_lungs", "border", "chest_box", "lesion_energy")
POINTING = ("pointing", "pointing_strict")


@dataclass(frozen=True)
class Wish:
    """What one call asks for. `folds`, `ids` empty: all; `count`: images a fold, 0 for all; `layer` "": by family."""

    name: str
    method: str = "gradcam"
    layer: str = ""
    folds: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    count: int = 40


@dataclass(frozen=True)
class Explained:
    """A fold's images with their maps. `rows`: id, group, fold, label, called, p_called, p_true.

    `raw`: float32 (N, 2, rows, columns), each map's largest value 1, in the order of `TARGETS`, the mean over the
    fold's voters. `large`: the same at the network's image size, (N, 2, S, S). `checked`: curves and likeness of some.
    """

    rows: pd.DataFrame
    layer: Layer
    raw: np.ndarray
    large: np.ndarray
    seen: np.ndarray
    known: list[Known]
    checked: pd.DataFrame
    networks: list[str]


def explain(wish: Wish, overwrite: bool = False) -> Path:
    """Write runs/NAME/explain/METHOD/ and return it: maps, pictures, a row for each image, and attention.json.

    Raises:
        BadInput: no such run, fold, image, method or layer; an image that the model was trained on; maps that are
            there already.
    """
    if wish.method not in METHODS:
        raise BadInput(f"--method {wish.method}: one of {', '.join(METHODS)}")
    if wish.count < 0:
        raise BadInput(f"--count {wish.count}: a number of images a fold, or 0 for all")
    target = folder_of(wish)
    if target.exists() and not overwrite:
        raise BadInput(f"{target} is there already; add --overwrite to make its maps anew")
    ready, trained = open_run(wish.name)
    chosen = choose(ready, trained, wish)
    if sentence := why_no_lungs(ready.index):
        say(sentence)
    with _appearing(target) as folder:
        parts = {fold: explain_fold(ready, fold, ids, wish) for fold, ids in chosen.items()}
        write(folder, ready, wish, parts)
    return target


def folder_of(wish: Wish) -> Path:
    """Where the maps of a wish lie; a layer or ids of one's own have a folder of their own."""
    words = [wish.method, *([wish.layer] if wish.layer else []), *(["ids"] if wish.ids else [])]
    return runs_dir() / wish.name / "explain" / re.sub(r"[^\w.+-]", "_", "-".join(words))


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder that takes the place of `target` when it is complete; a killed call leaves the old one."""
    folder = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with explained_disk_errors(target):
        try:
            folder.mkdir(parents=True)
            yield folder
            if target.exists():
                target.rename(folder.with_suffix(".old"))
            folder.rename(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(folder.with_suffix(".old"), ignore_errors=True)


# The run and its images


def open_run(name: str) -> tuple[Prepared, list[int]]:
    """A run of runs/ with its data in hand, and its finished folds; the experiment's code is not needed.

    Raises:
        BadInput: no finished fold; or images, labels or folds are not those that it was trained on.
    """
    base = runs_dir() / name
    folders = sorted(path.parent for path in base.glob("fold*/manifest.json"))
    if not folders or Path(name).name != name:
        raise BadInput(f"{base} holds no finished fold; train it first (an ensemble has none of its own)")
    config = read_json(folders[0] / "config.json")
    exp = Experiment.from_dict(config["settings"])
    ready = experiment.prepare(Request(name, exp, (), False, config["parent"], config["changed"]))
    for folder in folders:
        _require_same(ready, folder)
    return ready, sorted(int(folder.name.removeprefix("fold")) for folder in folders)


def _require_same(ready: Prepared, folder: Path) -> None:
    config = read_json(folder / "config.json")
    experiment.is_finished(folder, config)  # proves the hash of every file
    now = {
        "index_sha256": ready.index.sha256(),
        "content_sha256": ready.cache.content,
        "folds_sha256": ready.folds.sha256,
    }
    for key, value in now.items():
        if config["bound"][key] != value:
            what = key.removesuffix("_sha256")
            raise BadInput(f"{folder} was trained on another {what} of {ready.request.exp.data} than the one in input/")


def choose(ready: Prepared, trained: list[int], wish: Wish) -> dict[int, list[str]]:
    """Fold -> ids of its own validation images that are explained.

    Raises:
        BadInput: a fold that is not trained, an unknown id, or an id that the folds asked for were trained on.
    """
    for fold in wish.folds:
        ready.folds.require(fold)
        if fold not in trained:
            raise BadInput(f"fold {fold} of {wish.name} is not finished; finished are {trained}")
    folds = sorted(set(wish.folds)) or trained
    if wish.ids:
        return _chosen_by_id(ready, folds, trained, wish)
    return {fold: drawn(ready, fold, wish.count) for fold in folds}


def _chosen_by_id(ready: Prepared, folds: list[int], trained: list[int], wish: Wish) -> dict[int, list[str]]:
    home = dict(zip(ready.folds.table["id"], ready.folds.table["fold"].tolist(), strict=True))
    tests = set(ready.index.test["id"])
    chosen: dict[int, list[str]] = {}
    for image in dict.fromkeys(wish.ids):
        if image not in home:
            near = difflib.get_close_matches(image, home, n=1)
            hint = "is a test image, which no fold validates" if image in tests else "is no image of this data set"
            more = f"; did you mean {near[0]}?" if near and image not in tests else ""
            raise BadInput(f"--ids {image}: it {hint}{more}")
        fold = home[image]
        if fold not in folds and wish.folds:
            raise BadInput(
                f"--ids {image}: it is a validation image of fold {fold}, and the model of fold {folds[0]} was trained "
                "on it; leave out --fold"
            )
        if fold not in trained:
            raise BadInput(f"--ids {image}: it belongs to fold {fold} of {wish.name}, which is not finished")
        chosen.setdefault(fold, []).append(image)
    return dict(sorted(chosen.items()))


def drawn(ready: Prepared, fold: int, count: int) -> list[str]:
    """`count` validation images of a fold by lot, as many of each class as there are, at most its part; 0: all."""
    ids = ready.folds.ids(fold)
    if count == 0:
        return sorted(ids)
    rows = ready.rows(ids)
    part = max(1, count // len(ready.classes))
    kept: list[str] = []
    for label in ready.classes:
        there = sorted(rows.loc[rows["label"] == label, "id"])
        order = generator("explain", ready.request.exp.data, fold, label).permutation(len(there))
        kept += [there[n] for n in order[:part]]
    return sorted(kept)


# One fold


def explain_fold(ready: Prepared, fold: int, ids: list[str], wish: Wish) -> Explained:
    """Maps, masks and checks of some validation images of a fold."""
    folder, exp = experiment.fold_dir(ready.request.name, fold), ready.request.exp
    rows = _predicted(ready, folder, ids)
    images, classes = ready.images(rows), _target_classes(ready, rows)
    voters = [in_fp32(runner) for runner in load_voters(folder, exp)]
    with bar(f"fold {fold} maps", len(voters) * -(-len(ids) // BATCH)) as step:
        made = [_mapped(voter, images, classes, wish, step) for voter in voters]
    raw = _scaled(np.mean([_scaled(maps) for _, maps in made], axis=0))
    size, layer = exp.image_size, made[0][0]
    large = np.stack([at_image_size(raw[:, k], size) for k in range(len(TARGETS))], axis=1)
    seen = np.concatenate([pixels[:, 0].numpy() for pixels in plain_batches(images, BATCH)])
    grey = ready.cache.images[ready.cache.rows(ids)]
    about = [known(ready.index, i, picture) for i, picture in zip(ids, grey, strict=True)]
    checked = _checked(voters[0], images, raw, large, classes, wish.method, layer, fold)
    paths = voting_epochs(folder) if exp.vote_epochs else [folder / "best.ckpt"]
    large, seen = (masking.placed_back(masking.treatment(exp), part) for part in (large, seen))
    return Explained(rows, layer, raw, large, seen, about, checked, [sha256_file(p) for p in paths])


def _predicted(ready: Prepared, folder: Path, ids: list[str]) -> pd.DataFrame:
    """id, group, fold, label, called, p_called, p_true: the out-of-fold predictions, as they were scored."""
    table, _ = oof.read(folder / "oof.parquet")
    table = table.set_index("id").loc[ids].reset_index()
    probs, classes = oof.probabilities(table), oof.class_columns(table)
    rows = table[["id", "group", "fold", "label"]].copy()
    rows["called"] = [classes[n] for n in probs.argmax(axis=1)]
    rows["p_called"] = probs.max(axis=1)
    rows["p_true"] = probs[np.arange(len(rows)), oof.labels(table)]
    return rows


def _target_classes(ready: Prepared, rows: pd.DataFrame) -> np.ndarray:
    """Class numbers in the order of `TARGETS`, int64 (N, 2)."""
    number = {name: n for n, name in enumerate(ready.classes)}
    called = rows["called"].map(number).to_numpy(np.int64, copy=True)
    return np.stack([called, np.full_like(called, number[ready.index.dataset.positive])], axis=1)


def _mapped(
    runner: Runner, images: Images, classes: np.ndarray, wish: Wish, step: Callable[[str], None]
) -> tuple[Layer, np.ndarray]:
    """The layer, and the maps (N, 2, rows, columns) of one network."""
    parts = []
    first = runner.images(next(plain_batches(images, 1)))
    with open_mapper(runner, first, wish.method, wish.layer) as mapper:
        for n, pixels in enumerate(plain_batches(images, BATCH)):
            parts.append(mapper(runner.images(pixels), classes[n * BATCH : (n + 1) * BATCH]))
            step("")
        return mapper.layer, np.concatenate(parts)


def _scaled(maps: np.ndarray) -> np.ndarray:
    """Each map of (N, K, rows, columns) with 1 as its largest value."""
    flat = normalised(maps.reshape(-1, *maps.shape[2:]))
    return flat.reshape(maps.shape)


def _checked(
    runner: Runner,
    images: Images,
    raw: np.ndarray,
    large: np.ndarray,
    classes: np.ndarray,
    method: str,
    layer: Layer,
    fold: int,
) -> pd.DataFrame:
    """Areas under deletion and insertion, and likeness under spoilt weights, for some of the images by lot."""
    some = np.sort(generator("explain", "checked", fold).permutation(len(images))[:CHECKED])
    few = replace(images, rows=images.rows[some], ids=[images.ids[n] for n in some], labels=images.labels[some])
    x, called = runner.images(torch.cat(list(plain_batches(few, BATCH)))), classes[some, 0]
    heat, lot = large[some, 0], checks.random_heat(few.ids, layer.grid, large.shape[-1])
    table = pd.DataFrame({"id": few.ids})
    for name, curve in (("deletion", checks.deletion), ("insertion", checks.insertion)):
        table[name] = measures.area_under(curve(runner, x, heat, called))
        table[f"{name}_by_lot"] = measures.area_under(curve(runner, x, lot, called))
    alike = checks.likeness(runner, x, raw[some, 0], called, method, layer.name)
    for stage, values in alike.items():
        table[f"likeness, {stage}"] = values
    return table


# Figures


def figures(part: Explained) -> pd.DataFrame:
    """The measures of each image, a row each: `called in_lungs`, ..., `positive pointing`, and what an even map has."""
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


def attention(ready: Prepared, wish: Wish, parts: dict[int, Explained], table: pd.DataFrame) -> dict[str, Any]:
    """The content of attention.json: every measure with its interval, for each class and over all."""
    first = next(iter(parts.values()))
    number = {name: n for n, name in enumerate(ready.classes)}
    labels = table["label"].map(number).to_numpy(np.int64, copy=True)
    groups = table["group"].to_numpy()

    def spoken(column: str) -> dict[str, dict[str, float]]:
        return _json(measures.summary(table[column].to_numpy(np.float64), labels, groups, ready.classes))

    per_target = {
        target: {name: found for name in (*SHARES, *POINTING) if (found := spoken(f"{target} {name}"))}
        for target in (*TARGETS, "even")
    }
    tested = {column: found for column in first.checked.columns[1:] if (found := spoken(column))}
    counts = {name: int((table["label"] == name).sum()) for name in ready.classes}
    return {
        "name": wish.name,
        "method": wish.method,
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
        "bound": ready.bound() | {"folds": ready.folds.name},
        **{key: describe_code()[key] for key in ("commit", "date")},
    }


def against_parent(ready: Prepared, wish: Wish, table: pd.DataFrame) -> dict[str, Any] | None:
    """Paired differences to the parent's maps of the same method and layer; None where it was not explained."""
    parent = ready.request.parent
    theirs = parents_rows(parent, folder_of(wish).name)
    if theirs is None or not set(theirs["id"]) & set(table["id"]):
        return None
    columns = [f"{target} {name}" for target in TARGETS for name in (*SHARES, *POINTING)]
    found = differences(table, theirs, columns, ready.classes)
    images = len(set(theirs["id"]) & set(table["id"]))
    return {"parent": parent, "images": images, "measures": {c: _json(scores) for c, scores in found.items()}}


def _json(scores: dict[str, Score]) -> dict[str, dict[str, float]]:
    return {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in scores.items()}


# Files


def write(folder: Path, ready: Prepared, wish: Wish, parts: dict[int, Explained]) -> None:
    """All files of a call into `folder`: attention.json last."""
    tables = []
    for fold, part in parts.items():
        _write_maps(folder / f"maps-fold{fold}.npz", part, wish)
        table = figures(part)
        table["picture"] = _write_pictures(folder, ready, fold, part)
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    write_bytes(folder / "images.csv", whole.to_csv(index=False, float_format="%.6g").encode())
    about = attention(ready, wish, parts, whole) | {"against": against_parent(ready, wish, whole)}
    write_json(folder / Path(ATTENTION).name, about)


def _write_maps(path: Path, part: Explained, wish: Wish) -> None:
    """ids, maps (N, 2, rows, columns), the class of each map, and where they come from; loads without pickle."""
    buffer = io.BytesIO()
    rows = part.rows
    np.savez_compressed(
        buffer,
        ids=rows["id"].to_numpy(str),
        maps=part.raw,
        targets=np.array(TARGETS),
        called=rows["called"].to_numpy(str),
        method=np.array(wish.method),
        layer=np.array(part.layer.name),
        networks_sha256=np.array(part.networks),
    )
    write_bytes(path, buffer.getvalue())


def _write_pictures(folder: Path, ready: Prepared, fold: int, part: Explained) -> list[str]:
    """Side-by-side pictures; their names in the order of the rows, "" for those that were not drawn."""
    names = [""] * len(part.rows)
    grey = ready.cache.images[ready.cache.rows(part.rows["id"])]
    for n in worth_a_picture(part.rows, fold):
        names[n] = f"fold{fold}-{n:04d}.png"
        about = part.known[n]
        shown = pictures.side_by_side(grey[n], part.seen[n], part.large[n, 0], about.lungs, about.lesion)
        write_bytes(folder / "pictures" / names[n], pictures.png(shown))
    return names


def worth_a_picture(rows: pd.DataFrame, fold: int) -> Iterable[int]:
    """Positions of all rows; where there are many, of the worst errors, the surest answers, and some by lot."""
    if len(rows) <= PICTURED:
        return range(len(rows))
    order = np.argsort(rows["p_true"].to_numpy(), kind="stable").tolist()
    part = PICTURED // 4
    ends = order[:part] + order[-part:]
    rest = generator("explain", "pictured", fold).permutation(order[part:-part])[: PICTURED - len(ends)]
    return sorted({*ends, *rest.tolist()})
