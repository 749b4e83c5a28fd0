"""Both lungs of a slice: against the phantom's exact masks, and nothing at all where there are none."""

import time

import cv2
import numpy as np
import pytest
from conftest import read_grey

from chestfold.core.rng import generator
from chestfold.data.phantom import draw_slice
from chestfold.data.transforms.lungs import lungs_or_reason, segment_lungs

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
