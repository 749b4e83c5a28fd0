"""Which fold each group goes to: evenly over many labels at once, and so that no fold lacks one."""

import numpy as np

from chestfold.core.rng import key

PASSES = 2
"""How often each group may move to a better fold. A third pass changed nothing on 30,000 patients with 14 labels."""
SCALE = 2**50
"""Whole numbers instead of fractions: every machine rounds them alike, and so makes the same split."""
ENOUGH = 4
"""Groups a fold, of each kind, that the search for a covering is given."""
SEARCH = {"node_limit": 2000, "mip_rel_gap": 0.05}
"""Limits of that search; not of time, so that every machine finds the same."""


def seeded_order(counts: np.ndarray, names: list[str], seed: int) -> np.ndarray:
    """Positions of groups whose counts are (G, C): those that hold the largest shares first, as the hardest to place.

    Groups of about the same weight (a factor of 2) are in a random order, by `seed` and name.
    """
    weight = (_pull(counts) * counts).sum(axis=1)
    level = np.log2(np.maximum(weight, 1)).astype(int)
    draw = np.array([key("folds", seed, name) for name in names], np.uint64)
    return np.lexsort([draw, -level])


def balanced(counts: np.ndarray, count: int, order: np.ndarray, fixed: np.ndarray | None = None) -> np.ndarray:
    """The fold of each group, int64 (G,), such that every column of `counts` is shared out evenly over `count` folds.

    Greedy: each group goes where it adds least to the sum, over folds and columns, of the squared share that a fold
    has of a column; then each may move once more. The idea is that of iterative stratification (Sechidis, Tsoumakas
    and Vlahavas, ECML 2011) with whole groups instead of single examples.

    Args:
        counts: int64 (G, C), how many images of each kind a group has.
        count: number of folds.
        order: in which groups are placed.
        fixed: folds of groups that stay, int64 (G,), -1 for those that are free.
    """
    pull = _pull(counts)
    fold_of = np.full(len(counts), -1) if fixed is None else fixed.copy()
    filled = np.zeros((count, counts.shape[1]), np.int64)
    placed = fold_of >= 0
    np.add.at(filled, fold_of[placed], counts[placed])
    free = order[~placed[order]].tolist()
    for _ in range(PASSES):
        for group in free:
            if fold_of[group] >= 0:
                filled[fold_of[group]] -= counts[group]
            fold_of[group] = (filled @ pull[group]).argmin()
            filled[fold_of[group]] += counts[group]
    return fold_of


def _pull(counts: np.ndarray) -> np.ndarray:
    """Counts (G, C) over the square of their column's total, as whole numbers."""
    total = np.maximum(counts.sum(axis=0, dtype=np.int64), 1)
    return counts * (SCALE // total**2)


def covering(held: np.ndarray, sizes: np.ndarray, count: int, order: np.ndarray) -> np.ndarray | None:
    """Folds of a few groups, int64 (G,), -1 for all others, such that every fold has a group of each kind.

    A small integer program (HiGHS), whose largest fold is made as small as possible.

    Args:
        held: bool (G, R), which kinds of image a group has.
        sizes: images of each group, (G,).
        count: number of folds.
        order: in which groups are tried.

    Returns:
        None where there is no such assignment, or the search ended without one.
    """
    chosen = _some_of_each_kind(held, count, order)
    found = _solve(held[chosen], sizes[chosen], count)
    if found is None:
        return None
    fold_of = np.full(len(held), -1)
    fold_of[chosen] = found
    _free_the_others(fold_of, held, count, chosen)
    return fold_of


def _some_of_each_kind(held: np.ndarray, count: int, order: np.ndarray) -> np.ndarray:
    """Groups in their order, of each kind the first `ENOUGH` for every fold."""
    earlier = held[order].cumsum(axis=0)
    wanted = held[order] & (earlier <= ENOUGH * count)
    return order[wanted.any(axis=1)]


def _solve(held: np.ndarray, sizes: np.ndarray, count: int) -> np.ndarray | None:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import block_array, csr_array, eye_array, kron

    groups, kinds = held.shape
    folds = eye_array(count)
    # The unknowns: whether group g is in fold f (G times F), and the size of the largest fold.
    in_one_fold = kron(eye_array(groups), np.ones((1, count)))
    of_each_kind = kron(held.T.astype(float), folds)
    sizes_of_folds = kron(sizes[None, :].astype(float), folds)
    none = [csr_array((rows, 1)) for rows in (groups, kinds * count)]
    matrix = block_array([[in_one_fold, none[0]], [of_each_kind, none[1]], [sizes_of_folds, -np.ones((count, 1))]])
    low = np.concatenate([np.ones(groups), np.ones(kinds * count), np.full(count, -np.inf)])
    high = np.concatenate([np.ones(groups), np.full(kinds * count, np.inf), np.zeros(count)])
    unknowns = groups * count
    found = milp(
        c=np.append(np.zeros(unknowns), 1.0),
        integrality=np.append(np.ones(unknowns), 0),
        bounds=Bounds(0, np.append(np.ones(unknowns), np.inf)),
        constraints=LinearConstraint(matrix.tocsr(), low, high),
        options=SEARCH,
    )
    return None if found.x is None else found.x[:unknowns].reshape(groups, count).argmax(axis=1)


def _free_the_others(fold_of: np.ndarray, held: np.ndarray, count: int, chosen: np.ndarray) -> None:
    """Set the fold of groups without which every fold still has each kind to -1; they can balance the folds."""
    covered = np.zeros((count, held.shape[1]), int)
    np.add.at(covered, fold_of[chosen], held[chosen])
    for group in chosen:
        left = covered[fold_of[group]] - held[group]
        if left.all():
            covered[fold_of[group]] = left
            fold_of[group] = -1
