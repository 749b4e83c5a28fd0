"""Where nodules come from: real ones of the training part of a fold, or a generator that was trained on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chestfold.core import rng
from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, Index
from chestfold.data.decode import decode_native
from chestfold.data.dicom import CT_WINDOWS
from chestfold.synth.blend.paste import Grey, NodulePatch, Window, crop_nodule, to_hu

if TYPE_CHECKING:  # it needs torch
    from chestfold.synth.gan.generator import TrainedGenerator

REAL = "luna16_patches"
"""The data set that `--nodules real` means."""
BATCH = 64
"""Patches that a generator draws at a time."""


@dataclass(frozen=True)
class Nodule:
    """A nodule to be blended. `group`: the patient it comes from, "" for a generated one."""

    patch: NodulePatch
    parents: list[str]
    group: str = ""


@dataclass
class Donors:
    """A source of nodules of `dataset`, in `window`; they are cropped `scale` times as large for `host_window`.

    `generator` is the hash of the generator, "" for real nodules; `groups` are the patients of real ones. After `cycle`
    nodules in a row that could not be used, no other will be.
    """

    dataset: Dataset
    window: Window
    host_window: Window
    generator: str
    groups: list[str]
    cycle: int
    scale: float

    def take(self, n: int) -> Nodule:
        """The nth nodule; `Unfit` where it cannot be told from its surroundings."""
        raise NotImplementedError

    def crop(self, grey: Grey) -> NodulePatch:
        """The nodule in the middle of a patch."""
        return crop_nodule(to_hu(grey, self.window), self.scale, self.host_window)


class RealNodules(Donors):
    """The positive class of a set of patches, each nodule once in a seeded order, then again."""

    def __init__(self, index: Index, host_window: Window, fold: int | None, seed: int) -> None:
        dataset = index.dataset
        table = shuffled(training_part(index, fold), dataset.positive, "synth nodules", seed)
        groups = sorted(set(table["group"]))
        super().__init__(dataset, window_of(dataset), host_window, "", groups, len(table), scale=1.0)
        self._root = index.root
        self._table = table

    def take(self, n: int) -> Nodule:
        """The nth nodule."""
        row = self._table.iloc[n % len(self._table)]
        grey = decode_native(self._root, row["path"], *self.dataset.levels)
        return Nodule(self.crop(grey), [row["id"]], row["group"])


class GeneratedNodules(Donors):
    """Patches of a trained generator."""

    def __init__(self, generator: "TrainedGenerator", host_window: Window, seed: int) -> None:
        index = open_index(generator.data)
        dataset = index.dataset
        original = decode_native(index.root, str(index.train["path"][0]), *dataset.levels).shape[0]
        scale = original / generator.draw(1, 0).shape[-1]  # it was trained on patches of its own size
        super().__init__(dataset, window_of(dataset), host_window, generator.sha256, [], cycle=200, scale=scale)
        self._generator = generator
        self._seed = seed
        self._batch = -1
        self._patches = np.empty(0)

    def take(self, n: int) -> Nodule:
        """The nth nodule."""
        batch = n // BATCH
        if batch != self._batch:
            self._patches = self._generator.draw(BATCH, rng.key("synth blend", self._seed, batch) % 2**31)
            self._batch = batch
        return Nodule(self.crop(self._patches[n % BATCH]), self._generator.parents)


def open_donors(source: str, host_window: Window, fold: int | None, seed: int) -> Donors:
    """`real`, the name of a set of patches, or the folder of a trained generator.

    Raises:
        InputError: it is none of these, or the generator is of another fold.
    """
    folder = Path(source)
    if source != "real" and folder.is_dir():
        return _open_generated(folder, host_window, fold, seed)
    if folder.name != source:
        raise InputError(
            f"--nodules {source}: there is no such folder; train a generator: chestfold synth train --help"
        )
    index = open_index(REAL if source == "real" else source)
    if index.dataset.view != "patch":
        raise InputError(f"--nodules {source}: {index.dataset.name} is no set of patches with a nodule in the middle")
    return RealNodules(index, host_window, fold, seed)


def _open_generated(folder: Path, host_window: Window, fold: int | None, seed: int) -> GeneratedNodules:
    from chestfold.synth.gan.generator import load_generator

    generator = load_generator(folder)
    if fold is not None and generator.fold != fold:
        trained = f"{folder} was trained for fold {generator.fold}, not for --fold {fold}"
        raise InputError(f"{trained}, whose validation nodules it has seen; take the generator of fold {fold}")
    return GeneratedNodules(generator, host_window, seed)


def training_part(index: Index, fold: int | None) -> pd.DataFrame:
    """The training images that may be used: all, or those of the other folds than `fold` of the set's own fold file."""
    if fold is None:
        return index.train
    kept = folds.load(index.dataset.name, index).other_ids(fold)
    return index.train[index.train["id"].isin(kept)]


def shuffled(table: pd.DataFrame, label: str, name: str, seed: int) -> pd.DataFrame:
    """The images of a class in an order that `name` and `seed` decide."""
    chosen = table[table["label"] == label]
    order = rng.generator(name, seed).permutation(len(chosen))
    return chosen.iloc[order].reset_index(drop=True)


def window_of(dataset: Dataset, wanted: Window | None = None) -> Window:
    """The HU window of a data set: the wanted one, else the declared one; `InputError` when there is none."""
    if wanted and wanted[0] >= wanted[1]:
        raise InputError(f"a window of {wanted[0]} to {wanted[1]} HU shows nothing: black is below white")
    window = wanted or dataset.hu_window
    if window is None and dataset.ct_window:
        level, width = CT_WINDOWS[dataset.ct_window]
        window = round(level - width / 2), round(level + width / 2)
    if window is None:
        raise InputError(
            f"{dataset.name} declares no hu_window, so nobody knows how grey a nodule is in it; declare it, or for "
            "hosts say which Hounsfield units are black and white: --host-window LOW HIGH"
        )
    return window
