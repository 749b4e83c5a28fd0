"""The layer that heat maps are taken from: found in every family, named by the user, or refused with the list."""

from typing import Any

import numpy as np
import pytest
import torch
from tasks import exclusive

from chestfold import Experiment
from chestfold.core.errors import InputError
from chestfold.explain.cam import METHODS, at_image_size, open_mapper
from chestfold.explain.layers import find_layer
from chestfold.models import Network, create
from chestfold.models.create import Blueprint
from chestfold.models.runner import make_runner
from chestfold.models.timm_import import timm

SMALL: dict[str, dict[str, Any]] = {
    "swin_tiny_patch4_window7_224": dict(embed_dim=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4)),
    "vgg11": dict(mlp_ratio=0.01),
    "densenet121": dict(growth_rate=4, block_config=(1, 1, 1, 1)),
}
FAMILIES = [  # backbone, image size, layer, cells a side
    ("test_resnet", 32, "layer1", 8),
    ("test_resnet", 192, "layer4", 6),
    ("test_efficientnet", 64, "blocks.2", 8),
    ("mobilenetv2_050", 96, "blocks.4", 6),
    ("test_vit", 160, "blocks.5.norm1", 10),
    ("test_convnext", 64, "stages.1", 8),
    ("swin_tiny_patch4_window7_224", 224, "layers.3", 7),
    ("vgg11", 50, "features.14", 6),
    ("densenet121", 192, "features.norm5", 6),
    ("five_block_cnn", 64, "blocks.3.2", 8),
    ("own_efficientnet_b0", 64, "blocks.4", 8),
    ("own_efficientnet_b0", 192, "top", 6),
    ("fine_cnn", 64, "blocks", 16),
]


def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, in_chans=1, num_classes=2, **SMALL.get(name, {})).eval()


def noise(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "size", "layer", "cells"), FAMILIES)
def test_the_last_stage_with_enough_cells_and_its_maps_differ_by_class_and_image(name, size, layer, cells):
    module, images = network(name), noise(2, size)
    found = find_layer(module, images)
    assert (found.name, found.grid) == (layer, (cells, cells))
    runner = make_runner(Network(module, Blueprint(name, {}, 0.5, 0.25)), Experiment(precision="fp32"), exclusive())
    with open_mapper(runner, images, "gradcam") as mapper:
        maps = mapper(images, np.array([[0, 1], [0, 1]]))
    assert maps.shape == (2, 2, cells, cells) and maps.dtype == np.float32 and maps.min() >= 0
    assert maps.max() > 0 and not np.array_equal(maps[0, 0], maps[0, 1]) and not np.array_equal(maps[0], maps[1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("settings", [dict(freeze=True), dict(head_width=8), dict(precision="bf16")])
def test_frozen_networks_other_heads_and_bf16_have_the_maps_of_fp32(method, settings):
    exp = Experiment(backbone="test_resnet", image_size=64, **settings)
    torch.manual_seed(0)
    runner = make_runner(create(exp, 2), exp, exclusive())
    torch.nn.init.normal_(runner.module.get_classifier().weight)
    images = noise(2, 64)
    with open_mapper(runner, images, method) as mapper:
        maps = mapper(images, np.array([[1], [1]]))
        assert mapper.layer.name == ("trunk." if exp.head_width else "") + "layer2"
    assert (maps.max(axis=(1, 2, 3)) > 0).all() and np.isfinite(maps).all()
    exp32 = Experiment(backbone="test_resnet", image_size=64, **(settings | {"precision": "fp32"}))
    with open_mapper(make_runner(runner.network, exp32, exclusive()), images, method) as mapper:
        np.testing.assert_array_equal(mapper(images, np.array([[1], [1]])), maps)
    assert not any(part._forward_hooks for part in runner.module.modules())


def test_grad_cam_is_the_papers_formula():
    module, images = network("test_resnet"), noise(1, 64)
    seen = []

    def keep(_module, _given, out):
        out.retain_grad()
        seen.append(out)

    handle = module.layer4.register_forward_hook(keep)
    module(images.clone().requires_grad_())[0, 1].backward()
    handle.remove()
    weights = seen[0].grad.mean(dim=(2, 3), keepdim=True)
    wanted = torch.relu((weights * seen[0]).sum(dim=1))[0].detach().numpy()
    runner = make_runner(
        Network(module, Blueprint("test_resnet", {}, 0.5, 0.25)), Experiment(precision="fp32"), exclusive()
    )
    with open_mapper(runner, images, "gradcam", "layer4") as mapper:
        np.testing.assert_allclose(mapper(images, np.array([[1]]))[0, 0], wanted, rtol=1e-4, atol=1e-7)


def test_a_layer_by_name_and_one_that_is_not_there():
    module, images = network("test_resnet"), noise(1, 64)
    assert find_layer(module, images, "layer3.0").grid == (4, 4)
    with pytest.raises(InputError, match=r"no layer 'layr3' with maps; give --layer one of: .*layer3 \(4 x 4\)"):
        find_layer(module, images, "layr3")
    with pytest.raises(InputError, match="no layer 'fc' with maps"):  # its output has no places
        find_layer(module, images, "fc")


def test_an_unknown_family_has_its_last_layer_with_enough_cells():
    class Strange(torch.nn.Sequential):
        pass

    module = Strange(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    module(noise(1, 16))
    assert find_layer(module, noise(1, 16)).name == "0"
    flat = Strange(torch.nn.Flatten(), torch.nn.LazyLinear(2))
    flat(noise(1, 16))
    with pytest.raises(InputError, match="none: no layer of it has maps of more than one cell"):
        find_layer(flat, noise(1, 16))


def test_channels_last_is_told_by_shape_and_else_by_the_family():
    module = network("swin_tiny_patch4_window7_224")
    layer = find_layer(module, noise(1, 224))
    out = torch.arange(2 * 7 * 7 * 5.0).reshape(2, 7, 7, 5)
    assert torch.equal(layer.to_maps(out), out.permute(0, 3, 1, 2))


def test_tokens_without_a_place_are_left_out():
    layer = find_layer(network("test_vit"), noise(1, 160))
    tokens = torch.arange(101.0)[None, :, None].expand(1, 101, 3)
    maps = layer.to_maps(tokens)
    assert maps.shape == (1, 3, 10, 10) and maps[0, 0, 0, 0] == 1 and maps[0, 2, 9, 9] == 100 and maps[0, 0, 1, 0] == 11


def test_at_image_size_keeps_the_zero_and_scales_the_top():
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 0] = 8.0
    large = at_image_size(maps, 8)
    assert large.shape == (2, 8, 8) and large[0].max() == 1 and large[0, 0, 0] == 1 and large[0, 7, 7] == 0
    assert not large[1].any()
