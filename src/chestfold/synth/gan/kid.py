"""How like real patches generated ones are, as numbers.

KID: Binkowski et al., ICLR 2018, arXiv:1801.01401, section 4: the unbiased squared MMD with a cubic kernel.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from chestfold.core.rng import generator

SUBSETS, SUBSET = 200, 100
"""The mean over so many pairs of random subsets of at most so many rows, as in the paper, is the KID."""
SEEN_AT = 32
"""Pixels a side at which patches are compared for copying: noise apart, a copy is still a copy."""


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of features (N, D) and (M, D): its mean is 0 for draws of one distribution.

    Single values may be below 0, therefore.
    """
    inside = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (_kernel(a, a), _kernel(b, b))]
    return float(sum(inside) - 2 * _kernel(a, b).mean())


@dataclass(frozen=True)
class Kid:
    """Mean and standard deviation of the squared MMD over random subsets."""

    mean: float
    deviation: float


def kid(a: np.ndarray, b: np.ndarray, subsets: int = SUBSETS) -> Kid:
    """Kernel Inception Distance between features (N, D) and (M, D), float; a function of the features alone."""
    a, b, rng = a.astype(np.float64), b.astype(np.float64), generator("kid", len(a), len(b))
    size = min(SUBSET, len(a), len(b))
    values = [
        squared_mmd(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return Kid(float(np.mean(values)), float(np.std(values, ddof=1)))


def way_from_floor(ours: float, theirs: float, floor: float) -> float:
    """Where `ours` lies between the floor (0) and `theirs` (1)."""
    return (ours - floor) / (theirs - floor)


def nearest(patches: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each of `patches`, uint8 (N, S, S), to the nearest training patch, and which that is.

    Each training patch counts in its eight turns and mirrorings.

    Returns:
        Root mean square difference in grey levels, float (N,), and rows of `training`, int (N,).
    """
    known = [_small(np.rot90(t, n, (1, 2))) for t in (training, training.transpose(0, 2, 1)) for n in range(4)]
    seen = _small(patches)
    squares = (seen**2).sum(axis=1)[:, None]
    away = np.stack([squares - 2 * seen @ k.T + (k**2).sum(axis=1) for k in known]).min(axis=0)
    return np.sqrt(np.maximum(away.min(axis=1), 0) / seen.shape[1]), away.argmin(axis=1)


def _small(patches: np.ndarray) -> np.ndarray:
    size = (SEEN_AT, SEEN_AT)
    made = [cv2.resize(np.ascontiguousarray(p), size, interpolation=cv2.INTER_AREA).ravel() for p in patches]
    return np.stack(made).astype(np.float64)


def stride_power(patches: np.ndarray, period: int) -> float:
    """Mean spectral power of patches (N, S, S) where a pattern of `period` pixels lies, in grey levels squared.

    A transposed convolution of stride 2 leaves a pattern of period 2 (Odena et al. 2016); one before it, of period 4.
    The frequencies are those of the period itself, along both axes and the diagonals; a Hann window keeps the patch's
    edges out of them.
    """
    side = patches.shape[1]
    if side % period:
        raise ValueError(f"a period of {period} does not divide {side} pixels")
    window = np.outer(*[np.hanning(side + 1)[:-1]] * 2)
    centred = patches - patches.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / (window**2).sum()
    at = side // period
    places = {(0, at), (at, 0), (at, at), (at, side - at)}
    return float(np.mean([power[:, row, column].mean() for row, column in places]))
