"""Several processes that train one fold together, as torchrun starts them; everything here does nothing for one.

Each process takes its share of every batch and the gradients are summed (DistributedDataParallel), so that an
experiment means the same on one GPU and on eight, but for batch statistics, which each takes over its own share and
averages after an epoch. The main process alone validates, writes and prints; the others wait for what it decided.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chestfold.core.device import AUTO, chosen_device

T = TypeVar("T")


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that writes."""
    return rank() == 0


def device() -> torch.device:
    """What was chosen for this command, else this process's own GPU, or the CPU."""
    chosen = chosen_device()
    if chosen == "cuda" or (chosen == AUTO and torch.cuda.is_available()):
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu" if chosen == AUTO else chosen)


def setup() -> None:
    """Join the other processes, once."""
    if world() > 1 and not dist.is_initialized():
        on_cuda = device().type == "cuda"
        if on_cuda:
            torch.cuda.set_device(device())
        dist.init_process_group("nccl" if on_cuda else "gloo")


def cleanup() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def broadcast_from_main(decide: Callable[[], T]) -> T:
    """What `decide` returns in the main process, in all of them. torchrun ends the others when it raises."""
    if world() == 1:
        return decide()
    box = [decide() if is_main() else None]
    dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]


def total(values: Tensor) -> Tensor:
    """The sum of `values` over the processes."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def data_parallel(module: Any, device: torch.device) -> Any:
    """`module`, whose gradients are summed over the processes while they are computed; itself where it is alone.

    Each process keeps its own batch statistics (`average_buffers`).
    """
    if world() == 1:
        return module
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)


def gradient_sync(module: Any, wanted: bool) -> AbstractContextManager[None]:
    """While a backward pass runs: whether the processes exchange gradients in it."""
    if wanted or not isinstance(module, DistributedDataParallel):
        return nullcontext()
    return module.no_sync()


def average_buffers(module: nn.Module) -> None:
    """Give every process the mean of the float buffers: each saw its own share of the batch statistics."""
    if world() > 1:
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(total(buffer) / world())
