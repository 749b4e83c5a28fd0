"""Convolutions in the ways of models/fast_convolution.py against torch's own, on a CPU.

    python benchmarks/convolution.py [--batch 64] [--rounds 10] [--quick]

Prints a JSON line a layer and precision: milliseconds of one forward and backward pass of a batch, of the module before
and after `use_fast_convolutions`, measured in turn, and their ratio; then the same of a training step of whole
networks, with torch's AdamW before, and ours, which copies no weights, after. Layers that no other way is meant for are
computed the same way twice: their ratio is 1.
"""

import argparse
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from chestfold.core.config import Experiment
from chestfold.core.console import say
from chestfold.core.provenance import machine
from chestfold.models.fast_convolution import FastConv2d, use_fast_convolutions
from chestfold.models.runner import cpu_has_bf16
from chestfold.models.timm_import import timm
from chestfold.train.optim import create_optimizer

Work = Callable[[], object]
"""What is timed."""


@dataclass(frozen=True)
class Layer:
    """Channels in and out, pixels a side of its input, kernel, stride."""

    inside: int
    outside: int
    side: int
    kernel: int
    stride: int

    def module(self) -> nn.Module:
        padding = self.kernel // 2
        return nn.Conv2d(self.inside, self.outside, self.kernel, self.stride, padding, bias=False)


LAYERS = (
    Layer(512, 512, 2, 3, 1),
    Layer(256, 512, 4, 3, 2),
    Layer(256, 256, 4, 3, 1),
    Layer(1024, 2048, 4, 1, 2),
    Layer(2048, 512, 2, 1, 1),
    Layer(512, 512, 7, 3, 1),
    Layer(1, 64, 224, 7, 2),
    Layer(1, 32, 96, 3, 2),
    Layer(128, 128, 8, 3, 1),
)
"""Of ResNet-18 and ResNet-50 at 64 px, two of ResNet-18 at 224 px, and the first of MobileNetV2."""
NETWORKS = (("resnet18", 64), ("resnet50", 64), ("densenet121", 64), ("resnet18", 224))


def passes(module: nn.Module, x: Tensor, dtype: torch.dtype) -> Work:
    """A forward and a backward pass, of a gradient that each value of the output has its own of."""

    def forward() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            out: Tensor = module(x)
        return out

    gradient = torch.randn_like(forward())

    def work() -> None:
        module.zero_grad()
        x.grad = None
        forward().backward(gradient)

    return work


def step(module: nn.Module, x: Tensor, dtype: torch.dtype) -> Work:
    """The two passes and the optimizer's step."""
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(module.parameters(), 1e-4, fused=True)
    if any(isinstance(layer, FastConv2d) for layer in module.modules()):
        optimizer = create_optimizer(Experiment(data="phantom", optimizer="adamw"), module)
    both_passes = passes(module, x, dtype)

    def work() -> None:
        both_passes()
        optimizer.step()

    return work


def milliseconds(works: list[Work], rounds: int) -> list[float]:
    """The median of each, measured in turn after one round that does not count."""
    seen: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, times in zip(works, seen, strict=True):
            began = time.perf_counter()
            work()
            times.append((time.perf_counter() - began) * 1000)
    return [median(times[1:]) for times in seen]


def compare(
    name: str,
    module: nn.Module,
    x: Tensor,
    make: Callable[[nn.Module, Tensor, torch.dtype], Work],
    rounds: int,
) -> None:
    """A line for each precision that the CPU has."""
    plain = module.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    product = deepcopy(plain)
    use_fast_convolutions(product)
    x = x.contiguous(memory_format=torch.channels_last)
    for dtype in (torch.float32, torch.bfloat16) if cpu_has_bf16() else (torch.float32,):
        before, after = milliseconds([make(plain, x, dtype), make(product, x, dtype)], rounds)
        figures = {"precision": "bf16" if dtype == torch.bfloat16 else "fp32", "batch": len(x)}
        times = {"before_ms": round(before, 2), "after_ms": round(after, 2), "ratio": round(before / after, 2)}
        say(json.dumps({"what": name} | figures | times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64, help="images [64]")
    parser.add_argument("--rounds", type=int, default=10, help="[10]")
    parser.add_argument("--threads", type=int, default=1, help="[1]")
    parser.add_argument("--quick", action="store_true", help="one layer, one round: does it run at all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rounds = 1 if arguments.quick else arguments.rounds
    say(json.dumps({"machine": machine(), "threads": arguments.threads}))
    for layer in LAYERS[:1] if arguments.quick else LAYERS:
        x = torch.randn(arguments.batch, layer.inside, layer.side, layer.side, requires_grad=layer.inside > 1)
        kind = f"{layer.kernel} x {layer.kernel}, {layer.inside} to {layer.outside} channels"
        compare(f"{kind}, {layer.side} px, stride {layer.stride}", layer.module(), x, passes, rounds)
    for name, side in () if arguments.quick else NETWORKS:
        module = timm.create_model(name, in_chans=1, num_classes=1)
        compare(f"{name}, {side} px", module, torch.randn(arguments.batch, 1, side, side), step, rounds)


if __name__ == "__main__":
    main()
