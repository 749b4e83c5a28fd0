"""Where nodules come from, and the hosts that they are put into; both only from the training part of a fold."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.rng import generator, key
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, Index
from chestfold.data.decode import decode_native
from chestfold.data.dicom import CT_WINDOWS
from chestfold.data.transforms.lungs import segment_lungs
from chestfold.synth.blend.outline import Unfit, in_lung
from chestfold.synth.blend.paste import Cutting, Grey, Window, cut_out, to_hu
from chestfold.synth.blend.place import find_place, shows_lung
from chestfold.synth.blend.poisson import Mask

if TYPE_CHECKING:  # it needs torch
    from chestfold.synth.gan.generator import Trained

REAL = "luna16_patches"
"""The data set that `--nodules real` means."""
DRAWS = 64
"""Patches that a generator draws at a time."""


@dataclass(frozen=True)
class Nodule:
    """A nodule to be blended. `group`: the patient it comes from, "" for a drawn one."""

    cutting: Cutting
    parents: list[str]
    group: str = ""


class Nodules(Protocol):
    """A source of nodules."""

    @property
    def dataset(self) -> Dataset:
        """The data set that the nodules are of, or that their generator has seen."""

    @property
    def generator(self) -> str:
        """Hash of the generator; "" for real nodules."""

    scale: float
    """How many times as large as in its patch a nodule is cut out."""

    @property
    def groups(self) -> list[str]:
        """The patients that the nodules are of."""

    @property
    def cycle(self) -> int:
        """After so many in a row that could not be used, no other will be."""

    def take(self, n: int) -> Nodule:
        """The nth nodule; Unfit where it does not stand alone."""


def training_part(index: Index, fold: int | None) -> pd.DataFrame:
    """The training images that may be used: all, or those of the other folds than `fold` of the set's own fold file."""
    if fold is None:
        return index.train
    kept = set(folds.load(index.dataset.name, index).other_ids(fold))
    return index.train[index.train["id"].isin(kept)].reset_index(drop=True)


def window_of(dataset: Dataset, asked: Window | None = None) -> Window:
    """The HU window of a data set: the one asked for, else the declared one; `InputError` when there is none."""
    if asked and asked[0] >= asked[1]:
        raise InputError(f"a window of {asked[0]} to {asked[1]} HU shows nothing: black lies below white")
    window = asked or dataset.hu_window
    if window is None and dataset.ct_window:
        level, width = CT_WINDOWS[dataset.ct_window]
        window = round(level - width / 2), round(level + width / 2)
    if window is None:
        raise InputError(
            f"{dataset.name} declares no hu_window, so nobody knows how grey a nodule is in it; declare it, or for "
            "hosts say which Hounsfield units are black and white: --host-window LOW HIGH"
        )
    return window


@dataclass
class RealNodules:
    """The positive class of a set of patches, each nodule once in a seeded order, then again."""

    index: Index
    window: Window
    shown_in: Window
    """The hosts' window."""
    table: pd.DataFrame
    scale: float = 1.0
    generator: str = ""
    _cut: dict[int, Cutting | Unfit] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """What they are images of."""
        return self.index.dataset

    @property
    def groups(self) -> list[str]:
        """The patients, in order."""
        return sorted(set(self.table["group"]))

    @property
    def cycle(self) -> int:
        """All of them."""
        return len(self.table)

    def take(self, n: int) -> Nodule:
        """The nth nodule."""
        row = n % len(self.table)
        if row not in self._cut:
            self._cut[row] = self._find(row)
        found = self._cut[row]
        if isinstance(found, Unfit):
            raise found
        return Nodule(found, [str(self.table["id"][row])], str(self.table["group"][row]))

    def _find(self, row: int) -> Cutting | Unfit:
        grey = decode_native(self.index.root, str(self.table["path"][row]), *self.dataset.levels)
        try:
            return cut_out(to_hu(grey, self.window), self.scale, self.shown_in)
        except Unfit as why:
            return why


@dataclass
class DrawnNodules:
    """Patches of a trained generator."""

    drawn_by: "Trained"
    dataset: Dataset
    window: Window
    shown_in: Window
    """The hosts' window."""
    seed: int
    scale: float
    """1, or less where the generator draws the patches larger than they were."""
    cycle: int = 200
    _batches: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def generator(self) -> str:
        """The generator's hash."""
        return self.drawn_by.sha256

    @property
    def groups(self) -> list[str]:
        """None: a drawn nodule is of no patient."""
        return []

    def take(self, n: int) -> Nodule:
        """The nth nodule."""
        batch = n // DRAWS
        if batch not in self._batches:
            self._batches = {batch: self.drawn_by.draw(DRAWS, key("synth blend", self.seed, batch) % 2**31)}
        patch = self._batches[batch][n % DRAWS]
        return Nodule(cut_out(to_hu(patch, self.window), self.scale, self.shown_in), self.drawn_by.parents)


def open_nodules(source: str, shown_in: Window, fold: int | None, seed: int) -> Nodules:
    """`real`, the name of a set of patches, or the folder of a trained generator; `shown_in`: the hosts' window.

    Raises:
        InputError: it is none of these, or the generator is of another fold.
    """
    if source != "real" and Path(source).is_dir():
        return _drawn(Path(source), shown_in, fold, seed)
    if Path(source).name != source:
        raise InputError(
            f"--nodules {source}: there is no such folder; train a generator: chestfold synth train --help"
        )
    index = open_index(REAL if source == "real" else source)
    dataset = index.dataset
    if dataset.view != "patch":
        raise InputError(f"--nodules {source}: {dataset.name} is no set of patches with a nodule in the middle")
    table = training_part(index, fold)
    table = table[table["label"] == dataset.positive].reset_index(drop=True)
    order = generator("synth nodules", seed).permutation(len(table))
    table = table.iloc[order].reset_index(drop=True)
    return RealNodules(index, window_of(dataset), shown_in, table)


def _drawn(folder: Path, shown_in: Window, fold: int | None, seed: int) -> Nodules:
    from chestfold.synth.gan.generator import load_generator

    drawn_by = load_generator(folder)
    if fold is not None and drawn_by.fold != fold:
        trained = f"{folder} was trained for fold {drawn_by.fold}, not for --fold {fold}"
        raise InputError(f"{trained}, whose validation nodules it has seen; take the generator of fold {fold}")
    index = open_index(drawn_by.data)
    native = decode_native(index.root, str(index.train["path"][0]), *index.dataset.levels).shape[0]
    shrink = native / drawn_by.draw(1, 0).shape[-1]  # it saw the patches at its own size
    return DrawnNodules(drawn_by, index.dataset, window_of(index.dataset), shown_in, seed, shrink)


@dataclass(frozen=True)
class Spot:
    """A place (row, column) in a host; `lung` is None in a patch."""

    grey: Grey
    lung: Mask | None
    place: tuple[int, int]


@dataclass
class Hosts:
    """The healthy images of a data set, in a seeded order; `use` gives one and a place in it."""

    index: Index
    window: Window
    label: str
    table: pd.DataFrame
    _refused: dict[int, Unfit] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """What they are images of."""
        return self.index.dataset

    def picture(self, row: int) -> Grey:
        """The image of a row of `table` in its own size, uint8 (H, W)."""
        return self.decoded(str(self.table["path"][row]))

    def decoded(self, place: str) -> Grey:
        """Any image of the data set in its own size."""
        return decode_native(self.index.root, place, *self.dataset.levels)

    def use(self, row: int, cutting: Cutting, *names: int | str) -> Spot:
        """The image of a row and a place in it; Unfit where there is none."""
        if row in self._refused:
            raise self._refused[row]
        grey = self.picture(row)
        if self.dataset.view == "patch":
            return Spot(grey, None, self._middle(grey, cutting))
        lung = self._lung(row, grey)
        return Spot(grey, lung, find_place(grey, lung, cutting.region, *names))

    def _lung(self, row: int, grey: Grey) -> Mask:
        """The lungs; an image without is not tried again."""
        lung = segment_lungs(grey)
        low, high = self.window
        if lung is None:
            self._refused[row] = Unfit("shows no lungs")
        elif not shows_lung(grey, lung, self.window):
            self._refused[row] = Unfit(f"is not in the window {low} to {high}: its lungs are too bright or too dark")
        else:
            return lung
        raise self._refused[row]

    def _middle(self, grey: Grey, cutting: Cutting) -> tuple[int, int]:
        """The middle of a patch, if there is lung all around the region."""
        place = grey.shape[0] // 2, grey.shape[1] // 2
        if any(part + 2 > side for part, side in zip(cutting.region.shape, grey.shape, strict=True)):
            raise Unfit("is smaller than the nodule")
        region = np.zeros(grey.shape, bool)
        high, wide = cutting.region.shape
        top, left = place[0] - high // 2, place[1] - wide // 2
        region[top : top + high, left : left + wide] = cutting.region
        if not in_lung(to_hu(grey, self.window), region):
            raise Unfit("has a wall or a vessel where the seam would be")
        return place


def open_hosts(data: str, label: str | None, window: Window | None, fold: int | None, seed: int) -> Hosts:
    """The images of `data` with the class `label`; without one, the class that is declared first.

    Raises:
        InputError: unknown data or class, the positive class, no axial slices or patches, no window.
    """
    index = open_index(data)
    dataset = index.dataset
    label = label or dataset.classes[0]
    if label not in dataset.classes or label == dataset.positive:
        others = ", ".join(c for c in dataset.classes if c != dataset.positive)
        raise InputError(f"--host-class {label}: hosts are healthy images; {data} has the classes {others}")
    if dataset.view not in ("axial", "patch"):
        raise InputError(f"{data} is declared as view {dataset.view!r}: nodules are put into axial slices and patches")
    table = training_part(index, fold)
    table = table[table["label"] == label].reset_index(drop=True)
    order = generator("synth hosts", seed).permutation(len(table))
    return Hosts(index, window_of(dataset, window), label, table.iloc[order].reset_index(drop=True))
