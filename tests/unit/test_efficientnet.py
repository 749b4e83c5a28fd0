"""Our own EfficientNet is timm's, block for block."""

from typing import Any

import pytest
import torch
from conftest import tiny_experiment

from chestfold.models import MissingWeights, create
from chestfold.models.efficientnet import (
    COEFFICIENTS,
    InvertedResidual,
    Stage,
    copy_in_order,
    scaled_depth,
    scaled_width,
)
from chestfold.models.timm_import import timm

OPTIONS: dict[str, Any] = {"in_chans": 1, "num_classes": 2}


def pair(size: str, **options):
    """Ours and timm's."""
    names = (f"own_efficientnet_{size}", f"efficientnet_{size}")
    return tuple(timm.create_model(name, **OPTIONS, **options) for name in names)


@pytest.mark.parametrize("size", COEFFICIENTS)
def test_the_tensors_have_timms_shapes_in_timms_order(size):
    with torch.device("meta"):
        ours, theirs = pair(size)
    shapes = [[tuple(t.shape) for t in module.state_dict().values()] for module in (ours, theirs)]
    assert shapes[0] == shapes[1]
    counts = [sum(p.numel() for p in module.parameters()) for module in (ours, theirs)]
    assert counts[0] == counts[1] > 4_000_000


@pytest.mark.parametrize("size", ["b0", "b1"])
def test_with_timms_weights_the_outputs_are_timms(size):
    torch.manual_seed(0)
    ours, theirs = pair(size)
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, std=0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(layer.weight, 0.8, 1.2)
    copy_in_order(ours, theirs)
    images = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        expected = theirs.eval()(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours.eval()(images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def test_weights_of_another_size_are_refused():
    with torch.device("meta"):
        ours, theirs = pair("b0")[0], pair("b2")[1]
    with pytest.raises(ValueError):
        copy_in_order(ours, theirs)


@pytest.mark.parametrize(
    ("channels", "coefficient", "width"),
    [(32, 1.0, 32), (32, 1.1, 32), (16, 1.1, 16), (40, 1.1, 48), (112, 1.1, 120), (1280, 1.1, 1408), (24, 1.4, 32)],
)
def test_widths_are_multiples_of_8_near_the_wanted_one(channels, coefficient, width):
    assert scaled_width(channels, coefficient) == width


def test_no_width_lies_more_than_a_tenth_below_the_wanted_one():
    for channels in range(8, 400, 8):
        for coefficient in (1.0, 1.1, 1.2, 1.4, 2.0):
            width = scaled_width(channels, coefficient)
            assert width % 8 == 0 and 0.9 * channels * coefficient <= width <= channels * coefficient + 8


@pytest.mark.parametrize(("coefficient", "depths"), [(1.0, [1, 2, 3, 4]), (1.1, [2, 3, 4, 5]), (1.8, [2, 4, 6, 8])])
def test_depths_are_rounded_up(coefficient, depths):
    assert [scaled_depth(n, coefficient) for n in (1, 2, 3, 4)] == depths


# Stochastic depth


def block(drop: float) -> InvertedResidual:
    torch.manual_seed(0)
    return InvertedResidual(8, Stage(3, 1, 6, 8, 1), 1, drop)


def test_no_block_is_dropped_at_prediction():
    images = torch.randn(4, 8, 6, 6)
    with torch.inference_mode():
        assert torch.equal(block(0.5).eval()(images), block(0.0).eval()(images))


def test_in_training_a_block_is_dropped_for_whole_images_and_the_mean_stays():
    kept = block(0.25).train()._kept(torch.ones(8000, 2, 3, 3)).flatten(1)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(kept.amin(dim=1), kept.amax(dim=1))
    assert kept.mean().item() == pytest.approx(1, abs=0.03)


def test_a_dropped_block_passes_its_input_on():
    images = torch.randn(64, 8, 6, 6)
    made = block(0.5).train()
    with torch.inference_mode():
        passed = [torch.equal(out, given) for out, given in zip(made(images), images, strict=True)]
    assert 16 < sum(passed) < 48


def test_deeper_blocks_are_dropped_more_often_as_in_timm():
    with torch.device("meta"):
        ours, theirs = pair("b0", drop_path_rate=0.2)
    drops = [b.drop for b in ours.blocks]
    expected = [getattr(b.drop_path, "drop_prob", 0.0) for stage in theirs.blocks for b in stage]
    assert drops == pytest.approx(expected) and drops == sorted(set(drops)) and drops[0] == 0 < drops[-1] < 0.2


# As a backbone of an experiment


def test_it_is_a_backbone_like_any_other():
    made = create(tiny_experiment(backbone="own_efficientnet_b0", image_size=64, drop_rate=0.3), 3)
    assert made.module.drop.p == 0.3
    assert made.module.eval()(torch.zeros(2, 1, 64, 64)).tolist() == [[0, 0, 0]] * 2


def test_there_are_no_pretrained_weights_of_our_own():
    with pytest.raises(MissingWeights, match="weights of own_efficientnet_b0 could not be had"):
        create(tiny_experiment(backbone="own_efficientnet_b0", pretrained=True), 2)
