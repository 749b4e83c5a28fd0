"""Convolutions on a CPU whose values are torch's but for the rounding of sums, in less time where torch loses some.

- Over few pixels, deep in a network, as products of matrices, one for each place of the kernel: oneDNN's convolutions,
  and most of all their gradients of the weights in bf16, take up to twenty times as long there.
- In training, of one channel with a large kernel and stride 2 in bf16, as grey images enter a network: blocks of 2 x 2
  pixels become four channels, for which oneDNN's gradient takes less time.

`benchmarks/convolution.py` measures both, layer by layer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ALL_PASSES = {torch.float32: 30_000, torch.bfloat16: 100_000}
"""Weights of a layer for each pixel of its output, from which on all its passes are products, by precision."""
GRADIENT = {torch.float32: 30_000, torch.bfloat16: 15_000}
"""The same for the gradient of the weights alone."""
FEWEST_IMAGES = 4
"""Of a batch that products are made for: of one image they take longer than torch's own convolution."""
LARGE_KERNEL = 7
"""A side of kernels, from which on blocks take less time; with 3 they take more."""
Pair = tuple[int, int]
"""Of the height and of the width."""


class FastConv2d(nn.Conv2d):
    """A convolution that is computed in the fastest way; its parameters are those of `nn.Conv2d`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            input, weight = input.to(dtype), weight.to(dtype)
        stride, padding = _pair(self.stride), _pair(self.padding)
        out = _by_another_way(input, weight, stride, padding)
        if out is None:
            return super()._conv_forward(input, weight, bias)
        return out if bias is None else out + bias.to(out.dtype).view(1, -1, 1, 1)


def use_fast_convolutions(module: nn.Module) -> None:
    """Let the convolutions of `module`, which is on a CPU, be computed in the fastest way.

    Those of other classes than `nn.Conv2d` itself, in groups, dilated, or padded by other values than 0, stay as they
    are.
    """
    for layer in module.modules():
        plain = type(layer) is nn.Conv2d and layer.groups == 1 and layer.dilation == (1, 1)
        if plain and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = FastConv2d


def _by_another_way(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor | None:
    """The convolution, without a bias; None where torch's own is the fastest."""
    height, width = _size(x, weight, stride, padding)
    if min(height, width) < 1:
        return None  # it says what is wrong
    if _gains_by_blocks(x, weight, stride):
        return _of_blocks(x, weight, padding)
    share = weight.numel() / (height * width)
    if share < GRADIENT.get(x.dtype, math.inf) or len(x) < FEWEST_IMAGES:
        return None
    out: Tensor = _Convolution.apply(x, weight, stride, padding, share >= ALL_PASSES[x.dtype])
    return out


def _gains_by_blocks(x: Tensor, weight: Tensor, stride: Pair) -> bool:
    """Whether blocks of 2 x 2 pixels take less time: their gradient does, and a prediction has none."""
    trained = torch.is_grad_enabled() and weight.requires_grad
    of_grey = x.shape[1] == 1 and x.dtype == torch.bfloat16
    return trained and of_grey and stride == (2, 2) and min(weight.shape[2:]) >= LARGE_KERNEL


def _of_blocks(x: Tensor, weight: Tensor, padding: Pair) -> Tensor:
    """Stride 2, one channel: image and kernel in blocks of 2 x 2, four channels and half the size, with stride 1."""
    missing_below = weight.shape[2] % 2
    missing_right = weight.shape[3] % 2
    kernel = F.pad(weight, (0, missing_right, 0, missing_below))
    height, width = _size(x, weight, (2, 2), padding)
    below = 2 * (height - 1) + kernel.shape[2] - x.shape[2] - padding[0]  # below 0: a row that no kernel reaches
    right = 2 * (width - 1) + kernel.shape[3] - x.shape[3] - padding[1]
    pixels = F.pad(x, (padding[1], right, padding[0], below))
    return F.conv2d(_in_blocks(pixels), _in_blocks(kernel))


def _in_blocks(x: Tensor) -> Tensor:
    return F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)


class _Convolution(torch.autograd.Function):
    """A convolution whose gradient of the weights is made of products, and with `all_passes` its other passes too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, all_passes: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = (stride, padding, all_passes)
        if all_passes:
            return _output(x, weight, stride, padding)
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, all_passes = ctx.shape
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            gradient_of_input = _gradient_of_input if all_passes else _gradient_of_input_by_onednn
            of_x = gradient_of_input(grad, x, weight, stride, padding)
        if ctx.needs_input_grad[1]:
            of_weight = _gradient_of_weight(grad, x, weight, stride, padding)
        return of_x, of_weight, None, None, None


@dataclass(frozen=True)
class _Place:
    """A place of the kernel: which pixels of the output (N, height, width, M) meet which of the input (N, H, W, C)
    there, without the padding."""

    row: int
    column: int
    output: tuple[slice, ...]
    input: tuple[slice, ...]


def _places(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Iterator[_Place]:
    """Those at which any pixels meet."""
    height, width = _size(x, weight, stride, padding)
    for row in range(weight.shape[2]):
        down = _meeting(row, stride[0], padding[0], height, x.shape[2])
        for column in range(weight.shape[3]):
            right = _meeting(column, stride[1], padding[1], width, x.shape[3])
            if down and right:
                everyone = slice(None)
                yield _Place(row, column, (everyone, down[0], right[0]), (everyone, down[1], right[1]))


def _meeting(place: int, stride: int, padding: int, outputs: int, pixels: int) -> tuple[slice, slice] | None:
    """Along an axis: which of the `outputs` meet which of the `pixels` at a place of the kernel; None: none does."""
    first = max(0, math.ceil((padding - place) / stride))
    last = min(outputs - 1, (pixels - 1 + padding - place) // stride)
    if last < first:
        return None
    start = first * stride + place - padding
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


def _output(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    height, width = _size(x, weight, stride, padding)
    pixels = x.permute(0, 2, 3, 1)
    out = _sum_of(x, (len(x), height, width, len(weight)))
    for place in _places(x, weight, stride, padding):
        out[place.output] += _product(pixels[place.input], weight[:, :, place.row, place.column].t())
    return out.to(x.dtype).permute(0, 3, 1, 2)


def _gradient_of_input(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    of_output = grad.permute(0, 2, 3, 1)
    of_input = _sum_of(x, x.permute(0, 2, 3, 1).shape)
    for place in _places(x, weight, stride, padding):
        of_input[place.input] += _product(of_output[place.output], weight[:, :, place.row, place.column])
    return of_input.to(x.dtype).permute(0, 3, 1, 2)


def _gradient_of_weight(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    pixels, of_output = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    of_weight = torch.zeros_like(weight, memory_format=torch.channels_last)
    for place in _places(x, weight, stride, padding):
        left, right = of_output[place.output].flatten(0, 2), pixels[place.input].flatten(0, 2)
        of_weight[:, :, place.row, place.column] = left.t() @ right
    return of_weight


def _product(pixels: Tensor, matrix: Tensor) -> Tensor:
    """(N, H, W, C) and (C, M): one product, where `@` would make one of each image when no gradient is wanted."""
    return (pixels.flatten(0, 2) @ matrix).view(*pixels.shape[:3], -1)


def _sum_of(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros to which products are added: in fp32 at least."""
    return like.new_zeros(shape, dtype=torch.promote_types(like.dtype, torch.float32))


def _gradient_of_input_by_onednn(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    which = [True, False, False]
    backward = torch.ops.aten.convolution_backward
    found: Tensor = backward(grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, which)[0]
    return found


def _size(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair:
    """Height and width of the output."""
    height = _length(x.shape[2], weight.shape[2], stride[0], padding[0])
    width = _length(x.shape[3], weight.shape[3], stride[1], padding[1])
    return height, width


def _length(pixels: int, kernel: int, stride: int, padding: int) -> int:
    """Of the output, along an axis."""
    steps = (pixels + 2 * padding - kernel) // stride
    return steps + 1


def _pair(sides: Any) -> Pair:
    """Of a module's `stride` or `padding`."""
    height, width = sides
    return height, width
