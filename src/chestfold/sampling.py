"""Which training images an epoch sees, and in which order."""

import numpy as np


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
    whole, rest = divmod(target, len(members))
    return np.concatenate([np.tile(members, whole), rng.choice(members, rest, replace=False)])
