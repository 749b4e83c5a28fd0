"""Gradient checkpointing keeps less between the two passes, and changes no weight and no statistic."""

import pytest
import torch
from conftest import tiny_experiment

from chestfold.core import checkpoint
from chestfold.core.errors import InputError
from chestfold.models import create

FAMILIES = ["test_resnet", "test_efficientnet", "test_vit", "densenet121"]


def weights(project, name: str, **settings) -> dict[str, torch.Tensor]:
    exp = tiny_experiment(max_steps=3, precision="fp32", **settings)
    project.run(exp, "--fold", "0", name=name)
    return checkpoint.load_weights(project.runs / name / "fold0" / "last.ckpt")["module"]


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "test_resnet"},
        {"backbone": "test_efficientnet", "drop_rate": 0.5},
        {"backbone": "test_vit", "head_width": 8},
        {"backbone": "test_resnet", "ema_decay": 0.5, "grad_accum_steps": 2},
    ],
)
def test_the_final_weights_and_statistics_are_those_without_it(project, settings):
    kept = weights(project, "exp100", **settings)
    computed = weights(project, "exp101", **settings, gradient_checkpointing=True)
    assert kept.keys() == computed.keys()
    assert [name for name, value in kept.items() if not torch.equal(value, computed[name])] == []


def bytes_kept(backbone: str, **settings) -> int:
    """What a forward pass keeps for the backward pass, without the weights."""
    torch.manual_seed(0)
    module = create(tiny_experiment(backbone=backbone, **settings), 2).module
    own = {tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = module(torch.randn(4, 1, 32, 32)).sum()
    total = sum(kept.values())
    loss.backward()
    return total


@pytest.mark.parametrize("backbone", FAMILIES)
def test_less_is_kept_for_the_backward_pass(backbone):
    assert bytes_kept(backbone, gradient_checkpointing=True) < 0.8 * bytes_kept(backbone)


def test_the_momentum_of_a_norm_is_what_it_was_after_a_step():
    module = create(tiny_experiment(backbone="test_resnet", gradient_checkpointing=True), 2).module
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    module(torch.randn(4, 1, 32, 32)).sum().backward()
    assert norms and [norm.momentum for norm in norms] == before
    assert {int(norm.num_batches_tracked) for norm in norms} == {1}


@pytest.mark.parametrize("backbone", ["five_block_cnn", "vgg11", "own_efficientnet_b0"])
def test_a_network_that_cannot_do_it_is_refused(backbone):
    sentence = f"^gradient_checkpointing: {backbone} cannot do it; leave it at false$"
    with torch.device("meta"), pytest.raises(InputError, match=sentence):
        create(tiny_experiment(backbone=backbone, gradient_checkpointing=True), 2)


def test_it_is_not_combined_with_compile():
    with pytest.raises(InputError, match="compile and gradient_checkpointing: choose one of the two"):
        tiny_experiment(compile=True, gradient_checkpointing=True)
