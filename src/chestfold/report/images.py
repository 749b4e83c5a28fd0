"""The images that the page shows: the hardest first, as small grey JPEGs, each once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, zip_longest

import cv2
import numpy as np

from chestfold.core.console import progress
from chestfold.core.errors import InputError
from chestfold.core.files import sha256
from chestfold.core.task import Labels, Task
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.decode import decode_fitted
from chestfold.report.records import Jpeg

LISTED = 48
"""Images of a fold file that are listed for their predictions."""
PIXELS = 176
"""Of a picture's longer side, at most; smaller images keep their size."""
QUALITY = 60


class Errors:
    """How wrong the results of a fold file are about each of its N images."""

    def __init__(self, count: int) -> None:
        self._total = np.zeros(count)
        self._results = np.zeros(count, int)
        self._missed = np.zeros(count, int)

    def add(self, task: Task, labels: Labels, probs: np.ndarray, rows: np.ndarray) -> None:
        """A result's predictions (n, K) at 0.5, beside the labels of its `rows` (n,)."""
        truth = task.truth(labels)
        wrong = ((task.decide(probs) != truth) & ~np.isnan(truth)).any(axis=1)
        known = ~np.isnan(truth).all(axis=1)
        self._total[rows[known]] += 1 - task.of_truth(probs, labels)[known]
        self._results[rows[known]] += 1
        self._missed[rows[wrong]] += 1

    def hardest(self) -> list[int]:
        """Rows, `LISTED` at most, in turn: the largest mean error, what all results miss, what only one does."""
        results = np.maximum(self._results, 1)
        order = np.argsort(-self._total / results, kind="stable")
        order = order[self._results[order] > 0]
        by_all = order[self._missed[order] == self._results[order]]
        by_one = order[(self._missed[order] == 1) & (self._results[order] > 1)]
        return in_turn([order[:LISTED].tolist(), by_all[:LISTED].tolist(), by_one[:LISTED].tolist()])[:LISTED]


def in_turn(lists: Sequence[Sequence]) -> list:
    """The first of each list, then the second of each, and so on; what is in several of them once."""
    mixed = chain.from_iterable(zip_longest(*lists))
    return [item for item in dict.fromkeys(mixed) if item is not None]


@dataclass(frozen=True)
class Wanted:
    """Images of a data set. `index`: what places them, None where there is none."""

    index: Index | None
    ids: list[str]


class Pictures:
    """The pictures of a page. `jpegs`: key -> picture; images with the same picture share it."""

    def __init__(self) -> None:
        self.jpegs: dict[str, Jpeg] = {}
        self._keys: dict[tuple[str, str], str] = {}

    def key(self, data: str, image: str) -> str | None:
        """The key of an image's picture; None where it has none."""
        return self._keys.get((data, image))

    def read(self, wanted: Sequence[Wanted], limit: int) -> None:
        """Read the pictures of each of `wanted` in turn, until they have `limit` bytes."""
        places = in_turn([_places(one) for one in wanted])
        with ThreadPoolExecutor() as pool:
            jpegs = pool.map(_picture, places)
            for place, jpeg in zip(places, progress(jpegs, "pictures", len(places)), strict=True):
                if jpeg is not None:
                    limit -= self._add(place, jpeg, limit)

    def _add(self, place: "Place", jpeg: Jpeg, limit: int) -> int:
        """Bytes that it takes, none where the same picture is there or there is no room."""
        key = sha256(jpeg)[:8]
        new = key not in self.jpegs
        if new and len(jpeg) > limit:
            return 0
        self.jpegs[key] = jpeg
        self._keys[place.index.dataset.name, place.image] = key
        return len(jpeg) if new else 0


@dataclass(frozen=True, eq=False)
class Place:
    """Where an image of an index is."""

    index: Index
    image: str
    path: str


def matching_index(data: str, index_sha256: str) -> Index | None:
    """The index of a data set, where input/ holds the one that predictions are of."""
    try:
        index = open_index(data)
    except InputError:  # the page is of results; it lists images without their pictures
        return None
    return index if index.sha256() == index_sha256 else None


def _places(wanted: Wanted) -> list[Place]:
    """Where the images are."""
    if wanted.index is None:
        return []
    paths = dict(zip(wanted.index.train["id"], wanted.index.train["path"], strict=True))
    return [Place(wanted.index, image, paths[image]) for image in wanted.ids]


def _picture(place: Place) -> Jpeg | None:
    """Grey, in its own shape; None where the image is damaged."""
    try:
        pixels = decode_fitted(place.index.root, place.path, PIXELS, *place.index.dataset.levels)
    except InputError:  # one damaged image: its card says so
        return None
    return Jpeg(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
