"""The worst validation errors of a result, and small JPEGs of their images, each once on the page."""

import base64
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.task import Task
from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.data.decode import decode
from chestfold.evaluate import predictions

SHOWN = 12
PIXELS = 160
QUALITY = 70


@dataclass(frozen=True)
class Mistake:
    """An image with a wrong prediction: `probability` of the predicted class, `fold` of the model that predicted."""

    id: str
    label: str
    predicted: str
    probability: float
    fold: int


def worst_errors(table: pd.DataFrame, task: Task) -> list[Mistake]:
    """The wrong predictions at threshold 0.5 that give the truth the least probability, at most `SHOWN`."""
    labels = task.labels(table["label"].tolist())
    probs = predictions.probabilities(table)
    truth = task.truth(labels)
    decided = task.decide(probs)
    wrong = np.flatnonzero(((decided != truth) & ~np.isnan(truth)).any(axis=1))
    order = wrong[np.argsort(task.of_truth(probs, labels)[wrong], kind="stable")][:SHOWN]
    found = []
    for n in order.tolist():
        image, fold, label = table.loc[n, ["id", "fold", "label"]]
        probability = float(probs[n][decided[n]].max(initial=0.0))
        found.append(Mistake(image, label, task.name_of(probs[n]), probability, fold))
    return found


@dataclass
class Thumbnails:
    """`uris`: key -> data URI. An image that several results get wrong is in it once."""

    uris: dict[str, str] = field(default_factory=dict)
    _indexes: dict[str, Index | None] = field(default_factory=dict)
    _keys: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def has(self, data: str, index_sha256: str) -> bool:
        """Whether input/ holds the data set that a result was trained on."""
        index = self._index(data)
        return index is not None and index.sha256() == index_sha256

    def key(self, data: str, image_id: str) -> str | None:
        """The key of an image; None where it cannot be read."""
        if (data, image_id) not in self._keys:
            self._keys[data, image_id] = self._add(data, image_id)
        return self._keys[data, image_id]

    def _index(self, data: str) -> Index | None:
        if data not in self._indexes:
            try:
                self._indexes[data] = open_index(data)
            except InputError:  # the page is of results; it says where images are missing
                self._indexes[data] = None
        return self._indexes[data]

    def _add(self, data: str, image_id: str) -> str | None:
        index = self._index(data)
        if index is None:
            return None
        path = index.train.loc[index.train["id"] == image_id, "path"].iloc[0]
        try:
            pixels = decode(index.root, path, PIXELS, *index.dataset.levels)
        except InputError:  # one damaged image: its card says so
            return None
        key = f"i{len(self.uris)}"
        self.uris[key] = jpeg_uri(pixels, QUALITY)
        return key


def jpeg_uri(pixels: np.ndarray, quality: int) -> str:
    """Pixels, uint8 (H, W) or in cv2's order (H, W, 3), as a JPEG inside an address."""
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
