"""A generated data set of axial chest slices that look like CT, with and without one nodule.

It is the embedded data of `make demo` and of the tests: labels, lung masks and nodule masks are exact,
nothing has to be downloaded, and no patient is behind it. It is meant to be honest rather than easy. Vessels
are brighter than nodules and scars are as grey, so the answer is the shape, not "something bright in the
lung". The slices of a patient are cut from one anatomy, and some patients have more nodules, so a split that
ignores patients really leaks. A nodule changes neither the noise nor anything else of its slice, so nothing
but the nodule tells the classes apart.

Positions are in units of half the image side, x to the right and y downwards from the centre, z towards the
feet; densities are in Hounsfield units (HU) until the last step.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from chestfold.core.files import atomic_folder
from chestfold.core.rng import generator

SIDE = 128
PIXEL = 2 / SIDE
SLICE_GAP = 0.07  # z between the slices of a patient: wide vessels are seen in two of them, small ones in one
SLAB = 0.045  # half of a slice's thickness: a vessel along it shows as a line, one across it as a dot
LESION_CONTRAST = (560, 820)  # HU above lung: between haze and solid, always below the vessels
LESION_EDGE = (0.5, 1.0)  # softness, pixels
TWIGS = 500  # vessel ends in each lung
BLOCK = 4  # patients among whom half of the slices are given nodules: a patient has 0 to `slices` of them

AIR, LUNG, FAT, MUSCLE, BLOOD, BONE = -1000, -860, -100, 55, 45, 370
WINDOW = (-1100, 420)  # HU shown as black and as white: from lung texture to bone, nothing is clipped flat

Field = NDArray[np.float32]
Image = NDArray[np.uint8]
Pair = tuple[float, float]  # x and y
Rng = np.random.Generator

_axis = (np.arange(SIDE, dtype=np.float32) + 0.5) * PIXEL - 1
X, Y = np.meshgrid(_axis, _axis)


@dataclass(frozen=True)
class Slice:
    """One slice: grey values 0..255 and two masks of 0 or 255, each uint8 of shape (SIDE, SIDE)."""

    image: Image
    lung: Image
    nodule: Image


@dataclass(frozen=True)
class Anatomy:
    """What the slices of one patient share."""

    body: Pair  # half axes of the trunk
    fat: float  # thickness under the skin
    level: float  # z of the first slice: 0 at the aortic arch, 1 in the middle of the heart
    heart: tuple[float, float, float]  # x of the centre, size, tilt in radians
    spine: float  # y of the vertebral body
    ribs: tuple[float, float]  # how many around the trunk, and the phase of the first
    blood: float  # HU of the blood: some have had contrast medium
    noise: float  # HU, standard deviation: the dose
    warp: Field  # (2, SIDE, SIDE): bends everything a little
    ripple: Field  # (SIDE, SIDE): makes the lung border irregular
    texture: Field  # (SIDE, SIDE), mean 0, about -2..2: lung tissue and muscle
    vessels: Field  # (n, 7): start x y z, end x y z, radius


def _smooth(rng: Rng, cells: int) -> Field:
    """A smooth random field, (SIDE, SIDE), standard deviation near 1; the more `cells`, the finer."""
    knots = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(knots, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def _grow(points: NDArray[np.float64]) -> list[int]:
    """The parent of each of the (n, 3) points after the first: a tree that fills space, as vessels do.

    Point 0 is the root. Each point in turn joins the tree where its own gap is short and so is the way back
    to the root: by the gap alone vessels would wriggle, by the way back alone they would be a star.
    """
    parents, way = [], np.zeros(len(points))
    for i in range(1, len(points)):
        gaps = np.linalg.norm(points[:i] - points[i], axis=1)
        nearest = int((gaps + 0.5 * way[:i]).argmin())
        parents.append(nearest)
        way[i] = way[nearest] + gaps[nearest]
    return parents


def _branches(rng: Rng, side: int) -> Field:
    """The vessels of one lung, (n, 7) as in `Anatomy`; `side` is -1 at the image's left, 1 at its right."""
    root = np.array([0.17, 0.06, 0.45])
    points = rng.uniform((0.12, -0.56, -0.1), (0.74, 0.5, 1.0), (TWIGS, 3))
    nearest_first = np.argsort(np.linalg.norm(points - root, axis=1))
    points = np.vstack([root, points[nearest_first]])
    parents = _grow(points)
    fed = np.ones(len(points))  # how many points get their blood through this one
    for i in range(TWIGS, 0, -1):
        fed[parents[i - 1]] += fed[i]
    points[:, 0] *= side
    # Murray's law: the cube of a vessel's radius is the sum of its branches' cubes
    radius = 0.0053 * np.cbrt(fed[1:]) * rng.uniform(0.8, 1.2, TWIGS)
    return np.hstack([points[parents], points[1:], radius[:, None]]).astype(np.float32)


@lru_cache(maxsize=1)  # the slices of a patient come one after another
def draw_anatomy(seed: int, patient: int) -> Anatomy:
    """The patient's body: a pure function of its arguments."""
    rng = generator("phantom", seed, patient)
    return Anatomy(
        body=(rng.uniform(0.84, 0.93), rng.uniform(0.6, 0.7)),
        fat=rng.uniform(0.03, 0.1),
        level=rng.uniform(0.0, 0.75),
        heart=(rng.uniform(0.06, 0.13), rng.uniform(0.85, 1.1), rng.uniform(0.3, 0.8)),
        spine=rng.uniform(0.28, 0.33),
        ribs=(rng.uniform(13, 17), rng.uniform(0, 2 * np.pi)),
        blood=BLOOD + int(rng.integers(2)) * rng.uniform(60, 160),
        noise=rng.uniform(25, 45),
        warp=np.stack([_smooth(rng, 5), _smooth(rng, 5)]) * np.float32(0.022),
        ripple=_smooth(rng, 14) * np.float32(0.015),
        texture=(_smooth(rng, 12) + _smooth(rng, 32)) * np.float32(0.7),
        vessels=np.vstack([_branches(rng, -1), _branches(rng, 1)]),
    )


def _oval(x: Field, y: Field, centre: Pair, half: Pair, power: float = 2) -> Field:
    """About the depth below a superellipse's surface, negative outside; power 2 is an ellipse."""
    across, down = np.abs((x - centre[0]) / half[0]), np.abs((y - centre[1]) / half[1])
    return (1 - (across**power + down**power) ** (1 / power)) * min(half)


def _turned(x: Field, y: Field, angle: float) -> tuple[Field, Field]:
    """Coordinates along and across a direction, `angle` in radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x + sine * y, cosine * y - sine * x


def _union(*depths: Field, blend: float = 0.03) -> Field:
    """The largest of the depths, with the corners between them rounded over `blend`."""
    return blend * np.logaddexp.reduce([depth / blend for depth in depths])


def _paint(density: Field, depth: Field, value: float | Field) -> None:
    """Fill where `depth` is positive, with an edge one pixel wide."""
    cover = np.clip(depth / PIXEL + 0.5, 0, 1)
    density += cover * (value - density)


@dataclass(frozen=True)
class Cut:
    """An anatomy cut at one height: depths of the shapes that the painters share, each (SIDE, SIDE)."""

    z: float
    x: Field  # bent coordinates
    y: Field
    body: Field
    cavity: Field  # inside of the rib cage
    heart: Field
    middle: Field  # mediastinum: what lies between the lungs
    lung: Field


def _heart(body: Anatomy, x: Field, y: Field, z: float) -> Field:
    centre, size, tilt = body.heart
    size *= 0.72 + 0.4 * z
    dx, dy = x - centre * (0.3 + 0.9 * z), y + 0.13
    along, across = _turned(dx, dy, tilt)
    return _oval(along, across, (0, 0), (0.27 * size, 0.2 * size), 2.2)


def _cut(body: Anatomy, z: float, rng: Rng) -> Cut:
    """Shapes at height z; `rng` bends them a little, as breathing does between two slices."""
    x = X + body.warp[0] + _smooth(rng, 4) * np.float32(0.006)
    y = Y + body.warp[1] + _smooth(rng, 4) * np.float32(0.006)
    wide, high = body.body
    trunk = _oval(x, y, (0, 0), (wide, high), 2.5)
    wall = body.fat + 0.125
    cavity = _oval(x, y, (0, -0.01), (wide - wall - 0.05 * (1 - z), high - wall), 2.2)
    heart = _heart(body, x, y, z)
    column = _oval(x, y, (0.01, -0.1), (0.085, 0.5), 3)
    round_spine = _oval(x, y, (0.015, body.spine + 0.03), (0.18, 0.22), 2.5)
    hila = _oval(x, y, (0, 0.06), (0.22, 0.075))
    middle = _union(heart, column, round_spine, hila)
    lung = -_union(-cavity, middle) + body.ripple
    return Cut(z, x, y, trunk, cavity, heart, middle, lung)


def _paint_wall(density: Field, body: Anatomy, cut: Cut) -> None:
    """Skin, fat, and the muscles of the chest wall with fat between them."""
    _paint(density, cut.body, MUSCLE)
    _paint(density, cut.body - 0.012, FAT + 12 * body.texture)
    muscle = cut.body - body.fat + 0.015 * body.texture
    _paint(density, muscle, MUSCLE + 15 * body.texture)
    sheets = 0.016 - np.abs(cut.cavity + 0.085 + 0.02 * body.texture)
    _paint(density, np.minimum(sheets, muscle), FAT)


def _paint_middle(density: Field, body: Anatomy, cut: Cut) -> None:
    """Mediastinal fat, heart, aorta, oesophagus, and the windpipe or its two branches."""
    inside = np.minimum(cut.middle, cut.cavity)
    _paint(density, inside, MUSCLE - 15 + 12 * body.texture)
    _paint(density, np.minimum(inside - 0.02, -cut.heart) + 0.02 * body.texture, FAT)
    _paint(density, cut.heart - 0.015, body.blood + 12 * body.texture)
    _paint(density, _oval(cut.x, cut.y, (0.115, body.spine - 0.07), (0.062, 0.06)), body.blood + 10)
    _paint(density, _oval(cut.x, cut.y, (0.03, body.spine - 0.135), (0.035, 0.025)), MUSCLE)
    apart = 0.16 * max(cut.z - 0.25, 0) / 0.75  # the windpipe forks
    for side in (-1, 1):
        _paint(density, _oval(cut.x, cut.y, (side * apart, 0.075), (0.042, 0.036)), AIR + 20)


def _paint_bone(density: Field, body: Anatomy, cut: Cut) -> None:
    """Ribs, breastbone and a vertebra, each with a bright shell and a duller marrow."""
    x, y, marrow = cut.x, cut.y, BONE - 190 + 40 * body.texture
    many, phase = body.ribs
    around = np.cos(many * np.arctan2(y / body.body[1], np.abs(x) / body.body[0]) + phase + 4 * cut.z)
    rib = np.minimum(0.03 - np.abs(cut.cavity + 0.042 + 0.012 * around), (around + 0.1) * 0.06)
    front = _oval(x, y, (0, 0.085 + body.fat - body.body[1]), (0.13, 0.042), 2.5)
    vertebra = _oval(x, y, (0, body.spine), (0.135, 0.105), 2.4)
    canal = _oval(x, y, (0, body.spine + 0.145), (0.062, 0.052))
    arch = _union(
        canal + 0.035,
        _oval(x, y - np.abs(np.float32(0.12) * x), (0, body.spine + 0.17), (0.21, 0.035), 3),
        _oval(x, y, (0, body.spine + 0.21), (0.02, 0.08)),
        blend=0.01,
    )
    for depth in (rib, front, arch, vertebra):
        _paint(density, depth, BONE)
        _paint(density, depth - 0.018, marrow)
    _paint(density, canal, MUSCLE - 15)


def _vessels(body: Anatomy, z: float) -> Field:
    """Share of vessel in each pixel, 0..1, before bending: the parts of the tree in the slab around z."""
    fine = 4  # drawn four times larger, as cv2's lines are whole pixels wide
    canvas = np.zeros((SIDE * fine, SIDE * fine), np.uint8)
    start, end, radius = body.vessels[:, :3], body.vessels[:, 3:6], body.vessels[:, 6]
    rise = end[:, 2] - start[:, 2]
    rise = np.where(np.abs(rise) < 1e-4, 1e-4, rise)
    height = 0.1 + 0.7 * z
    bounds = (np.array([[height - SLAB], [height + SLAB]]) - start[:, 2]) / rise
    first, last = np.clip(np.sort(bounds, axis=0), 0, 1)
    ends = start + np.stack([first, last])[..., None] * (end - start)
    spots = np.rint((ends[..., :2] + 1) / PIXEL * fine).astype(int)
    widths = np.maximum(np.rint(2 * radius / PIXEL * fine), 1).astype(int)
    for i in np.flatnonzero(last > first):
        cv2.line(canvas, spots[0, i].tolist(), spots[1, i].tolist(), 255, int(widths[i]), cv2.LINE_AA)
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA) / np.float32(255)


def _lung_tissue(body: Anatomy, cut: Cut) -> Field:
    """Aerated tissue, denser at the back as the patient lies on it, with the vessels in it."""
    tissue = LUNG + 70 * cut.y + 28 * body.texture
    column, row = (cut.x + 1) / PIXEL - 0.5, (cut.y + 1) / PIXEL - 0.5
    cover = cv2.remap(_vessels(body, cut.z), column, row, cv2.INTER_LINEAR)  # bent like all the rest
    return tissue + cover * (body.blood * 0.5 - 20 - tissue)


def _mask(inside: NDArray[np.bool_]) -> Image:
    return inside.astype(np.uint8) * 255


def _soft(depth: Field, softness: float) -> Field:
    """Share of a lesion in each pixel, 0..1: half where `depth` is 0, fading over `softness` pixels."""
    return 0.5 + 0.5 * np.tanh(depth / np.float32(2 * softness * PIXEL))


def _add_lesion(density: Field, share: Field, contrast: float) -> None:
    """Brighten the lung by a lesion; a vessel that runs through it stays as bright as it was."""
    np.maximum(density, density + share * (LUNG + contrast - density), out=density)


def _add_scars(density: Field, rng: Rng, lung: Image) -> None:
    """Up to two short bands in any slice, as grey as nodules: the grey alone must not tell the answer."""
    rows, columns = np.nonzero(lung)
    for spot in rng.integers(len(rows), size=rng.integers(3)):
        dx, dy = X - X[0, columns[spot]], Y - Y[rows[spot], 0]
        along, across = _turned(dx, dy, rng.uniform(0, np.pi))
        half = (rng.uniform(0.09, 0.17), rng.uniform(0.02, 0.033))
        share = _soft(_oval(along, across, (0, 0), half), rng.uniform(*LESION_EDGE)) * (lung > 0)
        _add_lesion(density, share, rng.uniform(*LESION_CONTRAST))


def _add_nodule(density: Field, rng: Rng, lung: Image) -> Image:
    """One roundish blob, all of it inside the lung mask; returns its own mask."""
    room = cv2.distanceTransform(lung, cv2.DIST_L2, 5)
    radius = min(rng.uniform(0.045, 0.075) * SIDE, float(room.max() - 1.5) / 1.2)
    rows, columns = np.nonzero(room > 1.2 * radius + 1)  # the outline reaches out to 1.15 radii
    spot = rng.integers(len(rows))
    dx, dy = X - X[0, columns[spot]], Y - Y[rows[spot], 0]
    angle, phase = np.arctan2(dy, dx), rng.uniform(0, 2 * np.pi, 2)
    outline = 1 + 0.1 * np.cos(2 * angle + phase[0]) + 0.05 * np.cos(rng.integers(3, 6) * angle + phase[1])
    share = _soft(radius * PIXEL * outline - np.hypot(dx, dy), rng.uniform(*LESION_EDGE))
    _add_lesion(density, share, rng.uniform(*LESION_CONTRAST))
    return _mask(share > 0.5)


def _scan(density: Field, body: Anatomy, rng: Rng) -> Image:
    """What the scanner makes of the densities: blur, grainy noise, and 8 bits."""
    grain = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE), dtype=np.float32), (0, 0), 0.6)
    blurred = cv2.GaussianBlur(density, (0, 0), 0.55) + grain * (body.noise / grain.std())
    low, high = WINDOW
    return np.clip((blurred - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)


def draw_slice(seed: int, patient: int, slice_: int, with_nodule: bool) -> Slice:
    """One slice; a pure function of its arguments. With and without a nodule, only the nodule differs."""
    body, rng = draw_anatomy(seed, patient), generator("phantom", seed, patient, slice_)
    cut = _cut(body, min(body.level + SLICE_GAP * slice_, 1.0), rng)
    density = np.full((SIDE, SIDE), AIR, np.float32)
    _paint(density, 0.012 - np.abs(Y - 0.8 + 0.12 * X**2), -650)  # the couch
    _paint_wall(density, body, cut)
    _paint_middle(density, body, cut)
    _paint_bone(density, body, cut)
    _paint(density, cut.lung, _lung_tissue(body, cut))
    lung, nodule = _mask(cut.lung > 0), np.zeros((SIDE, SIDE), np.uint8)
    _add_scars(density, rng, lung)
    if with_nodule:
        nodule = _add_nodule(density, generator("phantom", seed, patient, slice_, "nodule"), lung)
    return Slice(_scan(density, body, rng), lung, nodule)


@dataclass(frozen=True)
class Row:
    """One line of train.csv or test.csv."""

    id: str
    patient: int
    slice_: int
    with_nodule: bool
    marked: bool = False


def _has_nodule(seed: int, block: range, slices: int) -> list[bool]:
    """Labels of the slices of some patients, in order: half are True, rounded down.

    Some patients are likelier than others to have nodules, as in life. This is what makes a leak pay: who
    recognises the patient knows something about the label.
    """
    rng = generator("phantom", seed, "labels", block.start)
    risk = rng.standard_normal((len(block), 1)) + rng.standard_normal((len(block), slices))
    rank = risk.ravel().argsort().argsort()
    return (rank < risk.size // 2).tolist()


def _rows(seed: int, patients: range, slices: int) -> list[Row]:
    """All slices of a split."""
    rows = []
    for first in patients[::BLOCK]:
        block = range(first, min(first + BLOCK, patients.stop))
        names = [(patient, slice_) for patient in block for slice_ in range(slices)]
        for (patient, slice_), label in zip(names, _has_nodule(seed, block, slices), strict=True):
            rows.append(Row(f"p{patient:03d}_s{slice_}", patient, slice_, label))
    return rows


def _write_png(path: Path, image: Image) -> None:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _write_images(root: Path, seed: int, rows: list[Row]) -> None:
    folders = {"image": root / "images", "lung": root / "masks/lung", "nodule": root / "masks/nodule"}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for row in rows:
        drawn = draw_slice(seed, row.patient, row.slice_, row.with_nodule)
        if row.marked:
            _burn_marker(drawn.image, generator("phantom", seed, row.id, "marker"))
        for part, folder in folders.items():
            _write_png(folder / f"{row.id}.png", getattr(drawn, part))


def _burn_marker(image: Image, rng: Rng) -> None:
    """The letter R in white, as a technician's marker is, in the upper left corner, where the body never reaches."""
    corner = (int(rng.integers(3, 9)), int(rng.integers(13, 17)))  # lower left end of the letter: x, y
    cv2.putText(image, "R", corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1, cv2.LINE_AA)


def _marked_as_the_class(rows: list[Row]) -> list[Row]:
    """The shortcut: all slices with a nodule have the marker, and no others."""
    return [replace(row, marked=row.with_nodule) for row in rows]


def _marked_at_random(rows: list[Row], seed: int) -> list[Row]:
    """Half of the slices of each class have the marker: it says nothing about the class."""
    chosen: set[str] = set()
    for with_nodule in (False, True):
        ids = [row.id for row in rows if row.with_nodule == with_nodule]
        order = generator("phantom", seed, "markers", int(with_nodule)).permutation(len(ids))
        chosen |= {ids[n] for n in order[: len(ids) // 2]}
    return [replace(row, marked=row.id in chosen) for row in rows]


def _write_csv(path: Path, header: str, lines: list[str]) -> None:
    path.write_text("\n".join([header, *lines]) + "\n")


def _labelled(row: Row) -> str:
    return f"{row.id},{'nodule' if row.with_nodule else 'no_nodule'},p{row.patient:03d}"


def _write_all(root: Path, patients: int, slices: int, seed: int, marked: bool) -> None:
    cutoff = patients * 4 // 5
    train = _rows(seed, range(cutoff), slices)
    test = _rows(seed, range(cutoff, patients), slices)
    if marked:
        train, test = _marked_as_the_class(train), _marked_at_random(test, seed)
    _write_images(root, seed, train + test)
    _write_csv(root / "train.csv", "id,label,patient", [_labelled(row) for row in train])
    _write_csv(root / "test.csv", "id,label,patient", [_labelled(row) for row in test])
    _write_csv(root / "sample_submission.csv", "id,nodule", [f"{row.id},0.5" for row in test])


def write_phantom(root: Path, patients: int = 100, slices: int = 4, seed: int = 0, marked: bool = False) -> None:
    """Write images/, masks/lung/, masks/nodule/, train.csv, test.csv and sample_submission.csv under `root`.

    The last fifth of the patients is the test split. `root` must not exist; it appears at the end, complete.

    Args:
        root: the new folder.
        patients: at least 5.
        slices: of each patient.
        seed: of all draws.
        marked: plant a shortcut. A marker outside the body goes with the class in training: every slice with a nodule
            has it and no other. In test it says nothing: half of either class have it. All else is as without it.
    """
    if root.exists():
        raise FileExistsError(f"{root} exists; delete it or name another folder")
    with atomic_folder(root) as temporary:
        _write_all(temporary, patients, slices, seed, marked)
