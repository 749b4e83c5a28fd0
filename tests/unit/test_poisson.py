import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.synth.blend.poisson import clone, solve


def reference(host, source, mask):
    """Pixel by pixel from equation 7, solved as one dense system."""
    number = {tuple(p): n for n, p in enumerate(np.argwhere(mask).tolist())}
    matrix, right = np.zeros((len(number), len(number))), np.zeros(len(number))
    for (row, column), n in number.items():
        for other in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if not (0 <= other[0] < mask.shape[0] and 0 <= other[1] < mask.shape[1]):
                continue
            matrix[n, n] += 1
            right[n] += source[row, column] - source[other]
            if other in number:
                matrix[n, number[other]] -= 1
            else:
                right[n] += host[other]
    return np.linalg.solve(matrix, right)


def case(seed):
    """A host, a source, and a random mask: scattered pixels, a box inside, or a blob that reaches the border."""
    rng = generator("poisson", seed)
    shape = tuple(rng.integers(3, 20, 2).tolist())
    host, source = rng.normal(0, 100, (2, *shape))
    mask = rng.random(shape) < rng.uniform(0.2, 0.9)
    if seed % 3 == 1:
        mask = np.zeros(shape, bool)
        mask[1:-1, 1 : shape[1] - 1] = True
    if seed % 3 == 2:
        mask = np.zeros(shape, bool)
        mask[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = True
    mask[-1, -1], mask[0, 0] = False, mask[0, 0] or not mask.any()
    return host, source, mask


@pytest.mark.parametrize("seed", range(30))
def test_the_solution_is_that_of_a_dense_solve(seed):
    host, source, mask = case(seed)
    assert np.abs(solve(host, source, mask) - reference(host, source, mask)).max() < 1e-6


def test_a_source_that_differs_by_a_constant_leaves_no_trace():
    host, _, mask = case(0)
    assert np.abs(clone(host, host + 300.0, mask) - host).max() < 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_dtype_and_range_are_kept(dtype):
    rng = generator("range", str(dtype))
    low, high = (-1000, 400) if np.dtype(dtype).kind in "if" else (0, np.iinfo(dtype).max)
    host = rng.uniform(low, high, (20, 30)).astype(dtype)
    source = rng.uniform(low, high, (20, 30)).astype(dtype)
    mask = rng.random((20, 30)) < 0.6
    made = clone(host, source, mask)
    assert made.dtype == dtype and np.array_equal(made[~mask], host[~mask])
    assert min(host.min(), source[mask].min()) <= made.min() and made.max() <= max(host.max(), source[mask].max())


def test_a_dark_source_does_not_wrap_around_in_a_dark_host():
    host, source = np.full((9, 9), 3, np.uint8), np.full((9, 9), 200.0)
    source[4, 4] = 0
    made = clone(host, source, np.pad(np.ones((7, 7), bool), 1))
    assert made[4, 4] == 0 and made.max() == 3


GREY, MASK = np.zeros((6, 6), np.uint8), np.eye(6, dtype=bool)


@pytest.mark.parametrize(
    ("host", "source", "mask", "said"),
    [
        (GREY, GREY[1:], MASK, "three images of one size"),
        (GREY, GREY, MASK[:, 1:], "three images of one size"),
        (np.zeros((6, 6, 3), np.uint8), GREY, MASK, "three images of one size"),
        (GREY[:1], GREY[:1], MASK[:1], "at least 2 x 2"),
        (GREY, GREY, MASK & False, "the mask is empty"),
        (GREY, GREY, MASK | True, "covers the whole image"),
        (GREY, GREY, MASK.astype(np.uint8), "must be bool"),
        (GREY, np.where(MASK, np.nan, 0.0), MASK, "the source holds NaN"),
        (MASK, GREY, MASK, "the host holds bool"),
        (GREY.astype(complex), GREY, MASK, "the host holds complex128"),
    ],
)
def test_bad_input_is_one_sentence(host, source, mask, said):
    with pytest.raises(InputError, match=said):
        clone(host, source, mask)
