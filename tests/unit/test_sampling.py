"""Which images an epoch sees."""

import numpy as np
import pytest

from chestfold.rng import generator
from chestfold.sampling import epoch_order

LABELS = np.array([0] * 10 + [1] * 4 + [2] * 3)


def order(sampling: str, *draw: object) -> np.ndarray:
    return epoch_order(LABELS, sampling, generator(*draw))


def test_natural_sees_every_image_once():
    assert sorted(order("natural", 0)) == list(range(17))


def test_over_repeats_the_rare_classes_evenly():
    seen = order("over", 0)
    assert np.bincount(LABELS[seen]).tolist() == [10, 10, 10]
    times = np.bincount(seen, minlength=17)
    assert set(times[:10]) == {1} and set(times[10:14]) == {2, 3} and set(times[14:]) == {3, 4}


def test_under_leaves_out_of_the_frequent_classes():
    seen = order("under", 0)
    assert np.bincount(LABELS[seen]).tolist() == [3, 3, 3]
    assert len(set(seen)) == len(seen)


def test_under_sees_everything_over_the_epochs():
    assert {int(n) for epoch in range(20) for n in order("under", "epoch", epoch)} == set(range(17))


@pytest.mark.parametrize("sampling", ["natural", "over", "under"])
def test_an_order_is_a_function_of_its_draw(sampling):
    assert order(sampling, 0, 1).tolist() == order(sampling, 0, 1).tolist()
    assert order(sampling, 0, 1).tolist() != order(sampling, 0, 2).tolist()


@pytest.mark.parametrize("sampling", ["over", "under"])
def test_classes_are_mixed_in_an_order(sampling):
    shuffled = LABELS[order(sampling, 0)]
    assert shuffled.tolist() != sorted(shuffled)
