"""The healthy images that nodules are put into, and a place in them: in the lung, clear of vessels."""

from dataclasses import dataclass, field
from statistics import NormalDist

import cv2
import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Dataset, Index
from chestfold.data.decode import decode_native
from chestfold.data.transforms.lungs import segment_lungs
from chestfold.synth.blend.donors import shuffled, training_part, window_of
from chestfold.synth.blend.paste import Grey, NodulePatch, Window, place_at, to_hu
from chestfold.synth.blend.poisson import Mask
from chestfold.synth.blend.segment import Unfit, is_in_lung

VESSEL_SHARE = 0.05
"""Share of a region's pixels that may be vessel."""
BRIGHT = 20
"""Grey values of 255 that a vessel is above the lung at least, however even the lung."""
LUNG_HU = (-980, -600)
"""Range of the median of a lung, from emphysema to a bad breath-hold."""
Z_5 = NormalDist().inv_cdf(0.05)
Z_25 = NormalDist().inv_cdf(0.25)


@dataclass(frozen=True)
class Site:
    """A place (row, column) in a host; `lung` is None in a patch."""

    grey: Grey
    lung: Mask | None
    place: tuple[int, int]


@dataclass
class Hosts:
    """The healthy images of a data set, in a seeded order; `find_site` gives one and a place in it."""

    index: Index
    window: Window
    label: str
    table: pd.DataFrame
    _refused: dict[int, Unfit] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The data set of the images."""
        return self.index.dataset

    def decode(self, path: str) -> Grey:
        """An image of the data set in its own size, uint8 (H, W)."""
        return decode_native(self.index.root, path, *self.dataset.levels)

    def find_site(self, row: int, patch: NodulePatch, *names: int | str) -> Site:
        """The image of a row of `table` and a place in it, drawn by `names`; `Unfit` where there is none."""
        if row in self._refused:
            raise self._refused[row]
        grey = self.decode(str(self.table["path"][row]))
        if self.dataset.view == "patch":
            return Site(grey, None, self._middle(grey, patch))
        lung = self._segment_lung(row, grey)
        return Site(grey, lung, find_place(grey, lung, patch.region, *names))

    def _segment_lung(self, row: int, grey: Grey) -> Mask:
        """The lungs; an image without is not tried again."""
        lung = segment_lungs(grey)
        if lung is not None and shows_lung(grey, lung, self.window):
            return lung
        reason = "shows no lungs"
        if lung is not None:
            low, high = self.window
            reason = f"is not in the window {low} to {high}: its lungs are too bright or too dark"
        self._refused[row] = Unfit(reason)
        raise self._refused[row]

    def _middle(self, grey: Grey, patch: NodulePatch) -> tuple[int, int]:
        """The middle of a patch, if there is lung all around the region."""
        height, width = patch.region.shape
        if height + 2 > grey.shape[0] or width + 2 > grey.shape[1]:
            raise Unfit("is smaller than the nodule")
        middle = (grey.shape[0] // 2, grey.shape[1] // 2)
        if not is_in_lung(to_hu(grey, self.window), place_at(patch.region, grey.shape, middle)):
            raise Unfit("has a wall or a vessel where the seam would be")
        return middle


def open_hosts(data: str, label: str, window: Window | None, fold: int | None, seed: int) -> Hosts:
    """The images of `data` with the class `label`; "": the class that is declared first.

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
    table = shuffled(training_part(index, fold), label, "synth hosts", seed)
    return Hosts(index, window_of(dataset, window), label, table)


def find_place(grey: Grey, lung: Mask, region: Mask, *names: int | str) -> tuple[int, int]:
    """Row and column for the middle of `region`, drawn evenly from all where it fits: a pure function of `names`.

    All of the region, bool with odd sides, will be in the lung, bool (H, W). `Unfit` where there is no such place.
    """
    kernel = region.astype(np.uint8)
    fits = cv2.erode(lung.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    if not fits.any():
        raise Unfit("has no room in its lungs for the nodule")
    weights = kernel.astype(np.float32) / kernel.sum()
    vessels = find_vessels(grey, lung).astype(np.float32)
    share = cv2.filter2D(vessels, -1, weights, borderType=cv2.BORDER_CONSTANT)
    places = np.argwhere((fits > 0) & (share <= VESSEL_SHARE))
    if not len(places):
        raise Unfit("has no room clear of vessels")
    row, column = generator("place", *names).choice(places)
    return int(row), int(column)


def find_vessels(grey: Grey, lung: Mask) -> Mask:
    """What is brighter than the lung's own tissue, bool (H, W): vessels, and whatever else should not be covered.

    The tissue's mean and spread are read off its dark side, 5th to 25th percentile, where no vessel is.
    """
    smoothed = cv2.GaussianBlur(grey, (0, 0), 0.7).astype(np.float32)
    percentile_5, percentile_25 = np.percentile(smoothed[lung], [5, 25])
    spread = (percentile_25 - percentile_5) / (Z_25 - Z_5)
    mean = percentile_25 - Z_25 * spread
    return lung & (smoothed > mean + max(4 * spread, BRIGHT))


def shows_lung(grey: Grey, lung: Mask, window: Window) -> bool:
    """Whether the lung is as dark as it must be if `window` (HU of black and of white) is the image's."""
    low, high = window
    median = low + float(np.median(grey[lung])) / 255 * (high - low)
    tolerance = 0.03 * (high - low)
    darkest, brightest = np.clip(LUNG_HU, low, high)
    return bool(darkest - tolerance <= median <= brightest + tolerance)
