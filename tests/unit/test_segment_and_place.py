import numpy as np
import pytest
from small_patches import SIDE, lung, to_grey, with_disc

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.phantom import draw_slice
from chestfold.synth.blend.hosts import find_place, find_vessels, shows_lung
from chestfold.synth.blend.paste import crop_nodule, paste, to_hu
from chestfold.synth.blend.poisson import bounding_box
from chestfold.synth.blend.segment import Unfit, segment_nodule, visible_mask, with_margin

WINDOW = (-1000, 400)


def patch(radius: float = 5, density: float = 50) -> np.ndarray:
    return with_disc(lung(generator("outline")), radius, density).astype(np.float32)


@pytest.mark.parametrize("radius", [2.5, 4, 7])
def test_a_disc_is_found_where_it_is(radius):
    gap = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE // 2))
    mask = segment_nodule(patch(radius)).mask
    assert not mask[gap > radius + 1.2].any() and mask[gap < radius - 1.2].all()


def test_a_thin_vessel_is_cut_off():
    hu = patch(6)
    hu[19:21, :14] = 0
    assert not segment_nodule(np.where(np.arange(SIDE) < 8, -850, hu).astype(np.float32)).mask[:, :12].any()


def wall(hu):
    hu[:, 27:] = 50
    return hu


@pytest.mark.parametrize(
    ("hu", "said"),
    [
        (np.full((SIDE, SIDE), 40, np.float32), "no lung"),
        (lung(generator("none")).astype(np.float32), "denser than its lung"),
        (patch(5, -800), "denser than its lung"),
        (patch(18), "border of its patch"),
        (wall(patch(5)), "border of its patch|wall or a vessel"),
        (patch(0.8, 300), "too small|no solid part|denser"),
    ],
)
def test_what_does_not_stand_alone_is_refused(hu, said):
    with pytest.raises(Unfit, match=said):
        segment_nodule(hu)


def test_a_narrow_window_shows_the_dense_part_only():
    hu = patch(6)
    found = segment_nodule(hu)
    seen = visible_mask(hu, found, (-160, 240))
    assert seen.sum() < found.mask.sum() and not (seen & ~found.mask).any()
    assert visible_mask(hu, found, WINDOW) is found.mask
    ground_glass = patch(6, -400)
    with pytest.raises(Unfit, match="hosts' window"):
        visible_mask(ground_glass, segment_nodule(ground_glass), (-160, 240))


# Places


@pytest.fixture(scope="module")
def slice_():
    return draw_slice(0, 1, 2, False)


def test_a_place_is_in_the_lung_clear_of_vessels_and_drawn_evenly(slice_):
    lung_ = slice_.lung > 0
    region = with_margin(crop_nodule(patch(2.5), 1, WINDOW).nodule)
    vessel, places = find_vessels(slice_.image, lung_), set()
    for n in range(40):
        row, column = find_place(slice_.image, lung_, region, "place", n)
        high, wide = (side // 2 for side in region.shape)
        part = np.s_[row - high : row + high + 1, column - wide : column + wide + 1]
        assert lung_[part][region].all() and vessel[part][region].mean() <= 0.05
        places.add((row, column))
    assert len(places) > 20
    assert find_place(slice_.image, lung_, region, 7) == find_place(slice_.image, lung_, region, 7)


def test_vessels_are_what_is_bright_in_the_lung(slice_):
    vessel = find_vessels(slice_.image, slice_.lung > 0)
    assert 0.02 < vessel[slice_.lung > 0].mean() < 0.5 and not vessel[slice_.lung == 0].any()
    assert slice_.image[vessel].mean() > slice_.image[(slice_.lung > 0) & ~vessel].mean() + 40


def test_no_room_is_said(slice_):
    with pytest.raises(Unfit, match="no room in its lungs"):
        find_place(slice_.image, slice_.lung > 0, np.ones((61, 61), bool))
    with pytest.raises(Unfit, match="no room clear of vessels"):
        find_place(slice_.image, slice_.lung > 0, np.ones((17, 17), bool))


def test_a_lung_that_is_too_bright_for_its_window_is_noticed(slice_):
    lung_ = slice_.lung > 0
    assert shows_lung(slice_.image, lung_, (-1100, 420))
    assert not shows_lung(slice_.image, lung_, (-160, 240)) and not shows_lung(slice_.image, lung_, (0, 1500))
    assert shows_lung(np.zeros_like(slice_.image), lung_, (-160, 240)), "clipped to black, as it must be"


# Pasting


def test_a_nodule_keeps_its_density_in_another_window():
    window, host = (-1350, 150), lung(generator("host"), 60)
    grey = np.clip((host + 1350) / 1500 * 255, 0, 255).round().astype(np.uint8)
    blended = paste(grey, window, crop_nodule(patch(4), 1, window), (30, 30))
    assert abs(to_hu(blended.image, window)[30, 30] - 50) < 25
    assert np.array_equal(blended.image[~blended.changed], grey[~blended.changed])
    box = bounding_box(blended.nodule)
    assert blended.nodule[box].sum() == blended.nodule.sum() and blended.nodule[30, 30]


def test_scale_is_size():
    areas = [crop_nodule(patch(6), scale, WINDOW).nodule.sum() for scale in (0.5, 1, 2)]
    assert areas[0] * 3 < areas[1] < areas[2] / 3


def test_a_mask_outside_the_image_is_refused(slice_):
    with pytest.raises(InputError, match="outside the image"):
        paste(slice_.image, WINDOW, crop_nodule(patch(), 1, WINDOW), (1, 60))


def test_beside_the_border_it_is_blended_as_anywhere():
    patch_ = crop_nodule(patch(), 1, WINDOW)
    host = to_grey(lung(generator("host"), 60))
    half = patch_.region.shape[0] // 2
    blended = paste(host, WINDOW, patch_, (half - 1, 30))  # the region's first row is the image's
    assert blended.changed[0].any() and blended.image[blended.nodule].mean() > 170
