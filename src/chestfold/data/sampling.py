"""Which training images an epoch sees, and in which order."""

import numpy as np

from chestfold.core.errors import InputError
from chestfold.core.rng import key


def epoch_order(labels: np.ndarray, sampling: str, rng: np.random.Generator) -> np.ndarray:
    """Positions in `labels` (int64, N) in a random order.

    `natural`: each once. `over`: rare classes are repeated up to the size of the largest. `under`: a random
    part of each class, as many as the smallest has.
    """
    if sampling == "natural":
        return rng.permutation(len(labels))
    members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    sizes = [len(m) for m in members]
    target = max(sizes) if sampling == "over" else min(sizes)
    return rng.permutation(np.concatenate([_exactly(m, target, rng) for m in members]))


def _exactly(members: np.ndarray, target: int, rng: np.random.Generator) -> np.ndarray:
    """`target` of `members`, each as often as any other, give or take one."""
    times, rest = divmod(target, len(members))
    return np.concatenate([np.tile(members, times), rng.choice(members, rest, replace=False)])


def sample_per_class(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions in `labels` (int64, N) of `count` random images of each class, ascending.

    Raises:
        InputError: a class has fewer.
    """
    members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    fewest = min(len(m) for m in members)
    if fewest < count:
        raise InputError(f"train_per_class = {count}, but a class has {fewest} training images; lower it")
    return np.sort(np.concatenate([rng.choice(m, count, replace=False) for m in members]))


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """The weight of each class, float32 (classes,), inverse to its share; their mean over the images is 1.

    `labels`: int64 (N,), or soft ones, float (N, classes).
    """
    counts = np.bincount(labels, minlength=classes) if labels.ndim == 1 else labels.sum(axis=0)
    return (len(labels) / (classes * np.maximum(counts, 1))).astype(np.float32)


def random_share(ids: list[str], share: float, seed: int, fold: int) -> list[str]:
    """The `share` (0 to 1) of `ids` that is kept, in their order: at least one, and a pure function of its arguments.

    A smaller share is a part of a larger one, and a generator and a classifier that ask with the same seed and fold
    are given the same images.
    """
    count = max(1, round(share * len(ids)))
    kept = set(sorted(ids, key=lambda i: key(seed, fold, "share", i))[:count])
    return [i for i in ids if i in kept]
