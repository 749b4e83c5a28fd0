"""Heat maps of a trained run, from its files: each fold's model on the fold's own validation images.

A map of an image that the model was trained on shows what it remembers; none is made.
"""

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, write_bytes
from chestfold.core.rng import generator
from chestfold.evaluate.attention import ATTENTION
from chestfold.explain import pictures
from chestfold.explain.cam import METHODS
from chestfold.explain.fold import TARGETS, Explained, explain_fold
from chestfold.explain.masks import why_no_lungs
from chestfold.explain.select import ExplainConfig, folder_of, open_run, select_images
from chestfold.explain.summary import attention, figures
from chestfold.train.prepare import Prepared

PICTURED = 40
"""Pictures a fold at most: the worst errors, the surest answers, and some by lot."""


def explain(config: ExplainConfig, overwrite: bool = False) -> Path:
    """Write runs/NAME/explain/METHOD/ and return it: maps, pictures, a row for each image, and attention.json.

    Raises:
        InputError: no such run, fold, image, method or layer; an image that the model was trained on; maps that are
            there already.
    """
    if config.method not in METHODS:
        raise InputError(f"--method {config.method}: one of {', '.join(METHODS)}")
    if config.count < 0:
        raise InputError(f"--count {config.count}: a number of images a fold, or 0 for all")
    target = folder_of(config)
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already; add --overwrite to make its maps anew")
    ready, trained = open_run(config.name)
    chosen = select_images(ready, trained, config)
    if sentence := why_no_lungs(ready.index):
        say(sentence)
    with _appearing(target) as folder:
        parts = {fold: explain_fold(ready, fold, ids, config) for fold, ids in chosen.items()}
        write(folder, ready, config, parts)
    return target


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


def write(folder: Path, ready: Prepared, config: ExplainConfig, parts: dict[int, Explained]) -> None:
    """All files of a call into `folder`: attention.json last."""
    tables = []
    for fold, part in parts.items():
        _write_maps(folder / f"maps-fold{fold}.npz", part, config)
        table = figures(part)
        table["picture"] = _write_pictures(folder, ready, fold, part)
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    write_bytes(folder / "images.csv", whole.to_csv(index=False, float_format="%.6g").encode())
    attention(ready, config, parts, whole).write(folder / Path(ATTENTION).name)


def _write_maps(path: Path, part: Explained, config: ExplainConfig) -> None:
    """ids, maps (N, 2, rows, columns), the class of each map, and where they come from; loads without pickle."""
    buffer = io.BytesIO()
    rows = part.rows
    np.savez_compressed(
        buffer,
        ids=rows["id"].to_numpy(str),
        maps=part.maps.raw,
        targets=np.array(TARGETS),
        predicted=rows["predicted"].to_numpy(str),
        method=np.array(config.method),
        layer=np.array(part.maps.layer.name),
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
        shown = pictures.side_by_side(grey[n], part.seen[n], part.maps.large[n, 0], about.lungs, about.lesion)
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
