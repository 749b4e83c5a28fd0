"""Both lungs of a slice: against the phantom's exact masks, and nothing at all where there are none."""

import time

import cv2
import numpy as np
import pytest
from conftest import read_grey

from chestfold.core.rng import generator
from chestfold.data.phantom import draw_slice
from chestfold.data.transforms import lungs
from chestfold.data.transforms.lungs import NotFound, lungs_or_reason, segment_lungs

SLICES = [draw_slice(0, patient, patient % 4, patient % 2 == 0) for patient in range(0, 96, 4)]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def found(image: np.ndarray) -> np.ndarray:
    mask, reason = lungs_or_reason(image)
    assert mask is not None, reason
    assert (mask.dtype, mask.shape) == (bool, image.shape)
    return mask


def scaled(image: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < 128 else cv2.INTER_LINEAR)


@pytest.mark.parametrize(("size", "least"), [(128, 0.965), (64, 0.935), (300, 0.955)])
def test_the_phantoms_lungs_are_found(size, least):
    masks = [found(scaled(s.image, size)) for s in SLICES]
    scores = [dice(mask, scaled(s.lung, size) > 127) for mask, s in zip(masks, SLICES, strict=True)]
    assert np.mean(scores) >= least and min(scores) > 0.85


def test_nodules_belong_to_the_lung():
    inside = [found(s.image)[s.nodule > 0].mean() for s in SLICES if s.nodule.any()]
    assert np.mean(inside) > 0.95


@pytest.mark.parametrize(
    "change",
    [
        lambda g: np.clip(g * 0.6 + 60, 0, 255).astype(np.uint8),
        lambda g: np.clip(g * 1.4 - 20, 0, 255).astype(np.uint8),
        lambda g: g.astype(np.uint16) * 257,
        lambda g: g.astype(np.float64) * 6 - 1100,
    ],
    ids=["paler", "harder", "16 bits", "HU"],
)
def test_scale_and_window_do_not_matter(change):
    for s in SLICES[:6]:
        assert dice(found(change(s.image)), s.lung > 0) > 0.94


def test_a_mirrored_view_of_an_array_is_a_slice_too():
    assert dice(found(SLICES[0].image[:, ::-1]), SLICES[0].lung[:, ::-1] > 0) > 0.94


def test_a_pale_marker_in_the_corner_does_not_matter():
    for s in SLICES[:6]:
        marked = s.image.copy()
        marked[4:16, 6:20] = 255
        assert dice(found(marked), found(s.image)) > 0.97


def xray_like() -> np.ndarray:
    """Bright belly and neck that run out of the image, two darker lungs."""
    image = np.full((128, 128), 190, np.uint8)
    for x in (42, 86):
        cv2.ellipse(image, (x, 60), (15, 38), 0, 0, 360, 90, -1)
    return cv2.GaussianBlur(image, (0, 0), 2)


def disc_with(*holes: tuple[int, int, int]) -> np.ndarray:
    """A body without lungs, with round holes (x, y, radius)."""
    image = np.full((128, 128), 5, np.uint8)
    cv2.ellipse(image, (64, 64), (56, 42), 0, 0, 360, 180, -1)
    for x, y, radius in holes:
        cv2.circle(image, (x, y), radius, 8, -1)
    return image


NOT_LUNGS = {
    "black": np.zeros((128, 128), np.uint8),
    "grey": np.full((128, 128), 77, np.uint8),
    "noise": generator("noise").integers(0, 256, (128, 128)).astype(np.uint8),
    "inverted": 255 - SLICES[0].image,
    "xray": xray_like(),
    "belly": disc_with(),
    "one bubble": disc_with((64, 40, 6)),
    "one side": disc_with((40, 64, 20)),
    "one above the other": disc_with((58, 45, 15), (70, 84, 15)),
    "too small": scaled(SLICES[0].image, 40),
    "a part": SLICES[0].image[40:104, 20:84],
    "half": SLICES[0].image[:, 64:],
}


@pytest.mark.parametrize("name", NOT_LUNGS)
def test_what_is_no_slice_through_both_lungs_is_refused_with_a_reason(name):
    mask, reason = lungs_or_reason(NOT_LUNGS[name])
    assert mask is None and reason
    assert segment_lungs(NOT_LUNGS[name]) is None


@pytest.mark.parametrize("grey", [0, 77])
def test_a_blank_image_is_called_so(grey):
    assert lungs_or_reason(np.full((128, 128), grey, np.uint8)) == (None, "a blank image")


@pytest.mark.parametrize(("grey", "expected"), [(62, ""), (68, "the enclosed region is too bright to be lung")])
def test_lungs_are_nearer_to_the_air_than_a_third_of_the_way_to_the_tissue(grey, expected):
    """Air is 5, tissue 180: the bound is at 66."""
    image = disc_with()
    for x in (42, 86):
        cv2.ellipse(image, (x, 64), (15, 26), 0, 0, 360, grey, -1)
    assert lungs_or_reason(image)[1] == expected


def test_lungs_that_run_out_through_a_wide_gap_are_refused():
    """Half the wall of the chest is as black as air, as in a narrow window."""
    image = SLICES[0].image.copy()
    image[20:70, :30] = 0
    mask, reason = lungs_or_reason(image)
    assert mask is None and reason


def narrow_window(gap: int) -> np.ndarray:
    """A chest whose fat is as black as air, two lungs, and a gap of so many pixels in the wall beside one of them."""
    image = np.zeros((128, 128), np.uint8)
    for half, grey in [((58, 44), 150), ((56, 42), 0), ((44, 34), 170)]:
        cv2.ellipse(image, (64, 64), half, 0, 0, 360, grey, -1)
    for x in (42, 86):
        cv2.ellipse(image, (x, 64), (16, 24), 0, 0, 360, 0, -1)
    image[64 - gap // 2 : 64 + (gap + 1) // 2, :42] = 0
    image[:, 6:9][image[:, 6:9] == 0] = 150 if gap else 0  # the skin has no gap
    return image


@pytest.mark.parametrize("gap", [0, 2, 3])
def test_a_narrow_gap_in_the_wall_does_not_let_the_lung_run_out_into_black_fat(gap):
    fat = np.zeros((128, 128), bool)
    fat[50:78, 8:18] = True
    assert found(narrow_window(gap))[fat].mean() < 0.1


def test_several_channels_are_no_slice():
    with pytest.raises(ValueError, match=r"shape \(H, W\)"):
        segment_lungs(np.zeros((64, 64, 3), np.uint8))


def test_a_slice_takes_milliseconds():
    image = SLICES[0].image
    times = []
    for _ in range(9):
        began = time.process_time()
        segment_lungs(image)
        times.append(time.process_time() - began)
    assert min(times) < 0.04  # about 5 ms alone; other programs slow a core's arithmetic down, too


@pytest.mark.parametrize("folder", ["chest_xray_native", "luna16_patches/images", "hannover_covid/images"])
def test_real_projections_and_patches_have_no_lungs(real_data, folder):
    files = sorted(p for p in (real_data / folder).rglob("*") if p.suffix in (".jpeg", ".jpg", ".png"))[:60]
    masks = [segment_lungs(read_grey(path)) for path in files]
    assert len(files) >= 60 and sum(mask is not None for mask in masks) <= 1


# The steps, one by one


def drawn(*rectangles: tuple[int, int, int, int], shape: tuple[int, int] = (120, 120)) -> np.ndarray:
    """A mask of rectangles: first and last row, first and last column, the last ones not included."""
    mask = np.zeros(shape, np.uint8)
    for top, bottom, left, right in rectangles:
        mask[top:bottom, left:right] = 1
    return mask


def same(made: np.ndarray, expected: np.ndarray) -> None:
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made, expected)


SQUARE = drawn((2, 7, 2, 7), shape=(9, 9))


def test_growing_and_shrinking_by_so_many_pixels():
    point = drawn((4, 5, 4, 5), shape=(9, 9))
    cross = drawn((4, 5, 3, 6), (3, 6, 4, 5), shape=(9, 9))
    same(lungs._grown(point, 0.9), point)
    same(lungs._grown(point, 1), cross)
    same(lungs._grown(point, 2), cross | drawn((3, 6, 3, 6), (2, 7, 4, 5), (4, 5, 2, 7), shape=(9, 9)))
    same(lungs._shrunk(SQUARE, 0.9), SQUARE)
    same(lungs._shrunk(SQUARE, 1), drawn((3, 6, 3, 6), shape=(9, 9)))


def test_gaps_are_closed_from_a_pixel_on():
    gap = drawn((2, 7, 1, 4), (2, 7, 5, 8), shape=(9, 9))
    same(lungs._closed(gap, 0.99), gap)
    assert lungs._closed(gap, 1)[3:6, 1:8].all()
    wide = drawn((2, 18, 0, 5), (2, 18, 9, 14), shape=(20, 20))
    same(lungs._closed(wide, 1.5), wide)
    assert lungs._closed(wide, 2)[10, :14].all(), "four pixels are two on either side"
    beside = drawn((2, 18, 2, 5), shape=(20, 20))
    same(lungs._closed(beside, 4), beside)  # nothing sticks to the image's edge


def test_opening_takes_what_is_thin():
    blob, thread = drawn((2, 9, 2, 9), shape=(12, 20)), drawn((5, 6, 9, 18), shape=(12, 20))
    opened = lungs._opened(blob | thread, 1)
    assert not opened[:, 10:].any() and opened[3:8, 3:8].all() and not (opened & (1 - blob - thread)).any()
    nothing = drawn(shape=(12, 20))
    same(lungs._opened(nothing, 1), nothing)


def test_holes_are_filled_and_bays_are_not():
    ring = SQUARE - drawn((3, 6, 3, 6), shape=(9, 9))
    same(lungs._filled(ring), SQUARE)
    bay = ring.copy()
    bay[4, 2] = 0
    same(lungs._filled(bay), bay)
    at_the_edge = drawn((0, 9, 0, 9), shape=(9, 9)) - drawn((1, 8, 1, 9), shape=(9, 9))
    same(lungs._filled(at_the_edge), at_the_edge)


def test_parts_touch_by_their_sides():
    mask = drawn((1, 3, 1, 4), (3, 4, 4, 6), (6, 7, 0, 1), shape=(9, 9))
    labels, areas, columns = lungs._parts(mask)
    assert sorted(areas.tolist()) == [0, 1, 2, 6] and areas[0] == 0 and (labels == 0).sum() == 81 - 9
    assert {int(area): column for area, column in zip(areas[1:], columns[1:], strict=True)} == {6: 2, 2: 4.5, 1: 0}
    same(lungs._main_parts(mask, 1 / 3), mask - drawn((6, 7, 0, 1), shape=(9, 9)))
    same(lungs._main_parts(mask, 0.34), drawn((1, 3, 1, 4), shape=(9, 9)))
    same(lungs._main_parts(mask * 0, 0.5), mask * 0)


def test_measures_of_shapes():
    assert lungs._solidity(SQUARE) == 1
    corner = drawn((10, 80, 10, 80)) - drawn((40, 80, 40, 80))
    assert lungs._solidity(corner) == pytest.approx((70**2 - 40**2) / (70**2 - 40**2 / 2), abs=0.02)
    assert lungs._width(SQUARE) == 5 and lungs._middle(SQUARE) == 4
    left, right = lungs._halves(SQUARE, 4)
    same(left, drawn((2, 7, 2, 4), shape=(9, 9)))
    same(right, drawn((2, 7, 4, 7), shape=(9, 9)))
    assert SQUARE.sum() == 25, "the mask itself stays"
    assert lungs._dice(SQUARE, left) == pytest.approx(2 * 10 / (25 + 10))


def test_larger_images_are_segmented_at_160_pixels():
    assert lungs._at_work_size(np.zeros((320, 240), np.uint8)).shape == (160, 120)
    for shape in ((160, 160), (160, 90), (70, 150)):
        same_size = lungs._at_work_size(np.full(shape, 7, np.uint8))
        assert same_size.shape == shape and same_size.dtype == np.float32 and (same_size == 7).all()


def test_greys_are_stretched_between_two_percentiles():
    stretched = lungs._stretched(np.arange(1001, dtype=np.float32).reshape(77, 13) * 2 - 300)
    np.testing.assert_allclose(stretched.ravel(), np.clip((np.arange(1001) - 10) / 980, 0, 1), atol=1e-6)
    speck = np.full((100, 100), 77, np.float32)
    speck[0, 0] = 99
    with pytest.raises(NotFound, match="a blank image"):
        lungs._stretched(speck)


def test_tissue_and_core_lie_on_the_way_from_air_to_tissue():
    """0.1 is air and 0.9 tissue: 0.46 and 0.62 are 0.45 and 0.65 of the way."""
    greys = np.full((120, 120), 0.1, np.float32)
    greys[:, 40:] = 0.9
    for column, grey in ((0, 0.4), (80, 0.5), (100, 0.7)):
        greys[:12, column : column + 12] = grey
    tissue, core = lungs._tissues(greys)
    seen = [(int(tissue[row, column]), int(core[row, column])) for row, column in ((6, 6), (6, 86), (6, 106), (60, 60))]
    assert seen == [(0, 0), (1, 0), (1, 1), (1, 1)] and not tissue[60, 30] and not core[60, 30]


@pytest.mark.parametrize(
    ("upper", "lower", "left", "right", "reason"),
    [
        (3, 3, 3, 3, ""),
        (4, 0, 0, 0, "no axial slice: tissue extends beyond the image at its upper edge"),
        (0, 4, 0, 0, "no axial slice: tissue extends beyond the image at its lower edge"),
        (0, 0, 6, 6, ""),
        (0, 0, 8, 5, "no axial slice: there is no air around the body"),
    ],
)
def test_a_slice_ends_in_air(upper, lower, left, right, reason):
    """Tenths of each edge that are tissue."""
    tissue = np.zeros((10, 10), np.uint8)
    tissue[0, 1 : 1 + upper] = tissue[-1, 1 : 1 + lower] = 1
    tissue[1 : 1 + left, 0] = tissue[1 : 1 + right, -1] = 1
    refused = ""
    try:
        lungs._require_air_around(tissue)
    except NotFound as error:
        refused = str(error)
    assert refused == reason


def test_the_body_is_the_largest_thing_filled():
    ring = drawn((20, 100, 20, 100)) - drawn((30, 90, 30, 90))
    couch, arm = drawn((110, 118, 5, 115)), drawn((40, 70, 104, 118))
    body = lungs._body(ring | couch | arm)
    assert not body[104:].any() and not body[:, 104:].any()
    assert body[30:90, 30:90].all() and abs(int(body.sum()) - 6400) < 30


@pytest.mark.parametrize(
    ("wall", "reason"),
    [
        (drawn((40, 72, 40, 72)), "no body: nothing closed and large is there"),
        (drawn((10, 110, 20, 110)), "no body: the largest closed thing does not have the shape of a trunk"),
        (drawn((20, 100, 10, 110)) - drawn((20, 80, 50, 110)), "does not have the shape of a trunk"),
    ],
    ids=["small", "higher than wide", "a corner"],
)
def test_what_is_no_body(wall, reason):
    with pytest.raises(NotFound, match=reason):
        lungs._body(wall)
    assert lungs._body(drawn((40, 76, 40, 76))).any() and lungs._body(drawn((10, 110, 11, 109))).any()


BODY = drawn((10, 110, 10, 110))
"""100 pixels wide; column 60 is its middle."""


@pytest.mark.parametrize(
    ("hole", "is_lung"),
    [
        (drawn((50, 58, 56, 64)), False),  # a windpipe
        (drawn((50, 62, 54, 66)), True),  # too large for one
        (drawn((50, 58, 76, 84)), True),  # too far from the middle
        (drawn((50, 58, 36, 44)), True),
        (drawn((50, 58, 66, 74)), False),
        (drawn((40, 80, 20, 50)), True),
        (drawn((15, 105, 15, 105)) - drawn((20, 100, 20, 100)), False),  # fat under the skin
        (drawn((35, 85, 35, 85)) - drawn((40, 80, 40, 80)), True),  # a smaller ring
        (drawn((20, 100, 20, 100)), True),
    ],
)
def test_air_in_the_body_without_pipes_and_black_fat(hole, is_lung):
    same(lungs._enclosed_air(BODY - hole, BODY), hole * np.uint8(is_lung))


def test_air_in_the_skin_is_none():
    hole = drawn((40, 80, 10, 30))
    same(lungs._enclosed_air(BODY - hole, BODY), drawn((40, 80, 11, 30)))


def test_each_lung_is_closed_over_vessels_and_what_is_small_is_left_out():
    left, right = drawn((20, 75, 20, 50)), drawn((20, 75, 70, 100))
    vessel, crumb = drawn((45, 51, 20, 50)), drawn((102, 106, 40, 44))
    made = lungs._both_sides(left + right - vessel + crumb, BODY)
    assert made[21:74, 21:49].all() and made[21:74, 71:99].all(), "over the vessel too"
    assert not made[:, 52:68].any() and not made[80:].any()
    below = lungs._both_sides(drawn((90, 118, 20, 50)), BODY)
    assert below[100].any() and not below[110:].any(), "within the body"


LEFT, RIGHT = drawn((30, 90, 20, 50)), drawn((30, 90, 70, 100))


def bracket(left: int) -> np.ndarray:
    """A thin corner, which fills little of its hull."""
    return drawn((20, 100, left, left + 8), (92, 100, left, left + 40))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (LEFT | RIGHT, ""),
        (drawn((50, 70, 20, 42), (50, 70, 70, 92)), "too little air inside the body for two lungs"),
        (drawn((50, 75, 20, 42), (50, 75, 70, 92)), ""),
        (drawn((12, 108, 12, 59), (12, 108, 61, 108)), "the body is little more than a shell"),
        (drawn((20, 100, 20, 58), (20, 100, 62, 100)), ""),
        (LEFT | drawn((50, 60, 70, 100)), "air on one side of the body only"),
        (LEFT | drawn((50, 66, 70, 100)), ""),
        (bracket(12) | bracket(65), "does not have the shape of lungs"),
        (bracket(12) | RIGHT, "does not have the shape of lungs"),
        (drawn((20, 70, 20, 50), (50, 100, 70, 100)), "the two parts of the air in the body are not side by side"),
        (drawn((50, 100, 20, 50), (20, 70, 70, 100)), "the two parts of the air in the body are not side by side"),
        (drawn((30, 80, 20, 50), (45, 95, 70, 100)), ""),
    ],
)
def test_two_lungs_of_their_size_shape_and_place(found, reason):
    """Of a body of 10,000 pixels."""
    if not reason:
        lungs._require_two_lungs(found, BODY)
        return
    with pytest.raises(NotFound, match=reason):
        lungs._require_two_lungs(found, BODY)


def test_most_of_the_tissue_beside_the_lungs_is_in_the_body():
    """Rows of the lungs alone count: 20 of 100 columns are outside of the body there, or 21, and all of the rest."""
    tissue = drawn((30, 90, 0, 100))
    inside = drawn((30, 90, 20, 100))
    tissue[:30] = 1
    lungs._require_whole_chest(LEFT | RIGHT, tissue, inside)
    with pytest.raises(NotFound, match="a part of the chest is not walled in"):
        lungs._require_whole_chest(LEFT | RIGHT, tissue, drawn((0, 120, 21, 100)))


@pytest.mark.parametrize(("grey", "is_refused"), [(0.37, False), (0.39, True)])
def test_air_in_the_lungs_is_nearly_as_black_as_that_around_the_body(grey, is_refused):
    """Air is 0.1 and tissue 0.9: the bound is at 0.38."""
    tissue = BODY - LEFT - RIGHT
    greys = np.where(BODY == 0, 0.1, np.where(tissue > 0, 0.9, grey)).astype(np.float32)
    if is_refused:
        with pytest.raises(NotFound, match="the enclosed region is too bright to be lung"):
            lungs._require_black_as_air(greys, tissue, BODY, LEFT | RIGHT)
    else:
        lungs._require_black_as_air(greys, tissue, BODY, LEFT | RIGHT)
    everywhere = np.ones_like(BODY)
    for solid, body in ((tissue, everywhere), (everywhere - LEFT, everywhere), (BODY, BODY)):
        with pytest.raises(NotFound, match="no air around the body"):
            lungs._require_black_as_air(greys, solid, body, RIGHT)


def test_the_shorter_side_has_48_pixels_at_least():
    """Where it has, something else is missing."""
    assert lungs_or_reason(np.zeros((47, 90), np.uint8)) == (None, "smaller than 48 px")
    assert lungs_or_reason(np.zeros((90, 48), np.uint8)) == (None, "a blank image")
