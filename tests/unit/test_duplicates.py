"""Images that are the same, byte for byte or nearly: where the line is, and what is joined by it."""

import numpy as np
import pytest

from chestfold.core.rng import generator
from chestfold.data import duplicates
from chestfold.data.duplicates import exact_groups, joined, near_matches, near_pairs, perceptual_hashes


def noise(count: int, name: str = "noise") -> np.ndarray:
    return generator("duplicates", name).integers(0, 256, (count, 64, 64)).astype(np.uint8)


@pytest.mark.parametrize(
    ("digests", "groups"),
    [("", []), ("abc", []), ("aab", [[0, 1]]), ("abcab", [[0, 3], [1, 4]]), ("bab", [[0, 2]]), ("aaa", [[0, 1, 2]])],
)
def test_equal_hashes_are_groups_in_the_order_in_which_they_appear(digests, groups):
    assert exact_groups(list(digests)) == groups


def test_a_hash_has_a_bit_for_each_step_to_a_brighter_place():
    rising = np.tile(np.arange(0, 255, 4, dtype=np.uint8), (64, 1))
    halves = rising.copy()
    halves[32:] = halves[32:, ::-1]
    found = perceptual_hashes(np.stack([rising, rising[:, ::-1], rising.T, halves]))
    assert found.shape == (4, 4) and found.dtype == np.uint64
    assert np.bitwise_count(found).sum(axis=1).tolist() == [256, 0, 0, 128]
    assert np.bitwise_count(found[3]).tolist() == [64, 64, 0, 0], "row by row"


@pytest.mark.parametrize(("bits", "is_close"), [(0, True), (23, True), (24, True), (25, False)])
def test_24_bits_of_256_may_differ(bits, is_close):
    changed = np.packbits(np.arange(256) < bits).view(np.uint64)
    left, right = duplicates._close(np.zeros((1, 4), np.uint64), np.stack([~changed, changed]))
    assert (left.tolist(), right.tolist()) == (([0], [1]) if is_close else ([], []))


def test_the_correlation_is_pearson_s():
    first, second = noise(2)
    second[:32] = first[:32]
    expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert duplicates._correlation(first, second) == pytest.approx(expected, abs=1e-5)
    assert duplicates._correlation(first, 255 - first) == pytest.approx(-1)


def test_images_of_one_grey_are_the_same_where_it_is_the_same_grey():
    black, grey = np.zeros((64, 64), np.uint8), np.full((64, 64), 7, np.uint8)
    assert duplicates._correlation(black, black) == 1 and duplicates._correlation(black, grey) == 0
    assert near_pairs(np.stack([black, grey, black])) == [(0, 2)]


def test_close_hashes_alone_are_no_pair(monkeypatch):
    """Of images whose correlation is 0.98 or more, and of no others."""
    monkeypatch.setattr(duplicates, "_correlation", lambda a, b: float(b[0, 0]) / 100)
    stack = np.repeat(noise(1), 4, axis=0)
    stack[:, 0, 0] = [0, 97, 98, 99]
    assert near_pairs(stack) == [(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert near_matches(stack[:1], stack) == [(0, 2), (0, 3)]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 512])
def test_pairs_are_found_whatever_is_compared_at_once(monkeypatch, block):
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    images = noise(7)
    images[4], images[6], images[5] = images[1], images[1], images[3]
    assert sorted(near_pairs(images)) == [(1, 4), (1, 6), (3, 5), (4, 6)]
    others = np.concatenate([noise(2, "others"), images[[6, 0]]])
    expected = [(0, 3), (1, 2), (4, 2), (6, 2)]
    assert near_matches(images, others) == expected
    assert near_matches(images, others, perceptual_hashes(others)) == expected
    assert near_matches(images, others, perceptual_hashes(others[::-1])) != expected, "the hashes given are used"


@pytest.mark.parametrize(
    ("links", "names"),
    [
        ([], "abcde"),
        ([(0, 0)], "abcde"),
        ([(3, 1)], "abcbe"),
        ([(0, 1), (1, 2)], "aaade"),
        ([(3, 4), (1, 2), (2, 3)], "abbbb"),
        ([(4, 3), (3, 2), (2, 1), (1, 0)], "aaaaa"),
        ([(1, 3, 4)], "abcbb"),
    ],
)
def test_what_is_linked_is_one_group_by_the_name_of_its_first(links, names):
    assert joined(list("abcde"), links) == list(names)


def test_all_members_of_linked_groups_are_joined():
    assert joined(["p", "q", "p", "r"], [(2, 3)]) == ["p", "q", "p", "p"]
