"""Networks by name: one channel in, a classifier that starts at zero, weights as the file demands."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import tiny_experiment
from safetensors.torch import load_file, save_file
from tasks import exclusive

from chestfold.models import create, rebuild
from chestfold.models.runner import make_runner
from chestfold.models.timm_import import timm
from chestfold.train import loop

BACKBONES = (
    "five_block_cnn",
    "fine_cnn",
    "test_resnet",
    "test_efficientnet",
    "test_vit",
    "vit_tiny_patch16_224",
    "resnet18",
    "vgg16_features",
)


def network(backbone: str, classes: int = 2, **changes):
    torch.manual_seed(0)
    return create(tiny_experiment(backbone=backbone, **changes), classes)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_first_loss_is_that_of_knowing_nothing(backbone, classes):
    module = network(backbone, classes).module.eval()
    logits = module(torch.randn(4, 1, 32, 32))
    assert logits.shape == (4, classes)
    assert F.cross_entropy(logits, torch.arange(4) % classes).item() == pytest.approx(math.log(classes))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_network_learns_from_its_zero_head_on(backbone):
    """One step moves the head, two steps move the layers below."""
    module = network(backbone).module
    before = [p.detach().clone() for p in module.parameters()]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    images = torch.randn(4, 1, 32, 32)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(module(images), torch.arange(4) % 2).backward()
        optimizer.step()
    assert not torch.equal(next(module.parameters()), before[0])


@pytest.mark.parametrize("size", [32, 48, 96])
def test_transformers_take_the_size_of_the_experiment(size):
    module = network("vit_tiny_patch16_224", image_size=size).module.eval()
    assert module(torch.zeros(1, 1, size, size)).shape == (1, 2)


def test_weights_from_scratch_are_a_function_of_seed_and_fold():
    def first(seed: int, fold: int) -> torch.Tensor:
        return next(loop.start(tiny_experiment(seed=seed), fold, exclusive()).runner.module.parameters()).detach()

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(0, 1)) and not torch.equal(first(0, 0), first(1, 0))


def test_dropout_reaches_the_network():
    assert network("five_block_cnn", drop_rate=0.3).module.dense[2].p == 0.3
    assert network("test_resnet", drop_rate=0.3).module.drop_rate == 0.3


# Weights from a file


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(tmp_path))
    return tmp_path


def store(folder: Path, name: str, metadata: dict[str, str] | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    state = timm.create_model(name).state_dict()
    save_file(state, folder / f"{name}.safetensors", metadata=metadata)
    return state


def features_in_colour(name: str, state: dict[str, torch.Tensor], grey: torch.Tensor, **options) -> torch.Tensor:
    """What the three-channel network of the file makes of a grey image in three equal colours."""
    colour: Any = timm.create_model(name, **options)
    colour.load_state_dict(state)
    with torch.inference_mode():
        return colour.eval().forward_features(grey.expand(-1, 3, -1, -1))


def features(made, grey: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return made.module.eval().forward_features(grey)


GREY = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("pad_type", ["", "same"])
def test_one_channel_sees_what_three_equal_colours_saw_with_the_padding_of_the_header(folder, pad_type):
    state = store(folder, "test_efficientnet", {"pad_type": pad_type} if pad_type else None)
    made = network("test_efficientnet", pretrained=True)
    expected = features_in_colour("test_efficientnet", state, GREY, pad_type=pad_type)
    other = features_in_colour("test_efficientnet", state, GREY, pad_type="" if pad_type else "same")
    torch.testing.assert_close(features(made, GREY), expected, rtol=1e-4, atol=1e-6)
    assert (expected - other).norm() > 0.1 * expected.norm(), "the padding matters here"


def test_vgg16_starts_from_its_convolutions_alone(folder):
    """Thirteen, where timm's vgg16 has them; the layers between them hold no weights."""
    torch.manual_seed(1)
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    plan = timm.models.vgg.cfgs["vgg16"]
    state, inside = {}, 3
    for number, width in zip(numbers, [width for width in plan if width != "M"], strict=True):
        state[f"features.{number}.weight"] = torch.randn(width, inside, 3, 3).half() / inside
        state[f"features.{number}.bias"] = torch.zeros(width).half()
        inside = width
    save_file(state, folder / "vgg16_features.safetensors")
    made = network("vgg16_features", pretrained=True, head_width=8)
    weights = made.module.trunk.state_dict()
    assert set(weights) == set(state)
    torch.testing.assert_close(weights["features.28.weight"], state["features.28.weight"].float())
    assert (made.blueprint.mean, made.blueprint.std) == pytest.approx((0.449, 0.226))


def test_a_vit_is_loaded_at_another_size(folder):
    store(folder, "test_vit")
    made = network("test_vit", pretrained=True, image_size=64)
    assert made.module.eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


def test_the_input_of_the_header_is_honoured(folder):
    store(folder, "test_resnet", {"input": "RGB, x/127.5-1"})
    runner = make_runner(network("test_resnet", pretrained=True), tiny_experiment(), exclusive())
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    torch.testing.assert_close(runner.images(pixels), pixels / 127.5 - 1)


def test_without_a_header_the_input_is_that_of_the_hub(folder):
    store(folder, "test_resnet")
    cfg = timm.create_model("test_resnet").pretrained_cfg
    made = network("test_resnet", pretrained=True)
    assert (made.blueprint.mean, made.blueprint.std) == pytest.approx((np.mean(cfg["mean"]), np.mean(cfg["std"])))


def test_a_checkpoint_is_rebuilt_where_its_weight_file_is_not(folder):
    store(folder, "test_resnet", {"input": "RGB, x/127.5-1"})
    made = network("test_resnet", pretrained=True)
    saved = {"module": made.module.state_dict(), "network": asdict(made.blueprint)}
    (folder / "test_resnet.safetensors").unlink()
    again = rebuild(saved)
    assert again.blueprint == made.blueprint
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(features(again, x), features(made, x))


def test_the_given_mobilenet(real_data, monkeypatch):
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(real_data / "weights"))
    made = network("mobilenetv2_100", pretrained=True, image_size=96)
    assert (made.blueprint.mean, made.blueprint.std) == (0.5, 0.5)
    colour = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=0)
    stored = load_file(real_data / "weights" / "mobilenetv2_100.safetensors")
    colour.load_state_dict({k: v for k, v in stored.items() if not k.startswith("classifier")})
    grey = torch.randn(1, 1, 96, 96)
    with torch.inference_mode():
        expected = colour.eval().forward_features(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features(made, grey), expected, rtol=1e-3, atol=1e-3)
