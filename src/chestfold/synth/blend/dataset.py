"""`chestfold synth blend`: nodules from donors, healthy images as hosts, and a data set of what becomes of them.

Nodule and host are of one patient where both come from one data set; else each patient of the nodules is given to one
patient of the hosts. So `group`, the host's patient, joins all that is related: no split by group can separate an image
from its parents' patient.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.console import bar
from chestfold.core.errors import InputError
from chestfold.core.files import atomic_folder, input_dir, require_plain_name, sha256_file, write_json
from chestfold.core.provenance import code_commit
from chestfold.core.rng import generator
from chestfold.data.catalogue import catalogue
from chestfold.data.dataset import Dataset
from chestfold.data.declaration import declaration_text
from chestfold.data.decode import decode_native
from chestfold.synth.blend.contact_sheet import write_sheet
from chestfold.synth.blend.donors import Donors, Nodule, open_donors, training_part
from chestfold.synth.blend.hosts import Hosts, Site, open_hosts
from chestfold.synth.blend.paste import Blended, Grey, Window, paste, to_hu
from chestfold.synth.blend.poisson import Mask, bounding_box
from chestfold.synth.blend.segment import Unfit, segment_nodule
from chestfold.synth.gan.images import png

COLUMNS = ["id", "label", "group", "host", "generator", "parents", "fold", "seed", "box", "seam_before", "seam_after"]
REAL_COLUMNS = ["id", "real", "group", "box"]
SHOWN = 12
"""Examples on the contact sheet."""


@dataclass(frozen=True)
class BlendRequest:
    """The options of `synth blend`. `nodule_mm`, `host_mm`: pixel sizes where the data sets declare none."""

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


def scale_of(request: BlendRequest, nodules: Dataset, hosts: Dataset) -> Scale:
    """Millimetres decide where both pixel sizes are known; within one data set a nodule keeps its size.

    Raises:
        InputError: a size that is not above 0, or one without the other.
    """
    given = [size for size in (request.nodule_mm, request.host_mm) if size is not None]
    if any(not size > 0 for size in given):
        raise InputError("--nodule-mm and --host-mm are the sizes of a pixel in millimetres, above 0")
    nodule_mm = request.nodule_mm or nodules.pixel_mm
    host_mm = request.host_mm or hosts.pixel_mm
    if nodule_mm and host_mm:
        return Scale(nodule_mm / host_mm, f"pixels of {nodule_mm:g} mm into pixels of {host_mm:g} mm")
    if given:
        raise InputError("--nodule-mm and --host-mm need each other: a scale has two sides")
    if nodules.name == hosts.name:
        return Scale(1, "one data set, one scale")
    return Scale(1, "pixel for pixel, as the pixel sizes are not known")


def blend(request: BlendRequest) -> "DatasetBuilder":
    """Make the data set input/NAME; it appears at the end, complete.

    Raises:
        InputError: anything that was asked for and cannot be; fewer images than asked for can be made.
    """
    folder = _new_folder(request)
    hosts = open_hosts(request.hosts, request.host_class, request.host_window, request.fold, request.seed)
    donors = open_donors(request.nodules, hosts.window, request.fold, request.seed)
    scale = scale_of(request, donors.dataset, hosts.dataset)
    donors.scale *= scale.factor
    with atomic_folder(folder) as temporary:
        builder = DatasetBuilder(request, donors, hosts, scale, temporary)
        builder.blend_all()
        builder.add_untouched()
        builder.add_real()
        builder.write_tables()
    return builder


def _new_folder(request: BlendRequest) -> Path:
    folder = input_dir() / request.name
    require_plain_name(request.name, "data set")
    if request.name in catalogue():
        raise InputError(f"{request.name} is the name of a data set of the catalogue; choose another NAME")
    if folder.exists():
        raise InputError(f"{folder} exists; remove it or choose another NAME")
    if request.count < 1:
        raise InputError(f"--count {request.count}: at least 1 is needed")
    return folder


@dataclass
class DatasetBuilder:
    """A data set in the making. `skipped`: reason -> how often; `used`: rows of the hosts that have a nodule now."""

    request: BlendRequest
    donors: Donors
    hosts: Hosts
    scale: Scale
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    real: list[dict[str, Any]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Blended] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)

    def blend_all(self) -> None:
        """Blend until there are as many as asked for; give up when a whole round of nodules was in vain."""
        count = self.request.count
        if self.hosts.table.empty or not self.donors.cycle:
            raise InputError(f"the training part of fold {self.request.fold} holds no hosts or no nodules")
        host_of = self._host_patients()
        n = 0
        failed = 0
        with bar("blending", count) as advance:
            while len(self.rows) < count and failed <= self.donors.cycle:
                try:
                    self._blend_one(n, host_of)
                    failed = 0
                    advance()
                except Unfit as why:
                    self.skipped[str(why)] += 1
                    failed += 1
                n += 1
        if len(self.rows) < count:
            reasons = "; ".join(f"{times} x {why}" for why, times in self.skipped.most_common(4))
            raise InputError(
                f"only {len(self.rows)} of {count} could be made ({reasons}); ask for fewer or take other hosts"
            )

    def _host_patients(self) -> dict[str, str]:
        """Nodule's patient -> host's patient. Within one data set the same; else dealt out, seeded."""
        groups = self.donors.groups
        if self.donors.dataset.name == self.hosts.dataset.name:
            return {group: group for group in groups}
        hosts = generator("synth families", self.request.seed).permutation(sorted(set(self.hosts.table["group"])))
        return {group: str(hosts[n % len(hosts)]) for n, group in enumerate(groups)}

    def _blend_one(self, n: int, host_of: dict[str, str]) -> None:
        """The nth nodule into a host; `Unfit` where one of them cannot be used."""
        try:
            nodule = self.donors.take(n)
        except Unfit as why:
            raise Unfit(f"nodule {why}") from why
        if nodule.group:
            rows = np.flatnonzero(self.hosts.table["group"] == host_of[nodule.group])
        else:
            rows = np.arange(len(self.hosts.table))
        if not len(rows):
            raise Unfit("nodule is of a patient without a healthy image")
        row = int(rows[(n + n // self.donors.cycle) % len(rows)])  # another host when a nodule is used again
        try:
            site = self.hosts.find_site(row, nodule.patch, self.request.seed, n)
        except Unfit as why:
            raise Unfit(f"host {why}") from why
        self._keep(nodule, row, site, paste(site.grey, self.hosts.window, nodule.patch, site.place))

    def _keep(self, nodule: Nodule, row: int, site: Site, blended: Blended) -> None:
        """Write a blended image with its masks, and note its row of the table."""
        name = f"s{len(self.rows):05d}"
        self._write("images", name, blended.image)
        self._write("masks/nodule", name, blended.nodule)
        self._write("masks/changed", name, blended.changed)
        if site.lung is not None:
            self._write("masks/lung", name, site.lung)
        self.used.add(row)
        self.rows.append(
            {
                **self._row(row, name, self.donors.dataset.positive),
                "generator": self.donors.generator,
                "parents": ";".join(nodule.parents),
                "box": _box_text(blended.nodule),
                "seam_before": blended.seam_before,
                "seam_after": blended.seam_after,
            }
        )
        if len(self.examples) < SHOWN:
            title = f"{name}: {blended.seam_before:.2f} -> {blended.seam_after:.2f}"
            self.examples[title] = blended

    def _row(self, row: int, name: str, label: str) -> dict[str, Any]:
        """What the table says of every image that is made of the host in `row`."""
        host = self.hosts.table.iloc[row]
        about = {"id": name, "label": label, "group": host["group"], "host": host["id"]}
        return about | {"fold": self.request.fold, "seed": self.request.seed}

    def _write(self, part: str, name: str, image: Grey | Mask) -> None:
        """A grey image as it is, a mask as 0 and 255."""
        path = self.folder / part / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(np.where(image, 255, 0).astype(np.uint8) if image.dtype == bool else image))

    def add_untouched(self) -> None:
        """As many healthy images as blended ones, so that the set can be trained on: first those that are no host."""
        order = sorted(range(len(self.hosts.table)), key=lambda row: (row in self.used, -row))
        for n, row in enumerate(order[: self.request.count]):
            name = f"h{n:05d}"
            self._write("images", name, self.hosts.decode(self.hosts.table["path"][row]))
            self.rows.append(self._row(row, name, self.hosts.label))

    def add_real(self) -> None:
        """Images with nodules of their own, which are in no class: the quiz and the classifier test compare with them.

        Those that are no parent come first.
        """
        dataset = self.hosts.dataset
        table = training_part(self.hosts.index, self.request.fold)
        is_patch = dataset.view == "patch"
        table = table[table["label"] == dataset.positive if is_patch else table["label"] != self.hosts.label]
        order = generator("synth real", self.request.seed).permutation(len(table))
        parents = {row["parents"] for row in self.rows[: self.request.count]}
        for n in sorted(order.tolist(), key=lambda n: table["id"].iloc[n] in parents):
            if len(self.real) == self.request.count:
                break
            try:
                self._keep_real(table.iloc[n])
            except Unfit as why:
                self.skipped[f"real nodule {why}"] += 1

    def _keep_real(self, row: pd.Series) -> None:
        name = f"r{len(self.real):05d}"
        image = self.hosts.decode(row["path"])
        mask = self._real_mask(row["id"], image)
        self._write("real/images", name, image)
        if mask is not None:
            self._write("real/masks", name, mask)
        box = "" if mask is None else _box_text(mask)
        self.real.append({"id": name, "real": row["id"], "group": row["group"], "box": box})

    def _real_mask(self, image_id: str, image: Grey) -> Mask | None:
        """Where a real nodule is: in a patch segmented as those that are blended, in a slice as its data set says in
        masks/nodule/ID.png; None where nobody says."""
        if self.hosts.dataset.view == "patch":
            return segment_nodule(to_hu(image, self.hosts.window)).mask
        path = self.hosts.index.root / "masks/nodule" / f"{image_id}.png"
        return decode_native(path.parent, path.name) > 0 if path.exists() else None

    def seams(self) -> dict[str, float]:
        """Medians of the seam's visibility before and after smoothing, and how many images were smoothed."""
        seams = pd.DataFrame(self.rows[: self.request.count])[["seam_before", "seam_after"]]
        before, after = seams.median().tolist()
        smoothed = int((seams["seam_before"] != seams["seam_after"]).sum())
        return {"before": before, "after": after, "smoothed": smoothed}

    def write_tables(self) -> None:
        """train.csv, real.csv, dataset.toml, before_after.png and synth.json."""
        table = pd.DataFrame(self.rows, columns=COLUMNS)
        table.to_csv(self.folder / "train.csv", index=False, float_format="%.4f")
        pd.DataFrame(self.real, columns=REAL_COLUMNS).to_csv(self.folder / "real.csv", index=False)
        (self.folder / "dataset.toml").write_text(declaration_text(self._declaration()))
        write_sheet(self.folder / "before_after.png", self.examples)
        hosts = self.hosts
        about = {
            "request": asdict(self.request),
            "nodules": {"data": self.donors.dataset.name, "generator": self.donors.generator},
            "hosts": {"data": hosts.dataset.name, "class": hosts.label, "hu_window": hosts.window},
            "scale": asdict(self.scale),
            "seam": self.seams(),
            "skipped": dict(self.skipped),
            "sha256": {name: sha256_file(self.folder / name) for name in ("train.csv", "real.csv")},
            "commit": code_commit(),
        }
        write_json(self.folder / "synth.json", about)

    def _declaration(self) -> dict[str, Any]:
        hosts = self.hosts.dataset
        nodules = self.donors.dataset
        values: dict[str, Any] = {
            "about": f"{nodules.name} nodules blended into {hosts.name} ({self.hosts.label}), and untouched ones",
            "origin": f"made here: chestfold synth blend {self.request.name}",
            "licence": " and ".join(dict.fromkeys([hosts.licence, nodules.licence])),
            "classes": [self.hosts.label, nodules.positive],
            "positive": nodules.positive,
            "reader": "csv",
            "group": "group",
            "patient": f"of the host: {hosts.patient}",
            "view": hosts.view,
            "hu_window": list(self.hosts.window),
        }
        pixel_mm = self.request.host_mm or hosts.pixel_mm
        if pixel_mm:
            values["pixel_mm"] = pixel_mm
        return values


def _box_text(mask: Mask) -> str:
    """Left, top, right, bottom of a mask, half-open, pixels."""
    rows, columns = bounding_box(mask)
    return f"{columns.start} {rows.start} {columns.stop} {rows.stop}"
