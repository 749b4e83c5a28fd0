"""How similar generated patches are to real ones, as numbers: KID, copies, and the checkerboard of upsampling.

KID: Binkowski et al., ICLR 2018, arXiv:1801.01401, section 4: the unbiased squared MMD with a cubic kernel.
"""

import cv2
import numpy as np
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import polynomial_kernel

from chestfold.core.rng import generator
from chestfold.synth.gan.diffaug import d4_views

SUBSETS = 200
SUBSET_SIZE = 100
"""The KID is the mean over so many pairs of random subsets of at most so many rows, as in the paper."""
THUMBNAIL = 32
"""Pixels a side at which patches are compared for copying: without its noise, a copy is still a copy."""


def kid(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Kernel Inception Distance between features (N, D) and (M, D): its mean and standard deviation over subsets."""
    rng = generator("kid", len(a), len(b))
    size = min(SUBSET_SIZE, len(a), len(b))
    values = []
    for _ in range(SUBSETS):
        rows = rng.choice(a, size, replace=False)
        others = rng.choice(b, size, replace=False)
        values.append(squared_mmd(rows.astype(np.float64), others.astype(np.float64)))
    return float(np.mean(values)), float(np.std(values, ddof=1))


def squared_mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of features (N, D) and (M, D): its mean is 0 for draws of one distribution.

    Single values may be below 0, therefore.
    """
    return float(_mean_of_pairs(a) + _mean_of_pairs(b) - 2 * polynomial_kernel(a, b).mean())


def _mean_of_pairs(features: np.ndarray) -> float:
    """The kernel's mean over all pairs of different rows."""
    values = polynomial_kernel(features)
    count = len(features)
    return (values.sum() - np.trace(values)) / (count * (count - 1))


def nearest(patches: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each of `patches`, uint8 (N, S, S), to the nearest training patch, and which that is.

    Each training patch counts in its eight rotations and mirrorings.

    Returns:
        Root mean square difference in grey levels, float (N,), and rows of `training`, int (N,).
    """
    views = d4_views(training)
    ours = _thumbnails(patches)
    theirs = _thumbnails(views.reshape(-1, *training.shape[1:]))
    which = pairwise_distances_argmin(ours, theirs)
    distances = np.sqrt(((ours - theirs[which]) ** 2).mean(axis=1))
    return distances, which % len(training)


def _thumbnails(patches: np.ndarray) -> np.ndarray:
    size = (THUMBNAIL, THUMBNAIL)
    small = [cv2.resize(np.ascontiguousarray(patch), size, interpolation=cv2.INTER_AREA) for patch in patches]
    return np.stack(small).reshape(len(patches), -1).astype(np.float64)


def stride_power(patches: np.ndarray, period: int) -> float:
    """Mean spectral power of patches (N, S, S) at a period of `period` pixels, a divisor of S, in grey levels squared.

    A transposed convolution of stride 2 leaves a pattern of period 2 (Odena et al. 2016); one before it, of period 4.
    The frequencies are those of the period itself, along both axes and the diagonals; a Hann window keeps the patch's
    edges out of them.
    """
    side = patches.shape[1]
    hann = np.hanning(side + 1)[:-1]
    window = np.outer(hann, hann)
    centred = patches - patches.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / (window**2).sum()
    at = side // period
    frequencies = {(0, at), (at, 0), (at, at), (at, side - at)}
    return float(np.mean([power[:, row, column].mean() for row, column in frequencies]))
