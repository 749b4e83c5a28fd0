"""Convolutions as products of matrices: the same values and gradients as torch's."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chestfold.core.config import Experiment
from chestfold.models import im2col
from chestfold.models.create import create
from chestfold.models.im2col import Im2colConv2d, use_im2col
from chestfold.models.runner import make_runner
from tests.tasks import exclusive

SHAPES = [  # kernel, stride, padding, side of the image
    ((1, 1), (1, 1), (0, 0), (4, 4)),
    ((1, 1), (2, 2), (0, 0), (5, 4)),
    ((3, 3), (1, 1), (1, 1), (2, 2)),
    ((3, 3), (2, 2), (1, 1), (5, 6)),
    ((3, 1), (2, 1), (0, 2), (6, 3)),
    ((4, 2), (3, 2), (2, 0), (5, 7)),
    ((7, 7), (2, 2), (3, 3), (4, 4)),
]


@pytest.mark.parametrize("kernel, stride, padding, side", SHAPES)
@pytest.mark.parametrize("all_passes", [True, False])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_its_values_and_gradients_are_those_of_the_convolution(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    side: tuple[int, int],
    all_passes: bool,
    memory_format: torch.memory_format,
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, *side, generator=generator, dtype=torch.float64).contiguous(memory_format=memory_format)
    weight = torch.randn(4, 5, *kernel, generator=generator, dtype=torch.float64).contiguous(
        memory_format=memory_format
    )
    expected, of_expected = values(x, weight, lambda x, weight: F.conv2d(x, weight, None, stride, padding))
    found, of_found = values(
        x, weight, lambda x, weight: im2col._Convolution.apply(x, weight, stride, padding, all_passes)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of_found, of_expected)


def values(x: Tensor, weight: Tensor, convolve: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The output, and the gradients of the image and of the weights of a sum that weighs each of its values."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = convolve(x, weight)
    share = torch.arange(out.numel(), dtype=out.dtype).cos().view(out.shape)
    return out.detach(), list(torch.autograd.grad((out * share).sum(), [x, weight]))


def layer(**how: Any) -> nn.Conv2d:
    """Of a kernel of 3; at 2 x 2 pixels it has 110,592 weights a pixel, and at 4 x 4 a quarter of it."""
    torch.manual_seed(0)
    return nn.Conv2d(96, 512, 3, **{"padding": 1} | how)


def as_product(plain: nn.Conv2d) -> nn.Conv2d:
    other = deepcopy(plain)
    use_im2col(other)
    return other


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether all passes were products, of each convolution that was one."""
    seen = []
    apply = im2col._Convolution.apply

    def note(*arguments: Any) -> Any:
        seen.append(arguments[-1])
        return apply(*arguments)

    monkeypatch.setattr(im2col._Convolution, "apply", note)
    return seen


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_keeps_its_parameters_and_gives_what_it_gave(bias: bool, products: list[bool]) -> None:
    plain = layer(bias=bias)
    other = as_product(plain)
    assert type(other) is Im2colConv2d
    assert list(other.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 96, 2, 2)
    torch.testing.assert_close(other(x), plain(x))
    other(x).square().sum().backward()
    plain(x).square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(other.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-3)
    assert products == [True, True]


def test_where_pixels_are_many_nothing_changes(products: list[bool]) -> None:
    plain = layer()
    x = torch.randn(2, 96, 4, 4)
    assert torch.equal(as_product(plain)(x), plain(x))
    assert products == []


def test_in_bf16_the_gradient_of_the_weights_is_a_product_earlier(products: list[bool]) -> None:
    plain = layer()
    x = torch.randn(2, 96, 4, 4)
    gradients = []
    for module in (plain, as_product(plain)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = module(x)
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
        assert module.weight.grad is not None
        gradients.append(module.weight.grad)
    assert products == [False]
    assert (gradients[1] - gradients[0]).norm() < 0.01 * gradients[0].norm()


def test_only_the_gradients_that_are_wanted_are_computed(products: list[bool]) -> None:
    frozen = as_product(layer()).requires_grad_(False)
    x = torch.randn(2, 96, 2, 2, requires_grad=True)
    frozen(x).sum().backward()
    assert frozen.weight.grad is None
    free = as_product(layer())
    free(x.detach()).sum().backward()
    assert free.weight.grad is not None
    assert products == [True, True]


def test_a_pass_has_the_same_bytes_each_time(products: list[bool]) -> None:
    module = as_product(layer())
    x = torch.randn(4, 96, 2, 2)
    seen = []
    for _ in range(2):
        module.zero_grad()
        out = module(x)
        out.square().sum().backward()
        assert module.weight.grad is not None
        seen.append((out, module.weight.grad))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])
    assert products == [True, True]


@pytest.mark.parametrize("how", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "reflect"}, {"padding": "same"}])
def test_layers_of_other_kinds_stay_as_they_are(how: dict[str, Any]) -> None:
    assert type(as_product(layer(**how))) is nn.Conv2d


def test_a_subclass_stays_as_it_is() -> None:
    class Standardised(nn.Conv2d):
        """With a forward pass of its own."""

    module = Standardised(96, 512, 3)
    use_im2col(module)
    assert type(module) is Standardised


@pytest.mark.parametrize("compiled", [False, True])
def test_a_runner_on_a_cpu_uses_it_unless_torch_compiles(compiled: bool) -> None:
    exp = Experiment(data="phantom", image_size=64, backbone="resnet18", pretrained=False, compile=compiled)
    runner = make_runner(create(exp, 2), exp, exclusive())
    classes = {type(layer) for layer in runner.module.modules() if isinstance(layer, nn.Conv2d)}
    assert classes == {nn.Conv2d if compiled else Im2colConv2d}
