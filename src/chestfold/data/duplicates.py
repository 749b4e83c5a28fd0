"""Duplicates: images that are the same byte for byte, or nearly the same pixel for pixel."""

from collections import defaultdict
from collections.abc import Iterable

import cv2
import numpy as np

MAX_DISTANCE = 24
"""Bits of 256 in which two perceptual hashes may differ to be compared pixel by pixel."""
MIN_CORRELATION = 0.98
"""Pearson correlation of the 64-pixel thumbnails above which two images count as one."""
_BLOCK = 512


def exact_groups(digests: list[str]) -> list[list[int]]:
    """Positions that share a content hash, groups of two or more, in order of first appearance."""
    places: dict[str, list[int]] = defaultdict(list)
    for n, digest in enumerate(digests):
        places[digest].append(n)
    return [group for group in places.values() if len(group) > 1]


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """Difference hash of uint8 images (N, H, W): uint64 (N, 4), a bit per horizontal step of a 17 x 16 thumbnail.

    Source: N. Krawetz, "Kind of like that" (2013), at 256 instead of 64 bits.
    """
    bits = np.empty((len(images), 256), np.uint8)
    for n, image in enumerate(images):
        small = cv2.resize(np.asarray(image), (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits[n] = (small[:, 1:] > small[:, :-1]).ravel()
    return np.packbits(bits, axis=1).view(np.uint64)


def near_pairs(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of uint8 images (N, 64, 64) that look the same: close hashes and correlated pixels."""
    hashes = perceptual_hashes(images)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(images), _BLOCK):
        left, right = _close(hashes[start : start + _BLOCK], hashes[start:])
        close = right > left
        candidates = zip((left[close] + start).tolist(), (right[close] + start).tolist(), strict=True)
        pairs += [(i, j) for i, j in candidates if _correlation(images[i], images[j]) >= MIN_CORRELATION]
    return pairs


def near_matches(
    images: np.ndarray, others: np.ndarray, other_hashes: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Pairs (i, j) of an image of the one stack and one of the other, uint8 (N, 64, 64), that look the same.

    `other_hashes`: the perceptual hashes of the others, where they were made before.
    """
    hashes = perceptual_hashes(images)
    if other_hashes is None:
        other_hashes = perceptual_hashes(others)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(images), _BLOCK):
        left, right = _close(hashes[start : start + _BLOCK], other_hashes)
        candidates = zip((left + start).tolist(), right.tolist(), strict=True)
        pairs += [(i, j) for i, j in candidates if _correlation(images[i], others[j]) >= MIN_CORRELATION]
    return pairs


def _close(hashes: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in `hashes` and in `others` of those pairs that differ in few bits."""
    distance = np.bitwise_count(hashes[:, None] ^ others[None]).sum(axis=2, dtype=np.int32)
    left, right = np.nonzero(distance <= MAX_DISTANCE)
    return left, right


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.astype(np.float32) - a.mean(), b.astype(np.float32) - b.mean()
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale else float(np.array_equal(a, b))


def joined(groups: list[str], links: Iterable[Iterable[int]]) -> list[str]:
    """`groups` with linked positions made one group, named after its first member (union-find).

    `links` holds positions that belong together: pairs or larger sets.
    """
    parent = {name: name for name in groups}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for link in links:
        names = sorted({root(groups[n]) for n in link})
        for other in names[1:]:
            parent[other] = names[0]
    return [root(name) for name in groups]
