"""Which images an epoch sees, and what an error on each class weighs."""

import numpy as np
import pytest

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.sampling import balanced_weights, epoch_order, random_share, sample_per_class

LABELS = np.array([0] * 10 + [1] * 4 + [2] * 3)


def order(sampling: str, *draw: int | str) -> np.ndarray:
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


# A few of each class


def few(count: int, *draw: int | str) -> np.ndarray:
    return sample_per_class(LABELS, count, generator(*draw))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_are_so_many_of_each_class(count):
    kept = few(count, 0)
    assert np.bincount(LABELS[kept]).tolist() == [count] * 3
    assert len(set(kept)) == len(kept) and kept.tolist() == sorted(kept)


def test_the_few_are_a_function_of_their_draw():
    assert few(2, 0, 1).tolist() == few(2, 0, 1).tolist()
    assert len({tuple(few(2, 0, n)) for n in range(20)}) > 10


def test_any_image_may_be_among_the_few():
    assert {int(n) for draw in range(60) for n in few(1, draw)} == set(range(17))


def test_more_than_a_class_has_is_refused():
    with pytest.raises(InputError, match="train_per_class = 4, but a class has 3 training images; lower it"):
        few(4, 0)


# Class weights


def test_the_mean_of_the_weights_over_the_images_is_1():
    weights = balanced_weights(LABELS, 3)
    assert weights.dtype == np.float32 and weights[LABELS].mean() == pytest.approx(1)


def test_every_class_weighs_the_same_in_all():
    assert balanced_weights(LABELS, 3) * np.bincount(LABELS) == pytest.approx([17 / 3] * 3)


def test_equal_classes_weigh_1():
    assert balanced_weights(np.arange(10) % 2, 2).tolist() == [1, 1]


def test_weights_of_soft_labels_are_those_of_their_sums():
    soft = np.array([[0.5, 0.5], [1.0, 0.0], [0.75, 0.25], [0.75, 0.25]])
    assert balanced_weights(soft, 2) == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])


def test_a_class_that_is_not_there_has_the_weight_of_one_image():
    weights = balanced_weights(np.array([0, 0, 0, 1, 1, 1]), 3)
    assert weights == pytest.approx([2 / 3, 2 / 3, 2]) and weights.dtype == np.float32


# A share


IDS = [f"i{n}" for n in range(11)]


@pytest.mark.parametrize(
    ("share", "count"), [(0.0, 1), (0.01, 1), (0.13, 1), (0.14, 2), (0.5, 6), (0.95, 10), (0.96, 11), (1.0, 11)]
)
def test_a_share_is_rounded_and_one_image_at_least(share, count):
    kept = random_share(IDS, share, 0, 0)
    assert len(kept) == count and kept == [i for i in IDS if i in kept]


def test_a_smaller_share_is_a_part_of_a_larger_one_and_another_fold_has_another():
    few, many = random_share(IDS, 0.3, 1, 2), random_share(IDS, 0.6, 1, 2)
    assert set(few) < set(many) and random_share(IDS[::-1], 0.3, 1, 2) == few[::-1]
    assert len({tuple(random_share(IDS, 0.3, seed, fold)) for seed in range(4) for fold in range(4)}) > 10
