"""Heat maps of a trained run, from its files: each fold's model on the fold's own validation images.

A map of an image that the model was trained on shows what it remembers; none is made.
"""

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.files import (
    explained_disk_errors,
    make_folder,
    put_folder,
    remove_left_beside,
    sha256_file,
    temporary_beside,
    write_bytes,
    write_csv,
)
from chestfold.core.rng import generator
from chestfold.data.decode import decode_native
from chestfold.evaluate.attention import ATTENTION, IMAGES
from chestfold.evaluate.fonts import Lettering, letter
from chestfold.explain.cam import METHODS
from chestfold.explain.fold import TARGETS, Explained, explain_fold
from chestfold.explain.masks import outlined, why_no_lungs
from chestfold.explain.overlay import captioned, png, side_by_side
from chestfold.explain.select import ExplainConfig, open_run, select_images
from chestfold.explain.summary import figures, summarize
from chestfold.train.prepare import Prepared

PICTURED = 40
"""Images a fold at most that are drawn: the worst errors, the surest predictions, and a random rest."""


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
    target = config.folder()
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already; add --overwrite to replace it")
    ready, trained = open_run(config.name)
    chosen = select_images(ready, trained, config)
    if sentence := why_no_lungs(ready.index):
        say(sentence)
    with _replacing(target) as folder:
        parts = {fold: explain_fold(ready, fold, ids, config) for fold, ids in chosen.items()}
        _write(folder, ready, config, parts)
    return target


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A folder that takes the place of `target` when it is complete; a killed call leaves the old one."""
    remove_left_beside(target)
    folder = temporary_beside(target)
    old = folder.with_suffix(".old")
    with explained_disk_errors(target):
        try:
            make_folder(folder)
            yield folder
            if target.exists():
                target.rename(old)
            put_folder(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _write(folder: Path, ready: Prepared, config: ExplainConfig, parts: dict[int, Explained]) -> None:
    """All files of a call into `folder`: attention.json last."""
    tables = []
    for fold, part in parts.items():
        _write_maps(folder / f"maps-fold{fold}.npz", part)
        tables.append(figures(part).assign(picture=_write_pictures(folder, ready, fold, part)))
    table = pd.concat(tables, ignore_index=True)
    write_csv(folder / IMAGES, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    hashes = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    about = summarize(ready, config, parts, table).model_copy(update={"files": hashes})
    about.write(folder / Path(ATTENTION).name)


def _write_maps(path: Path, part: Explained) -> None:
    """ids, maps (N, 2, rows, columns), the class of each map, and where they come from; loads without pickle.

    `lungs` and `lesion`: bool (N, OUTLINE, OUTLINE) of the whole image, False everywhere where not known (`lungs_by`).
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        ids=part.rows["id"].to_numpy(str),
        maps=part.maps.raw,
        targets=np.array(TARGETS),
        predicted=part.rows["predicted"].to_numpy(str),
        method=np.array(part.maps.method),
        layer=np.array(part.maps.layer.name),
        networks_sha256=np.array(part.networks),
        lungs=outlined([masks.lungs for masks in part.masks]),
        lungs_by=np.array([masks.lungs_by for masks in part.masks]),
        lesion=outlined([masks.lesion for masks in part.masks]),
    )
    write_bytes(path, buffer.getvalue())


def _write_pictures(folder: Path, ready: Prepared, fold: int, part: Explained) -> list[str]:
    """Side-by-side pictures; their names in the order of the rows, "" for those that were not drawn."""
    names = [""] * len(part.rows)
    place_of = dict(zip(ready.index.table["id"], ready.index.table["path"], strict=True))
    lettering = letter(ready.classes)
    for n in _pictured(part.rows, fold):
        row = part.rows.iloc[n]
        names[n] = f"fold{fold}-{n:04d}.png"
        image = decode_native(ready.index.root, place_of[row["id"]], *ready.index.dataset.levels)
        masks = part.masks[n]
        drawn = side_by_side(image, part.inputs[n], part.maps.large[n, 0], masks.lungs, masks.lesion)
        lines = _caption(row, f"{ready.request.name}, fold {fold}, {part.maps.method}", lettering)
        write_bytes(folder / "pictures" / names[n], png(captioned(drawn, lines)))
    return names


def _caption(row: pd.Series, model: str, lettering: Lettering) -> list[str]:
    """Image, truth and prediction, model and day, the notice."""
    predicted = f"{lettering.text(row['predicted'])} {row['p_predicted']:.3f}"
    return [
        lettering.text(row["id"]),
        f"{predicted}, truly {lettering.text(row['label'])}",
        f"{lettering.text(model)}, {date.today().isoformat()}. Not for clinical use.",
    ]


def _pictured(rows: pd.DataFrame, fold: int) -> Iterable[int]:
    """Positions of all rows; of many, the worst errors, the surest predictions, and a random rest."""
    if len(rows) <= PICTURED:
        return range(len(rows))
    order = np.argsort(rows["p_true"].to_numpy(), kind="stable").tolist()
    part = PICTURED // 4
    ends = order[:part] + order[-part:]
    rest = generator("explain", "pictured", fold).permutation(order[part:-part])[: PICTURED - len(ends)]
    return sorted([*ends, *rest.tolist()])
