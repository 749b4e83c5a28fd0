"""Convolutions on a CPU whose values are torch's but for the rounding of sums, in less time where torch loses some.

- Over few pixels, deep in a network, as one product of matrices (im2col; Chellapilla et al., IWFHR 2006): oneDNN's
  convolutions, and most of all their gradients of the weights in bf16, take up to thirty times as long there.
- Of one channel with stride 2 in bf16, as grey images enter a network: blocks of 2 x 2 pixels become four channels,
  for which oneDNN takes less time.

`benchmarks/convolution.py` measures both, layer by layer.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ALL_PASSES = 100_000
"""Weights of a layer for each pixel of its output, from which on all its passes are products."""
GRADIENT_IN_BF16 = 15_000
"""The same for the gradient of the weights alone, in bf16."""
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
    in_bf16 = weight.dtype == torch.bfloat16
    if in_bf16 and x.shape[1] == 1 and stride == (2, 2):
        return _of_blocks(x, weight, padding)
    share = weight.numel() / (height * width)
    if share < (GRADIENT_IN_BF16 if in_bf16 else ALL_PASSES):
        return None
    out: Tensor = _Convolution.apply(x, weight, stride, padding, share >= ALL_PASSES)
    return out


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
    """A convolution whose gradient of the weights is a product, and with `all_passes` its other passes too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, all_passes: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.shape = (stride, padding, all_passes)
        if not all_passes:
            return F.conv2d(x, weight, None, stride, padding)
        columns = _columns(x, weight, stride, padding)
        out = columns.flatten(0, 2) @ _as_matrix(weight).t()
        return out.view(*columns.shape[:3], -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, all_passes = ctx.shape
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            make = _gradient_of_input if all_passes else _gradient_of_input_by_onednn
            of_x = make(grad, x, weight, stride, padding)
        if ctx.needs_input_grad[1]:
            columns = _columns(x, weight, stride, padding).flatten(0, 2)
            product = _rows(grad).t() @ columns
            of_weight = product.view(len(weight), *weight.shape[2:], -1).permute(0, 3, 1, 2)
        return of_x, of_weight, None, None, None


def _columns(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """(N, C, H, W) to what each pixel of the output sees: (N, height, width, kernel height * kernel width * C)."""
    height, width = _size(x, weight, stride, padding)
    pixels = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding[1], padding[1], padding[0], padding[0]))
    tall, wide = weight.shape[2:]
    columns = x.new_empty(len(x), height, width, tall, wide, x.shape[1])
    for i in range(tall):
        for j in range(wide):
            columns[:, :, :, i, j] = _under(pixels, i, j, height, width, stride)
    return columns.flatten(3)


def _gradient_of_input(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    height, width = grad.shape[2:]
    tall, wide = weight.shape[2:]
    columns = (_rows(grad) @ _as_matrix(weight)).view(len(x), height, width, tall, wide, -1)
    padded = x.new_zeros(len(x), x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1], x.shape[1])
    for i in range(tall):
        for j in range(wide):
            _under(padded, i, j, height, width, stride).add_(columns[:, :, :, i, j])
    inside = padded[:, padding[0] : padding[0] + x.shape[2], padding[1] : padding[1] + x.shape[3]]
    return inside.permute(0, 3, 1, 2)


def _gradient_of_input_by_onednn(grad: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    which = [True, False, False]
    backward = torch.ops.aten.convolution_backward
    found: Tensor = backward(grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, which)[0]
    return found


def _under(pixels: Tensor, i: int, j: int, height: int, width: int, stride: Pair) -> Tensor:
    """The padded pixels (N, H, W, C) that the place (i, j) of the kernel meets: a view (N, height, width, C)."""
    rows = slice(i, i + stride[0] * (height - 1) + 1, stride[0])
    return pixels[:, rows, j : j + stride[1] * (width - 1) + 1 : stride[1]]


def _size(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair:
    """Height and width of the output."""
    height = (x.shape[2] + 2 * padding[0] - weight.shape[2]) // stride[0] + 1
    width = (x.shape[3] + 2 * padding[1] - weight.shape[3]) // stride[1] + 1
    return height, width


def _as_matrix(weight: Tensor) -> Tensor:
    """(M, C, height, width) to (M, height * width * C): a view, if the weight is in channels_last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _rows(images: Tensor) -> Tensor:
    """(N, C, H, W) to (N * H * W, C)."""
    return images.permute(0, 2, 3, 1).flatten(0, 2)


def _pair(sides: Any) -> Pair:
    """Of a module's `stride` or `padding`."""
    height, width = sides
    return height, width
