"""Finding an image in a data set by its content: the same file, or nearly the same pixels."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chestfold.data.cache import Cache, in_threads, made_cache
from chestfold.data.channels import Form, grey_of
from chestfold.data.dataset import Index
from chestfold.data.decode import resize
from chestfold.data.duplicates import near_matches, perceptual_hashes
from chestfold.data.folds.checks import THUMBNAIL
from chestfold.data.twins import digests


@dataclass(frozen=True)
class Found:
    """The images of a data set that are one that was asked about. `same_file`: byte for byte, else nearly."""

    ids: list[str]
    same_file: bool


class ImageLookup:
    """The images of an index by their content.

    The hashes of all files are made once, and kept beside the cache of decoded images. A copy that was saved anew is
    found only where the decoded images of `form` are in the cache, as they are where a run was trained: decoding all
    images now would take longer than predicting one.
    """

    def __init__(self, index: Index, form: Form) -> None:
        self._index, self._form = index, form
        self._ids = index.table["id"].tolist()
        self._ids_of: dict[str, list[str]] = defaultdict(list)
        for image_id, digest in digests(index).items():
            self._ids_of[digest].append(image_id)

    def find(self, digest: str, pixels: np.ndarray) -> Found | None:
        """Where an image is in the data set; None where it is not.

        Args:
            digest: SHA-256 of its bytes; "" where it has none.
            pixels: the image as decoded, of the lookup's form.
        """
        if digest in self._ids_of:
            return Found(self._ids_of[digest], same_file=True)
        if self._cache is None:
            return None
        pairs = near_matches(self._thumbnails_of(pixels[None]), self._thumbnails, self._hashes)
        ids = [self._ids[row] for _, row in pairs]
        return Found(ids, same_file=False) if ids else None

    @cached_property
    def _cache(self) -> Cache | None:
        return made_cache(self._index, self._form)

    @cached_property
    def _thumbnails(self) -> np.ndarray:
        """Of all images, uint8 (N, 64, 64)."""
        assert self._cache is not None
        self._cache.prove()
        images = self._cache.images
        made = in_threads(lambda n: self._thumbnails_of(images[n : n + 1])[0], len(images), "comparing with the data")
        return np.stack(made)

    @cached_property
    def _hashes(self) -> np.ndarray:
        return perceptual_hashes(self._thumbnails)

    def _thumbnails_of(self, pixels: np.ndarray) -> np.ndarray:
        grey = grey_of(self._index.dataset, pixels)
        return np.stack([resize(image, THUMBNAIL) for image in grey])
