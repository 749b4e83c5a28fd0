import numpy as np
import pytest
from small_patches import lung, to_grey, with_disc

from chestfold.core.rng import generator
from chestfold.synth.blend.seam import UNSEEN, Seam, changed_pixels, edge_distance, smooth

DISC = np.hypot(*(np.indices((60, 60)) - 30)) < 12
NODULE = np.hypot(*(np.indices((60, 60)) - 30)) < 6


def visibility(image, region, nodule, span) -> float:
    return Seam(region, nodule).visibility(image, span)


def tissue(step: float) -> np.ndarray:
    """Lung with a region that is `step` grey values brighter, and a nodule in it."""
    grey = to_grey(with_disc(lung(generator("seam"), 60), 6)).astype(float)
    return np.clip(grey + step * DISC, 0, 255).round().astype(np.uint8)


def test_a_seam_is_as_visible_as_it_is_high():
    seen = [visibility(tissue(step), DISC, NODULE, 255) for step in (0, 10, 30)]
    assert 0.7 < seen[0] < 1.3 and 1.4 < seen[1] < seen[2] - 1 and seen[2] > 3


def test_the_nodules_own_edge_hides_no_seam():
    large = np.hypot(*(np.indices((60, 60)) - 30)) < 9
    image = to_grey(with_disc(lung(generator("seam"), 60), 9)).astype(float) + 20 * DISC
    assert visibility(image, DISC, large, 255) > 1.2 * visibility(image, DISC, large & False, 255)


def test_a_seam_on_even_black_is_measured_too():
    black = np.zeros((60, 60), np.uint8)
    assert visibility(black, DISC, NODULE, 255) == 1
    assert visibility(black + np.uint8(20) * DISC, DISC, NODULE, 255) > 20


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32])
def test_smoothing_stays_in_its_band_and_lowers_the_measure(kind):
    image = tissue(25).astype(kind)
    made, before, after = smooth(image, DISC, NODULE, 255)
    changed = made != image
    assert made.dtype == kind and changed.any() and after < before
    assert not changed[~(changed_pixels(DISC) & (edge_distance(DISC) < 2.5))].any() and not changed[NODULE].any()
    assert image.min() <= made.min() and made.max() <= image.max()
    assert after == visibility(made, DISC, NODULE, 255) and before == visibility(image, DISC, NODULE, 255)


def test_what_is_not_seen_is_not_smoothed():
    untouched = []
    for n in range(12):
        image = to_grey(lung(generator("calm", n), 60))
        made, before, after = smooth(image, DISC, NODULE, 255)
        assert np.array_equal(made, image) == (before <= UNSEEN) and (after == before) == (before <= UNSEEN)
        untouched.append(before <= UNSEEN)
    assert sum(untouched) > 6


def test_smoothing_is_as_strong_as_is_needed():
    """A faint seam needs a part of the strength that a strong one needs."""
    changes = []
    for step in (6, 25):
        image = tissue(step).astype(np.float32)
        changes.append(np.abs(smooth(image, DISC, NODULE, 255)[0] - image).max())
    assert 0 < changes[0] < changes[1]
