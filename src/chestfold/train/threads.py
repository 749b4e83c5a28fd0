"""CPU threads: how many a training uses, and how many trainings run side by side.

torch's threads wait for each other at every operation. So folds side by side with one thread each are faster than one
fold with all cores, and two processes that each take all cores ruin each other.
"""

import os
from pathlib import Path

from chestfold.core.config import Experiment
from chestfold.core.device import has_gpu

BYTES_OF_A_JOB = 1.5e9
"""What a training process takes before its first image: Python, torch, weights, optimizer."""
BYTES_OF_A_PIXEL = 2500
"""What a batch takes for each pixel of each image: that of VGG16's activations and their gradients, the largest."""


def usable_cores() -> int:
    """Cores that this process may use; fewer where OMP_NUM_THREADS is lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) > 0 else cores


def set_threads(count: int) -> None:
    """Give torch's operations in this process so many threads."""
    import torch

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def jobs_that_fit(exp: Experiment, folds: int) -> int:
    """How many folds are trained at once by default: one on a GPU; else a core each, as far as memory allows."""
    if has_gpu():
        return 1
    need = BYTES_OF_A_JOB + BYTES_OF_A_PIXEL * exp.batch_size * exp.image_size**2
    by_memory = int(available_memory() // need)
    return max(1, min(folds, usable_cores(), by_memory))


def available_memory() -> float:
    """Bytes that can be used without swapping; infinite where the system does not say."""
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return float("inf")
