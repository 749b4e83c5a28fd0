"""Convolutions in other ways: the same values and gradients as torch's."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tasks import exclusive
from torch import Tensor, nn

from chestfold.core.config import Experiment
from chestfold.models import fast_convolution
from chestfold.models.create import create
from chestfold.models.fast_convolution import FastConv2d, Pair, use_fast_convolutions
from chestfold.models.runner import make_runner

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
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    side: Pair,
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
        x, weight, lambda x, weight: fast_convolution._Convolution.apply(x, weight, stride, padding, all_passes)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of_found, of_expected)


def values(x: Tensor, weight: Tensor, convolve: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The output, and the gradients of the image and of the weights of a sum that weighs each of its values."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = convolve(x, weight)
    share = torch.arange(out.numel(), dtype=out.dtype).cos().view(out.shape)
    return out.detach(), list(torch.autograd.grad((out * share).sum(), [x, weight]))


@pytest.mark.parametrize("kernel, padding", [((7, 7), (3, 3)), ((3, 3), (1, 1)), ((4, 5), (0, 2)), ((2, 1), (1, 0))])
@pytest.mark.parametrize("side", [(7, 8), (12, 9), (64, 64)])
def test_grey_images_in_blocks_give_the_values_and_gradients_of_the_convolution(
    kernel: Pair, padding: Pair, side: Pair
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, *side, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 1, *kernel, generator=generator, dtype=torch.float64)
    expected, of_expected = values(x, weight, lambda x, weight: F.conv2d(x, weight, None, 2, padding))
    found, of_found = values(x, weight, lambda x, weight: fast_convolution._of_blocks(x, weight, padding))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(of_found, of_expected)


@pytest.mark.parametrize(
    "channels, stride, precision, kernel, trained, in_blocks",
    [
        (1, 2, "bf16", (7, 7), True, True),
        (1, 2, "bf16", (7, 7), False, False),
        (1, 2, "bf16", (7, 3), True, False),
        (1, 2, "fp32", (7, 7), True, False),
        (3, 2, "bf16", (7, 7), True, False),
        (1, 1, "bf16", (7, 7), True, False),
    ],
)
def test_blocks_are_for_training_with_grey_images_stride_2_and_a_large_kernel_in_bf16(
    channels: int,
    stride: int,
    precision: str,
    kernel: Pair,
    trained: bool,
    in_blocks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    of_blocks = fast_convolution._of_blocks

    def note(x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
        asked.append(x.shape)
        return of_blocks(x, weight, padding)

    monkeypatch.setattr(fast_convolution, "_of_blocks", note)
    plain = nn.Conv2d(channels, 8, kernel, stride, 3)
    x = torch.randn(2, channels, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"), torch.set_grad_enabled(trained):
        expected = plain(x)
        found = fast(plain)(x)
    assert bool(asked) == in_blocks
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.005)


def test_frozen_weights_are_not_put_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(fast_convolution, "_of_blocks")
    frozen = fast(nn.Conv2d(1, 8, 7, 2, 3)).requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert frozen(torch.randn(4, 1, 32, 32)).shape == (4, 8, 16, 16)


def layer(**how: Any) -> nn.Conv2d:
    """Of a kernel of 3; for each of 2 x 2 pixels it has 110,592 weights, of 4 x 4 pixels a quarter of it."""
    torch.manual_seed(0)
    return nn.Conv2d(96, 512, 3, **{"padding": 1} | how)


def fast(plain: nn.Conv2d) -> nn.Conv2d:
    other = deepcopy(plain)
    use_fast_convolutions(other)
    return other


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether all passes were products, of each convolution that was one."""
    seen = []
    apply = fast_convolution._Convolution.apply

    def note(*arguments: Any) -> Any:
        seen.append(arguments[-1])
        return apply(*arguments)

    monkeypatch.setattr(fast_convolution._Convolution, "apply", note)
    return seen


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_keeps_its_parameters_and_gives_what_it_gave(bias: bool, products: list[bool]) -> None:
    plain = layer(bias=bias)
    other = fast(plain)
    assert type(other) is FastConv2d
    assert list(other.state_dict()) == list(plain.state_dict())
    x = torch.randn(4, 96, 2, 2)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), plain(x))
    other(x).square().sum().backward()
    plain(x).square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(other.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-3)
    assert products == [True, True]


@pytest.mark.parametrize("images", [1, 3, 4])
def test_products_are_for_four_images_at_least(images: int, products: list[bool]) -> None:
    plain = layer()
    x = torch.randn(images, 96, 2, 2)
    torch.testing.assert_close(fast(plain)(x), plain(x))
    assert products == ([True] if images == 4 else [])


def test_where_pixels_are_many_nothing_changes(products: list[bool]) -> None:
    plain = layer()
    x = torch.randn(4, 96, 8, 8)
    assert torch.equal(fast(plain)(x), plain(x))
    assert products == []


def test_in_bf16_the_gradient_of_the_weights_is_a_product_earlier(products: list[bool]) -> None:
    plain = layer()
    x = torch.randn(4, 96, 4, 4)
    gradients = []
    for module in (plain, fast(plain)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = module(x)
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
        assert module.weight.grad is not None
        gradients.append(module.weight.grad)
    assert products == [False]
    assert (gradients[1] - gradients[0]).norm() < 0.01 * gradients[0].norm()


def test_only_the_gradients_that_are_wanted_are_computed(products: list[bool]) -> None:
    frozen = fast(layer()).requires_grad_(False)
    x = torch.randn(4, 96, 2, 2, requires_grad=True)
    frozen(x).sum().backward()
    assert frozen.weight.grad is None
    free = fast(layer())
    free(x.detach()).sum().backward()
    assert free.weight.grad is not None
    assert products == [True, True]


def test_a_pass_has_the_same_bytes_each_time(products: list[bool]) -> None:
    module = fast(layer())
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
    assert type(fast(layer(**how))) is nn.Conv2d


def test_a_subclass_stays_as_it_is() -> None:
    class Standardised(nn.Conv2d):
        """With a forward pass of its own."""

    module = Standardised(96, 512, 3)
    use_fast_convolutions(module)
    assert type(module) is Standardised


@pytest.mark.parametrize("compiled", [False, True])
def test_a_runner_on_a_cpu_uses_it_unless_torch_compiles(compiled: bool) -> None:
    exp = Experiment(data="phantom", image_size=64, backbone="resnet18", pretrained=False, compile=compiled)
    runner = make_runner(create(exp, 2), exp, exclusive())
    classes = {type(layer) for layer in runner.module.modules() if isinstance(layer, nn.Conv2d)}
    assert classes == {nn.Conv2d if compiled else FastConv2d}
