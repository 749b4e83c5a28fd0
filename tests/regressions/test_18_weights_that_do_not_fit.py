"""Bug: weights were loaded with strict=False, and layers that did not fit kept their random start.

Here every layer must be in the file, or the run stops; only the classifier is new, and it starts at zero.
"""

import shutil

import pytest
import torch
from conftest import tiny_experiment
from safetensors.torch import save_file

from chestfold.core import checkpoint
from chestfold.core.errors import InputError
from chestfold.models import create
from chestfold.models.timm_import import timm


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv("CHESTFOLD_WEIGHTS", str(tmp_path))
    torch.manual_seed(5)
    return timm.create_model("test_resnet").state_dict()


def load(weights: dict, tmp_path):
    save_file(weights, tmp_path / "test_resnet.safetensors")
    return create(tiny_experiment(pretrained=True), 2).module


def test_fitting_weights_are_loaded(weights, tmp_path):
    module = load(weights, tmp_path)
    for name, value in module.state_dict().items():
        if name == "conv1.0.weight":
            torch.testing.assert_close(value, weights[name].sum(dim=1, keepdim=True))  # the colours in one channel
        elif not name.startswith("fc."):
            assert torch.equal(value, weights[name]), name
    assert not module.get_classifier().weight.any()


@pytest.mark.parametrize("rows", [0, 5])
def test_a_classifier_of_another_size_or_none_is_no_reason_to_refuse(weights, tmp_path, rows):
    for name in ("fc.weight", "fc.bias"):
        weights[name] = weights[name][:rows].clone()
        if not rows:
            del weights[name]
    module = load(weights, tmp_path)
    assert torch.equal(module.state_dict()["layer4.0.conv1.weight"], weights["layer4.0.conv1.weight"])
    assert module.get_classifier().weight.shape[0] == 2


@pytest.mark.parametrize("layer", ["layer2.0.conv1.weight", "conv1.1.running_mean", "conv1.0.weight"])
def test_a_missing_layer_is_refused(weights, tmp_path, layer):
    del weights[layer]
    with pytest.raises(InputError, match=r"test_resnet\.safetensors does not fit test_resnet"):
        load(weights, tmp_path)


def test_renamed_layers_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match=r"test_resnet\.safetensors does not fit test_resnet"):
        load({f"module.{name}": value for name, value in weights.items()}, tmp_path)


def test_a_layer_of_another_shape_is_refused(weights, tmp_path):
    weights["layer3.0.conv1.weight"] = weights["layer3.0.conv1.weight"][:-1].contiguous()
    with pytest.raises(InputError, match=r"test_resnet\.safetensors does not fit test_resnet"):
        load(weights, tmp_path)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_checkpoint_without_a_layer_is_not_used(trained, _trained_once, name):
    folder = trained.runs / "exp100" / "fold0"
    shutil.copy(_trained_once.runs / "exp100" / "fold0" / "last.ckpt", folder)
    (folder / "manifest.json").unlink()
    state = checkpoint.load(folder / name)
    del state["module"]["layer2.0.conv1.weight"]
    checkpoint.save(folder / name, state)
    with pytest.raises((InputError, RuntimeError), match=r"layer2\.0\.conv1\.weight"):
        trained.run(tiny_experiment())
