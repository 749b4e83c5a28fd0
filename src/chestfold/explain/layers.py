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
"""Our own networks have no `feature_info`: class -> its blocks in order, each before its pooling."""
FEWEST = 6
"""Cells a side that a map must have where the layer is chosen here: a lung is about a third of a chest's width, and
with fewer than two cells across it no map tells inside from outside. At 224 px that is the last stage of most networks
(7 x 7), at 64 px the one of stride 8 (8 x 8, where the last has 2 x 2)."""
LISTED = 40
"""Layers named in a complaint at most."""


@dataclass(frozen=True)
class Layer:
    """A layer whose output can be read as maps. `grid`: their rows and columns for the images at hand."""

    name: str
    module: nn.Module
    grid: tuple[int, int]
    to_maps: Callable[[Tensor], Tensor]
    """Output of the module to maps (B, C, rows, columns)."""


def find_layer(module: nn.Module, images: Tensor, name: str = "") -> Layer:
    """The layer called `name`, or the family's last one whose map has at least `FEWEST` cells a side.

    Args:
        module: a network of the project, with or without a `WithHead`.
        images: normalised (B, C, H, W); one is enough, it tells the sizes of all outputs.
        name: as in `module.named_modules()`; empty: chosen by family.

    Raises:
        InputError: no such layer, its output cannot be read as maps, or the family is not known; lists the layers.
    """
    outputs = _outputs(module, images)
    known = {layer: found for layer, shape in outputs.items() if (found := _reading(module, shape)) is not None}
    wanted = name or _default_name(module, {layer: max(grid) for layer, (grid, _) in known.items()})
    if wanted not in known:
        raise InputError(_complaint(wanted, name, module, known))
    grid, to_maps = known[wanted]
    return Layer(wanted, module.get_submodule(wanted), grid, to_maps)


def _trunk(module: nn.Module) -> tuple[Any, str]:
    return (module.trunk, "trunk.") if isinstance(module, WithHead) else (module, "")


def _default_name(module: nn.Module, cells: dict[str, int]) -> str:
    """The last candidate with `FEWEST` cells, else the finest of them; "" where there is none. `cells`: a side."""
    candidates = [name for name in _candidates(module) if name in cells]
    fine = [name for name in candidates if cells[name] >= FEWEST]
    return fine[-1] if fine else max(reversed(candidates), key=lambda name: cells[name], default="")


def _candidates(module: nn.Module) -> list[str]:
    """The ends of a network's stages, from its first to its last."""
    trunk, prefix = _trunk(module)
    if type(trunk) in OWN:
        return [prefix + name for name in OWN[type(trunk)](trunk)]
    info: Any = getattr(trunk, "feature_info", None)
    ends = [prefix + stage["module"] for stage in info] if info else []
    if hasattr(trunk, "num_prefix_tokens"):
        # behind the last block only the class token is read: there the other tokens have no gradient
        return [f"{name}.norm1" for name in ends]
    return [_before_pooling(module, name) for name in ends]


def _before_pooling(module: nn.Module, name: str) -> str:
    """VGG's stages end in a pooling, which halves the map and adds nothing."""
    parent, _, number = name.rpartition(".")
    if isinstance(module.get_submodule(name), nn.MaxPool2d) and number.isdigit() and int(number) > 0:
        return f"{parent}.{int(number) - 1}"
    return name


def _outputs(module: nn.Module, images: Tensor) -> dict[str, torch.Size]:
    """Layer -> shape of its output for the first of `images`; of a layer that is called several times, none."""
    shapes: dict[str, list[Any]] = {}
    handles = []
    for name, part in module.named_modules():
        shapes[name] = []
        handles.append(part.register_forward_hook(lambda _m, _i, out, seen=shapes[name]: seen.append(out)))
    was = module.training
    try:
        with torch.no_grad():
            module.eval()(images[:1])
    finally:
        module.train(was)
        for handle in handles:
            handle.remove()
    return {n: s[0].shape for n, s in shapes.items() if n and len(s) == 1 and isinstance(s[0], Tensor)}


def _reading(module: nn.Module, shape: torch.Size) -> tuple[tuple[int, int], Callable[[Tensor], Tensor]] | None:
    """Grid and reading of an output of this shape; None where it has no places or only one."""
    trunk, _ = _trunk(module)
    if len(shape) == 4:
        last = _channels_last(trunk, shape)
        grid = (shape[1], shape[2]) if last else (shape[2], shape[3])
        return (grid, _from_channels_last if last else _as_it_is) if max(grid) > 1 else None
    if len(shape) == 3:
        extra = int(getattr(trunk, "num_prefix_tokens", 0))
        side = math.isqrt(max(0, shape[1] - extra))
        if side > 1 and side * side + extra == shape[1]:
            return (side, side), lambda tokens: _from_tokens(tokens, extra, side)
    return None


def _channels_last(trunk: Any, shape: torch.Size) -> bool:
    """Images are square, so the two equal sizes are rows and columns; where all three are, the family says it."""
    _, a, b, c = shape
    if a == b != c:
        return True
    if b == c != a:
        return False
    return str(getattr(trunk, "output_fmt", "NCHW")).endswith("NHWC")


def _as_it_is(maps: Tensor) -> Tensor:
    return maps


def _from_channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


def _from_tokens(tokens: Tensor, extra: int, side: int) -> Tensor:
    """(B, extra + side * side, C) to (B, C, side, side): class and register tokens stand first and have no place."""
    return tokens[:, extra:].transpose(1, 2).unflatten(2, (side, side))


def _complaint(wanted: str, given: str, module: nn.Module, known: dict[str, Any]) -> str:
    """Which layers there are: those near the name first, else the coarse structure of the network."""
    near = difflib.get_close_matches(wanted, known, n=LISTED // 4) if given else []
    depth = 2 + (len(_trunk(module)[1]) > 0)
    coarse = [name for name in known if name.count(".") < depth and name not in near]
    listed = [f"{n} ({known[n][0][0]} x {known[n][0][1]})" for n in (near + coarse[-LISTED:])]
    text = f"no layer {given!r} with maps" if given else "no layer for heat maps is known for this network"
    return f"{text}; give --layer one of: {', '.join(listed) or 'none: no layer of it has maps of more than one cell'}"
