"""Measures of heat maps that were made by hand, with answers known beforehand."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.data.catalogue import open_index
from chestfold.data.dataset import Index
from chestfold.explain import checks, measures
from chestfold.explain.masks import masks_of, why_no_lungs
from chestfold.explain.overlay import BAR, GAP, SIDE, overlay, scale_bar, side_by_side
from chestfold.models import create
from chestfold.models.runner import Runner, make_runner


def test_shares_sum_to_one_and_an_empty_map_has_none():
    maps, mask = np.zeros((2, 4, 4), np.float32), np.zeros((4, 4), bool)
    maps[0, 0, 0], maps[0, 3, 3], mask[0, 0] = 3, 1, True
    np.testing.assert_allclose(measures.share(maps, mask), [0.75, np.nan])
    np.testing.assert_allclose(measures.share(maps, ~mask), [0.25, np.nan])


def test_border_and_box_of_an_image():
    assert (
        measures.border(32).sum() == 32 * 32 - 28 * 28 and measures.border(32)[1, 16] and not measures.border(32)[2, 16]
    )
    box = measures.chest_box(100)
    assert box.sum() == 80 * 70 and box[10, 15] and not box[9, 50] and not box[50, 14]


def test_pointing_game_hits_misses_and_ties():
    heat, mask = np.zeros((5, 5), np.float32), np.zeros((5, 5), bool)
    mask[2, 2] = True
    assert np.isnan(measures.pointing(heat, mask))
    heat[2, 2] = 1
    assert measures.pointing(heat, mask) == 1
    heat[0, 0] = 1
    assert measures.pointing(heat, mask) == 0.5
    heat[0, 0] = 2
    assert measures.pointing(heat, mask) == 0
    assert (
        measures.pointing(heat, measures.dilated(mask, 2.0)) == 0
        and measures.pointing(heat, measures.dilated(mask, 2.9)) == 1
    )


def test_dilated_is_a_disc_and_nothing_stays_nothing():
    mask = np.zeros((7, 7), bool)
    assert not measures.dilated(mask, 3).any()
    mask[3, 3] = True
    assert measures.dilated(mask, 1).sum() == 5 and measures.dilated(mask, 1.5).sum() == 9


def test_rank_correlation_and_flat_maps():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert measures.rank_correlation(a, a**3) == pytest.approx(1) and measures.rank_correlation(a, -a) == pytest.approx(
        -1
    )
    assert measures.rank_correlation(a, np.ones((2, 2))) == 0


def test_area_under_curves():
    curves = np.array([np.ones(11), np.linspace(1, 0, 11), [1] + [0] * 10])
    np.testing.assert_allclose(measures.area_under(curves), [1, 0.5, 0.05])


def test_summary_counts_each_class_the_same_and_draws_patients():
    values = np.array([1.0, 1.0, 1.0, 0.0, np.nan])
    truth, groups = np.eye(3)[[0, 0, 0, 1, 1]], np.array(["a", "a", "b", "c", "d"])
    found = measures.summary(values, truth, groups, ("well", "ill", "none"))
    assert set(found) == {"all", "well", "ill"}
    assert found["all"].value == 0.5 and found["well"].value == 1 and found["ill"].value == 0
    assert measures.summary(np.full(5, np.nan), truth, groups, ("well", "ill", "none")) == {}
    spread = measures.summary(np.arange(40.0), np.ones((40, 1)), np.repeat(np.arange(20), 2), ("well",))["well"]
    assert spread.low < spread.value == 19.5 < spread.high


class Bright(torch.nn.Module):
    """Class 1 is as likely as the upper left quarter is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, 0, :8, :8].mean(dim=(1, 2))
        return torch.stack([-bright, bright], dim=1)


def test_deletion_falls_and_insertion_rises_early_by_a_map_that_knows(monkeypatch):
    monkeypatch.setattr(checks, "BLUR", 1.0)  # an image of two grey values still differs from its blur
    runner = Runner(None, exclusive(), torch.device("cpu"), None, Bright())
    images = torch.ones(1, 1, 16, 16) * 0.1
    images[:, :, :8, :8] = 2.0
    heat, one = np.zeros((1, 16, 16), np.float32), np.array([1])
    heat[:, :8, :8] = 1.0
    wrong, area = heat[:, ::-1, ::-1].copy(), measures.area_under
    falling, rising = (curve(runner, images, heat, one) for curve in (checks.deletion, checks.insertion))
    assert falling.shape == (1, checks.STEPS + 1)
    assert falling[0, 0] == pytest.approx(rising[0, -1]) and falling[0, 3] == pytest.approx(0.5) == falling[0, -1]
    assert area(falling) < area(checks.deletion(runner, images, wrong, one)) - 0.2
    assert area(rising) > area(checks.insertion(runner, images, wrong, one)) + 0.02


def test_the_second_channel_is_not_deleted():
    class Second(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[:, 1].mean(dim=(1, 2)), torch.zeros(len(x))], dim=1)

    runner = Runner(None, exclusive(), torch.device("cpu"), None, Second())
    images, heat = torch.ones(1, 2, 8, 8), np.ones((1, 8, 8), np.float32)
    assert np.ptp(checks.deletion(runner, images, heat, np.array([0]))) == 0


def test_randomized_weights_are_the_same_values_elsewhere_and_the_original_stays():
    exp = tiny_experiment()
    torch.manual_seed(0)
    runner = make_runner(create(exp, 2), exp, exclusive())
    torch.nn.init.normal_(runner.module.fc.weight)
    before = {k: v.clone() for k, v in runner.module.state_dict().items()}
    changed = {}
    for stage in checks.RANDOMIZED:
        other = checks.randomized(runner, stage).module.state_dict()
        changed[stage] = {k for k, v in before.items() if not torch.equal(v, other[k])}
        assert all(torch.equal(v.flatten().sort()[0], other[k].flatten().sort()[0]) for k, v in before.items())
    assert changed["classifier"] == {"fc.weight"} < changed["last half"] < changed["all"]
    assert all(torch.equal(v, runner.module.state_dict()[k]) for k, v in before.items())


def of_view(index: Index, view: str) -> Index:
    """The same images, declared to be of another view."""
    return replace(index, dataset=index.dataset.model_copy(update={"view": view}))


def test_lungs_apply_to_axial_slices_and_to_known_masks_only(project):
    index, grey = open_index("tiny"), np.full((32, 32), 90, np.uint8)
    assert masks_of(index, "t000", grey).lungs_by == "none" and "does not say" in why_no_lungs(index)
    for view, word in (("projection", "projection X-rays"), ("patch", "patches"), ("axial", "")):
        assert word in why_no_lungs(of_view(index, view))
    axial = of_view(index, "axial")
    assert masks_of(axial, "t000", grey).lungs_by == "not_found"
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    for kind in ("lung", "nodule"):
        (index.root / "masks" / kind).mkdir(parents=True)
        cv2.imwrite(str(index.root / "masks" / kind / "t000.png"), mask)
    found = masks_of(index, "t000", grey)
    assert found.lungs_by == "truth" and found.lungs.shape == (32, 32) and found.lungs[:16].all()
    assert not found.lungs[16:].any() and np.array_equal(found.lungs, found.lesion) and why_no_lungs(index) == ""


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 48), (700, 500)])
def test_the_plain_image_stays_plain_and_its_map_has_outlines_and_leaves_cold_places(height, width):
    grey, heat = np.full((height, width), 100, np.uint8), np.zeros((32, 32), np.float32)
    heat[15:17, 15:17], lesion = 1.0, np.zeros((32, 32), bool)
    lesion[4:8, 4:8] = True
    shown = side_by_side(grey, np.full((32, 32), 100, np.uint8), heat, None, lesion)
    rows, columns = round(SIDE * height / max(height, width)), round(SIDE * width / max(height, width))
    assert shown.dtype == np.uint8 and len(shown) == rows
    plain, drawn = shown[:, :columns], shown[:, columns + GAP : 2 * columns + GAP]
    assert (plain == 100).all(), "nothing is drawn into the plain image"
    assert (drawn[rows * 7 // 8, columns // 8] == 100).all() and (drawn[..., 1] > 200).any()
    assert (drawn[rows // 2, columns // 2] != 100).any()


@pytest.mark.parametrize("level", [0, 100, 255], ids=["air", "tissue", "bone"])
def test_a_map_is_seen_on_every_grey_and_its_hottest_place_most(level):
    grey = np.full((64, 64), level, np.uint8)
    heat = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, axis=0)
    shown = overlay(grey, heat)[32].astype(int)
    change = np.abs(shown - level).sum(axis=1)
    assert change[0] == 0 and change[-1] > 150, "the hottest place is the densest"
    assert (np.diff(np.delete(change, range(28, 56))) >= -2).all(), "denser from cold to hot, beside the lines"
    assert change[31:34].max() > change[25] + 60 and change[49:53].max() > change[44] + 40, "lines at 50 and 80 %"
    faded = np.abs(overlay(grey, heat, faded=True)[32].astype(int) - level).sum(axis=1)
    assert faded[-1] < change[-1]


@pytest.mark.parametrize("height", [1, 9, 40, 320])
def test_the_scale_fits_beside_a_panel_of_any_height(height):
    bar = scale_bar(height)
    assert len(bar) == height and bar[:, :BAR].any()


def test_a_map_is_stretched_to_an_image_that_is_not_square():
    grey, heat = np.full((10, 40), 100, np.uint8), np.zeros((8, 8), np.float32)
    heat[:, 6:] = 1.0
    shown = overlay(grey, heat)
    assert shown.shape == (10, 40, 3) and shown.dtype == np.uint8
    assert (shown[:, :25] == 100).all() and not (shown[:, 35:] == 100).all(axis=2).any()


def test_all_colours_are_deleted_and_inserted():
    class Last(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[:, 2].mean(dim=(1, 2)), torch.zeros(len(x))], dim=1)

    runner = Runner(None, exclusive(), torch.device("cpu"), None, Last())
    images, heat = torch.ones(1, 3, 16, 16), np.random.default_rng(0).random((1, 16, 16)).astype(np.float32)
    images[:, 2, :8] = 3.0
    falling = checks.deletion(runner, images, heat, np.array([0]))
    assert falling[0, 0] > falling[0, -1] == pytest.approx(0.5)
    assert checks.insertion(runner, images, heat, np.array([0]))[0, -1] == pytest.approx(falling[0, 0])
