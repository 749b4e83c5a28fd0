"""The layer of a network that a heat map is taken from: found per family, or named by the user.

A map wants the last layer that still knows where something is (Selvaraju et al., ICCV 2017, section 3). timm names the
ends of a network's stages in `feature_info`; transformers give rows of tokens or put the channels last, and their
output is turned into maps here.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from chestfold.core.errors import InputError
from chestfold.models.cnn import FiveBlockCNN
from chestfold.models.efficientnet import EfficientNet
from chestfold.models.head import WithHead

OWN: dict[type[nn.Module], Callable[[Any], list[str]]] = {
    FiveBlockCNN: lambda trunk: [f"blocks.{n}.2" for n in range(len(trunk.blocks))],
    EfficientNet: lambda trunk: [*(f"blocks.{n}" for n in range(len(trunk.blocks))), "top"],
}
"""Our own networks that have better layers than the ends of stages in `feature_info`: before a pooling, or every block
and the last convolution."""
FEWEST = 6
"""Cells a side that a map must have where the layer is chosen here: a lung is about a third of a chest's width, and
with fewer than two cells across it no map tells inside from outside. At 224 px that is the last stage of most networks
(7 x 7), at 64 px the one of stride 8 (8 x 8, where the last has 2 x 2)."""
LISTED = 40
"""Layers named in a complaint at most."""

Reading = tuple[tuple[int, int], Callable[[Tensor], Tensor]]
"""How a layer's output is read: rows and columns of its maps, and what makes maps (B, C, rows, columns) of it."""


@dataclass(frozen=True)
class Layer:
    """A layer whose output can be read as maps. `grid`: their rows and columns for the images at hand."""

    name: str
    module: nn.Module
    grid: tuple[int, int]
    to_maps: Callable[[Tensor], Tensor]


def find_layer(module: nn.Module, images: Tensor, name: str = "") -> Layer:
    """The layer `name`, or the family's last one whose map has at least `FEWEST` cells a side.

    Of a network that does not name the ends of its stages every layer is one.

    Args:
        module: a network of the project, with or without a `WithHead`.
        images: normalised (B, C, H, W); one is enough, it tells the sizes of all outputs.
        name: as in `module.named_modules()`; empty: chosen by family.

    Raises:
        InputError: no such layer, or no output can be read as maps; lists the layers.
    """
    trunk = module.trunk if isinstance(module, WithHead) else module
    prefix = "trunk." if isinstance(module, WithHead) else ""
    readings: dict[str, Reading] = {}
    for layer, shape in _output_shapes(module, images).items():
        reading = _reading(trunk, shape)
        if reading:
            readings[layer] = reading
    wanted = name
    if not name:
        stages = [_before_pooling(module, prefix + stage) for stage in _stages(trunk)] or list(readings)
        wanted = _last_fine([stage for stage in stages if stage in readings], readings)
    if wanted not in readings:
        raise InputError(_complaint(name, readings, depth=prefix.count(".") + 2))
    grid, to_maps = readings[wanted]
    return Layer(wanted, module.get_submodule(wanted), grid, to_maps)


def _stages(trunk: Any) -> list[str]:
    """The ends of a network's stages, from its first to its last."""
    if type(trunk) in OWN:
        return OWN[type(trunk)](trunk)
    ends = [stage["module"] for stage in getattr(trunk, "feature_info", None) or []]
    if hasattr(trunk, "num_prefix_tokens"):
        # behind the last block only the class token is used: the other tokens have no gradient there
        return [f"{name}.norm1" for name in ends]
    return ends


def _before_pooling(module: nn.Module, name: str) -> str:
    """VGG's stages end in a pooling, which halves the map and adds nothing."""
    parent, _, number = name.rpartition(".")
    if isinstance(module.get_submodule(name), nn.MaxPool2d) and number.isdigit() and int(number) > 0:
        return f"{parent}.{int(number) - 1}"
    return name


def _last_fine(stages: list[str], readings: dict[str, Reading]) -> str:
    """The last stage with `FEWEST` cells a side, else the last of the finest; "" where there is none."""
    cells = {stage: max(readings[stage][0]) for stage in stages}
    enough = min(FEWEST, max(cells.values(), default=0))
    return next((stage for stage in reversed(stages) if cells[stage] >= enough), "")


def _output_shapes(module: nn.Module, images: Tensor) -> dict[str, torch.Size]:
    """Layer -> shape of its output for the first of `images`; without layers that are used several times."""
    outputs: dict[str, list[Any]] = {}
    handles = []
    for name, part in module.named_modules():
        found = outputs.setdefault(name, [])
        handles.append(part.register_forward_hook(lambda _module, _inputs, output, found=found: found.append(output)))
    was_training = module.training
    try:
        with torch.no_grad():
            module.eval()(images[:1])
    finally:
        module.train(was_training)
        for handle in handles:
            handle.remove()
    del outputs[""]
    return {name: out[0].shape for name, out in outputs.items() if len(out) == 1 and isinstance(out[0], Tensor)}


def _reading(trunk: Any, shape: torch.Size) -> Reading | None:
    """How an output of this shape is read; None where it has no places or only one."""
    if len(shape) == 4:
        order = (0, 3, 1, 2) if _channels_last(trunk, shape) else (0, 1, 2, 3)
        grid = (shape[order[2]], shape[order[3]])
        return (grid, lambda maps: maps.permute(order)) if max(grid) > 1 else None
    if len(shape) == 3:
        extra = int(getattr(trunk, "num_prefix_tokens", 0))
        side = math.isqrt(max(0, shape[1] - extra))
        if side > 1 and side * side + extra == shape[1]:
            return (side, side), lambda tokens: _from_tokens(tokens, extra, side)
    return None


def _channels_last(trunk: Any, shape: torch.Size) -> bool:
    """Images are square, so the two equal sizes are rows and columns; where all three are, the family says it."""
    _, a, b, c = shape
    if (a == b) != (b == c):
        return a == b
    return str(getattr(trunk, "output_fmt", "NCHW")).endswith("NHWC")


def _from_tokens(tokens: Tensor, extra: int, side: int) -> Tensor:
    """(B, extra + side * side, C) to (B, C, side, side): class and register tokens come first and have no place."""
    return tokens[:, extra:].transpose(1, 2).unflatten(2, (side, side))


def _complaint(name: str, readings: dict[str, Reading], depth: int) -> str:
    """Which layers there are: those near the name first, then the network's parts, at most `depth` levels deep."""
    near = difflib.get_close_matches(name, readings, n=LISTED // 4) if name else []
    coarse = [layer for layer in readings if layer.count(".") < depth and layer not in near]
    sizes = {layer: f"{rows} x {columns}" for layer, ((rows, columns), _) in readings.items()}
    listed = [f"{layer} ({sizes[layer]})" for layer in near + coarse[-LISTED:]]
    problem = f"no layer {name!r} with maps" if name else "no layer for heat maps is known for this network"
    return (
        f"{problem}; give --layer one of: {', '.join(listed) or 'none: no layer of it has maps of more than one cell'}"
    )
