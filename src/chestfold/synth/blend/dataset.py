"""`chestfold synth blend`: nodules from one place, healthy hosts from another, and a data set of what becomes of them.

Nodule and host are of one patient where both come from one data set; else each patient of the nodules is given to one
patient of the hosts. So `group`, the host's patient, holds whole families: no split by group can part an image from
its parents' related.
"""

import json
import os
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pandas as pd

from chestfold.core.console import bar
from chestfold.core.errors import InputError
from chestfold.core.files import explained_disk_errors, input_dir, sha256_file
from chestfold.core.provenance import code_commit
from chestfold.core.rng import generator
from chestfold.data.catalogue import catalogue
from chestfold.data.dataset import Dataset
from chestfold.data.decode import decode_native
from chestfold.synth.blend.contact_sheet import Example, write_sheet
from chestfold.synth.blend.nodules import Hosts, Nodule, Nodules, Spot, open_hosts, open_nodules, training_part
from chestfold.synth.blend.outline import Unfit, find_nodule
from chestfold.synth.blend.paste import Blended, Grey, Window, box_of, paste, to_hu
from chestfold.synth.blend.poisson import Mask

COLUMNS = ["id", "label", "group", "host", "generator", "parents", "fold", "seed", "box", "seam_before", "seam_after"]
REAL_COLUMNS = ["id", "real", "group", "box"]
SHOWN = 12
"""Examples on the contact sheet."""


@dataclass(frozen=True)
class Request:
    """What was asked of `synth blend`. `nodule_mm`, `host_mm`: pixel sizes where the data sets declare none."""

    name: str
    nodules: str
    hosts: str
    count: int
    fold: int | None = None
    seed: int = 0
    host_class: str = ""
    host_window: Window | None = None
    nodule_mm: float | None = None
    host_mm: float | None = None


@dataclass(frozen=True)
class Scale:
    """How much larger a nodule is drawn than it is in its patch, and the reason in words."""

    factor: float
    words: str


@dataclass
class Workshop:
    """A data set in the making, in a folder that is not yet its own. `skipped`: reason -> how often."""

    request: Request
    nodules: Nodules
    hosts: Hosts
    scale: Scale
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    real: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)
    used: set[int] = field(default_factory=set)


def blend(request: Request) -> Workshop:
    """Make the data set input/NAME; it appears at the end, complete.

    Raises:
        InputError: anything that was asked for and cannot be; fewer images than asked for can be made.
    """
    folder = _new_folder(request)
    hosts = open_hosts(request.hosts, request.host_class, request.host_window, request.fold, request.seed)
    nodules = open_nodules(request.nodules, hosts.window, request.fold, request.seed)
    scale = scale_of(request, nodules.dataset, hosts.dataset)
    nodules.scale *= scale.factor
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed run with the same process id
    with explained_disk_errors(folder):
        try:
            work = Workshop(request, nodules, hosts, scale, temporary)
            for step in (_blend_all, _add_untouched, _add_real, _write_tables):
                step(work)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return work


def _new_folder(request: Request) -> Path:
    folder = input_dir() / request.name
    if Path(request.name).name != request.name or request.name.startswith("."):
        raise InputError(f"{request.name!r} is no plain name for a data set")
    if request.name in catalogue():
        raise InputError(f"{request.name} is the name of a data set of the catalogue; choose another NAME")
    if folder.exists():
        raise InputError(f"{folder} exists; remove it or choose another NAME")
    if request.count < 1:
        raise InputError(f"--count {request.count}: at least 1 is needed")
    return folder


def scale_of(request: Request, nodules: Dataset, hosts: Dataset) -> Scale:
    """Millimetres decide where both pixel sizes are known; within one data set a nodule keeps its size.

    Raises:
        InputError: a size that is not above 0, or one without the other.
    """
    asked = request.nodule_mm, request.host_mm
    if any(size is not None and not size > 0 for size in asked):
        raise InputError("--nodule-mm and --host-mm are the sizes of a pixel in millimetres, above 0")
    own, theirs = request.nodule_mm or nodules.pixel_mm, request.host_mm or hosts.pixel_mm
    if own and theirs:
        return Scale(own / theirs, f"pixels of {own:g} mm into pixels of {theirs:g} mm")
    if any(asked):
        raise InputError("--nodule-mm and --host-mm need each other: a scale has two sides")
    if nodules.name == hosts.name:
        return Scale(1, "one data set, one scale")
    return Scale(1, "pixel for pixel, as the pixel sizes are not known")


def _blend_all(work: Workshop) -> None:
    """Blend until there are as many as asked for; give up after a whole round in vain."""
    if not (len(work.hosts.table) and work.nodules.cycle):
        raise InputError(f"the training part of fold {work.request.fold} holds no hosts or no nodules")
    for part in ("images", "masks/nodule", "masks/changed"):
        (work.folder / part).mkdir(parents=True)
    families, n, failed = _families(work), 0, 0
    with bar("blending", work.request.count) as step:
        while len(work.rows) < work.request.count and failed <= work.nodules.cycle:
            try:
                _blend_one(work, families, n)
                failed = 0
                step("")
            except Unfit as why:
                work.skipped[str(why)] += 1
                failed += 1
            n += 1
    if len(work.rows) < work.request.count:
        reasons = "; ".join(f"{times} x {why}" for why, times in work.skipped.most_common(4))
        made = f"{len(work.rows)} of {work.request.count}"
        raise InputError(f"only {made} could be made ({reasons}); ask for fewer or take other hosts")


def _families(work: Workshop) -> dict[str, str]:
    """Nodule's patient -> host's patient. Within one data set each to himself; else dealt out, seeded."""
    hosts = sorted(set(work.hosts.table["group"]))
    if work.nodules.dataset.name == work.hosts.dataset.name:
        return {group: group for group in work.nodules.groups}
    dealt = generator("synth families", work.request.seed).permutation(len(hosts))
    return {group: hosts[dealt[n % len(hosts)]] for n, group in enumerate(work.nodules.groups)}


def _blend_one(work: Workshop, families: dict[str, str], n: int) -> None:
    """The nth nodule into a host; Unfit where one of them cannot be used."""
    try:
        nodule = work.nodules.take(n)
    except Unfit as why:
        raise Unfit(f"nodule {why}") from why
    rows = _rows_for(nodule, families, work.hosts)
    row = int(rows[(n + n // work.nodules.cycle) % len(rows)])  # another host when a nodule's turn comes again
    try:
        spot = work.hosts.use(row, nodule.cutting, work.request.seed, n)
    except Unfit as why:
        raise Unfit(f"host {why}") from why
    _keep(work, nodule, row, spot, paste(spot.grey, work.hosts.window, nodule.cutting, spot.place))


def _rows_for(nodule: Nodule, families: dict[str, str], hosts: Hosts) -> np.ndarray:
    """The hosts that a nodule may be put into: those of its family; for a drawn nodule, which has none, all."""
    if not nodule.group:
        return np.arange(len(hosts.table))
    rows = np.flatnonzero(hosts.table["group"] == families[nodule.group])
    if not len(rows):
        raise Unfit("nodule is of a patient without a healthy image")
    return rows


def _keep(work: Workshop, nodule: Nodule, row: int, spot: Spot, blended: Blended) -> None:
    """Write a blended image with its masks, and note its line of the table."""
    name = f"s{len(work.rows):05d}"
    masks = {"nodule": blended.nodule, "changed": blended.changed, "lung": spot.lung}
    _write_grey(work.folder / "images" / f"{name}.png", blended.picture)
    for part, mask in masks.items():
        if mask is not None:
            _write_mask(work.folder / "masks" / part / f"{name}.png", mask)
    line = _line(work, row, name, work.nodules.dataset.positive)
    seam = {"seam_before": f"{blended.seam_before:.4f}", "seam_after": f"{blended.seam_after:.4f}"}
    origin = {"generator": work.nodules.generator, "parents": ";".join(nodule.parents), "box": _format(blended.nodule)}
    work.rows.append(line | origin | seam)
    work.used.add(row)
    if len(work.examples) < SHOWN:
        about = f"{name}: {blended.seam_before:.2f} -> {blended.seam_after:.2f}"
        work.examples.append(Example(spot.grey, blended, about))


def _line(work: Workshop, row: int, name: str, label: str) -> dict[str, Any]:
    host, request = work.hosts.table.iloc[row], work.request
    fold = "" if request.fold is None else request.fold
    about = {"id": name, "label": label, "group": host["group"], "host": host["id"], "fold": fold, "seed": request.seed}
    return dict.fromkeys(COLUMNS, "") | about


def _format(mask: Mask) -> str:
    return " ".join(map(str, box_of(mask)))


def _write_grey(path: Path, picture: Grey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _write_mask(path: Path, mask: Mask) -> None:
    _write_grey(path, mask.astype(np.uint8) * 255)


def _add_untouched(work: Workshop) -> None:
    """As many healthy images as blended ones, so that the set can be trained upon: first those that are no host."""
    order = sorted(range(len(work.hosts.table)), key=lambda row: (row in work.used, -row))
    for n, row in enumerate(order[: work.request.count]):
        name = f"h{n:05d}"
        _write_grey(work.folder / "images" / f"{name}.png", work.hosts.picture(row))
        work.rows.append(_line(work, row, name, work.hosts.label))


def _add_real(work: Workshop) -> None:
    """Images with nodules of their own: what the quiz and the judge compare with. They lie apart, in no class."""
    hosts, parents = work.hosts, {row["parents"] for row in work.rows}
    table = training_part(hosts.index, work.request.fold)
    patches = hosts.dataset.view == "patch"
    table = table[table["label"] == hosts.dataset.positive if patches else table["label"] != hosts.label]
    order = generator("synth real", work.request.seed).permutation(len(table))
    strangers_first = sorted(order.tolist(), key=lambda n: table["id"].iloc[n] in parents)
    for n in strangers_first:
        if len(work.real) == work.request.count:
            break
        try:
            _keep_real(work, table.iloc[n])
        except Unfit as why:
            work.skipped[f"real nodule {why}"] += 1


def _keep_real(work: Workshop, image: pd.Series) -> None:
    name, picture = f"r{len(work.real):05d}", work.hosts.decoded(str(image["path"]))
    mask = _real_nodule(work.hosts, str(image["id"]), picture)
    _write_grey(work.folder / "real/images" / f"{name}.png", picture)
    if mask is not None:
        _write_mask(work.folder / "real/masks" / f"{name}.png", mask)
    box = "" if mask is None else _format(mask)
    work.real.append({"id": name, "real": image["id"], "group": image["group"], "box": box})


def _real_nodule(hosts: Hosts, image_id: str, picture: Grey) -> Mask | None:
    """Where a real nodule is: in a patch found by the rule of those that are blended, in a slice as its data set says
    in masks/nodule/ID.png; None where nobody says."""
    if hosts.dataset.view == "patch":
        return find_nodule(to_hu(picture, hosts.window)).mask
    path = hosts.index.root / "masks/nodule" / f"{image_id}.png"
    return decode_native(path.parent, path.name) > 0 if path.exists() else None


def _write_tables(work: Workshop) -> None:
    pd.DataFrame(work.rows, columns=COLUMNS).to_csv(work.folder / "train.csv", index=False)
    pd.DataFrame(work.real, columns=REAL_COLUMNS).to_csv(work.folder / "real.csv", index=False)
    (work.folder / "dataset.toml").write_text(_declaration(work))
    write_sheet(work.folder / "before_after.png", work.examples)
    about = {
        "request": asdict(work.request),
        "nodules": {"data": work.nodules.dataset.name, "generator": work.nodules.generator},
        "hosts": {"data": work.hosts.dataset.name, "class": work.hosts.label, "hu_window": work.hosts.window},
        "scale": asdict(work.scale),
        "seam": seams(work),
        "skipped": dict(work.skipped),
        "sha256": {name: sha256_file(work.folder / name) for name in ("train.csv", "real.csv")},
        "commit": code_commit(),
    }
    (work.folder / "synth.json").write_text(json.dumps(about, indent=2) + "\n")


def seams(work: Workshop) -> dict[str, float]:
    """Medians of the seam's visibility before and after smoothing, and how many images were smoothed."""
    before, after = ([float(row[column]) for row in work.rows if row[column]] for column in COLUMNS[-2:])
    smoothed = sum(b != a for b, a in zip(before, after, strict=True))
    return {"before": median(before), "after": median(after), "smoothed": smoothed}


def _declaration(work: Workshop) -> str:
    """The set's dataset.toml; a TOML text of plain names is written as JSON writes it."""
    hosts, nodules = work.hosts.dataset, work.nodules.dataset
    values: dict[str, Any] = {
        "about": f"{nodules.name} nodules blended into {hosts.name} ({work.hosts.label}), and untouched ones",
        "origin": f"made here: chestfold synth blend {work.request.name}",
        "licence": " and ".join(dict.fromkeys([hosts.licence, nodules.licence])),
        "classes": [work.hosts.label, nodules.positive],
        "positive": nodules.positive,
        "reader": "csv",
        "group_column": "group",
        "patient": f"of the host: {hosts.patient}",
        "view": hosts.view,
        "hu_window": list(work.hosts.window),
    }
    pixel = work.request.host_mm or hosts.pixel_mm
    values |= {"pixel_mm": pixel} if pixel else {}
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())
