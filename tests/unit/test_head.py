"""A small head that replaces all that follows the features."""

import math
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_experiment

from chestfold.core.errors import InputError
from chestfold.models import create, rebuild

FAMILIES = {"test_resnet": 32, "test_efficientnet": 32, "test_vit": 64, "mobilenetv2_100": 64}


def network(backbone: str, size: int = 32, classes: int = 2, **changes):
    torch.manual_seed(0)
    exp = tiny_experiment(backbone=backbone, image_size=size, **({"head_width": 32} | changes))
    return create(exp, classes)


@pytest.mark.parametrize(("backbone", "size"), FAMILIES.items())
def test_a_network_with_a_head_is_rebuilt_with_the_same_outputs(backbone, size):
    made = network(backbone, size, classes=3, drop_rate=0.5)
    torch.nn.init.normal_(made.module.classifier.weight)
    again = rebuild({"module": made.module.state_dict(), "network": asdict(made.blueprint)})
    assert again.blueprint == made.blueprint
    images = torch.randn(2, 1, size, size)
    with torch.inference_mode():
        expected = made.module.eval()(images)
        assert expected.shape == (2, 3) and not torch.equal(expected[0], expected[1])
        assert torch.equal(again.module.eval()(images), expected)


@pytest.mark.parametrize(("backbone", "size"), FAMILIES.items())
def test_the_first_loss_of_a_head_is_that_of_knowing_nothing(backbone, size):
    module = network(backbone, size).module.eval()
    logits = module(torch.randn(4, 1, size, size))
    assert F.cross_entropy(logits, torch.arange(4) % 2).item() == pytest.approx(math.log(2))


def test_the_head_has_the_wanted_width():
    module = network("test_resnet", head_width=24, drop_rate=0.3).module
    assert (module.hidden.out_features, module.classifier.in_features, module.classifier.out_features) == (24, 24, 2)
    assert module.drop.p == 0.3


def test_the_head_of_vgg_stands_in_the_place_of_its_two_wide_layers():
    """13 convolutions from one channel, then 512 features to 256 to 2."""
    with torch.device("meta"):
        module = network("vgg16", 50, head_width=256).module
    widths = [1, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(9 * a * b + b for a, b in pairwise(widths))
    assert sum(p.numel() for p in module.parameters()) == convolutions + (512 * 256 + 256) + (256 * 2 + 2)


@pytest.mark.parametrize("backbone", ["five_block_cnn", "own_efficientnet_b0"])
def test_a_family_that_does_not_tell_features_and_head_apart_is_refused(backbone):
    with pytest.raises(InputError, match=f"^{backbone} cannot take another head; leave head_width at 0$"):
        network(backbone)
