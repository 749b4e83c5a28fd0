"""Images of two lists that are the same: what joins the training part of a fold must have no twin that is held out."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chestfold.data.cache import content_hashes, open_cache
from chestfold.data.dataset import Index
from chestfold.data.duplicates import near_matches
from chestfold.data.folds.checks import THUMBNAIL


@dataclass(frozen=True)
class Twin:
    """An image that would join, and one of the experiment's own that is the same."""

    added: str
    own: str
    exact: bool

    def __str__(self) -> str:
        """`a is the same file as b`."""
        return f"{self.added} is {'the same file' if self.exact else 'nearly the same image'} as {self.own}"


def find_twins(added: Index, added_ids: Sequence[str], own: Index, own_ids: Sequence[str]) -> list[Twin]:
    """Every pair of an image of the one list and one of the other that is the same, those by their bytes first.

    Args:
        added: data set of what would join.
        added_ids: which of its images.
        own: data set of the experiment.
        own_ids: which of its images.
    """
    exact = _same_files(added, added_ids, own, own_ids)
    near = []
    for n, m in near_matches(_thumbnails(added, added_ids), _thumbnails(own, own_ids)):
        pair = added_ids[n], own_ids[m]
        if Twin(*pair, exact=True) not in exact:
            near.append(Twin(*pair, exact=False))
    return [*exact, *near]


def _same_files(added: Index, added_ids: Sequence[str], own: Index, own_ids: Sequence[str]) -> list[Twin]:
    """Those by their bytes, which different declarations may show with different greys."""
    digest_of, own_digest_of = digests(added), digests(own)
    own_with: dict[str, list[str]] = defaultdict(list)
    for image_id in own_ids:
        own_with[own_digest_of[image_id]].append(image_id)
    twins = []
    for image_id in added_ids:
        twins += [Twin(image_id, other, exact=True) for other in own_with.get(digest_of[image_id], [])]
    return twins


def digests(index: Index) -> dict[str, str]:
    """Id -> SHA-256 of the image's bytes."""
    return dict(zip(index.table["id"], content_hashes(index), strict=True))


def _thumbnails(index: Index, ids: Sequence[str]) -> np.ndarray:
    cache = open_cache(index, THUMBNAIL)
    return np.asarray(cache.images[cache.rows(ids)])
