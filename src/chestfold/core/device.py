"""What a command computes on, and how many processes make its batches; its own processes know both by the environment.

Neither is a setting of the experiment: it says where a network is trained, not which. torch is imported only where it
has to be asked.
"""

import os

from chestfold.core.errors import InputError

DEVICE, WORKERS = "CHESTFOLD_DEVICE", "CHESTFOLD_WORKERS"
AUTO = "auto"
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""What a Linux system has where it has a driver: its own, or that of WSL."""


def chosen_device() -> str:
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto`: a GPU of CUDA where there is one, and else the CPU."""
    return os.environ.get(DEVICE) or AUTO


def choose_device(name: str | None) -> None:
    """Compute on `name` from now on, also in processes that are started later; None: as the environment says.

    `mps` (Apple) is never chosen by itself: nobody has tried it.

    Raises:
        InputError: it is not there; names those that are.
    """
    name = name or chosen_device()
    if name not in (AUTO, "cpu"):
        _require_device(name)
    os.environ[DEVICE] = name


def _require_device(name: str) -> None:
    there = _devices()
    first_gpu = name == "cuda" and "cuda:0" in there
    if name not in there and not first_gpu:
        raise InputError(f"--device {name}: it is not there; there are {', '.join([AUTO, *there])}")
    if name.startswith("cuda:") and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(f"--device {name}: torchrun gives each process its own GPU; leave --device away")


def _devices() -> list[str]:
    """The names of what torch can compute on here, the CPU first."""
    import torch

    gpus = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def has_gpu() -> bool:
    """Whether the chosen device is a GPU; torch is imported only where the system has a driver for one."""
    if chosen_device() != AUTO:
        return chosen_device() != "cpu"
    if not any(map(os.path.exists, GPU_FILES)) and os.name != "nt":
        return False
    import torch

    return torch.cuda.is_available()


def choose_workers(count: int | None) -> None:
    """Let `count` processes make the batches of each fold, 0: the training process itself; None: as many as suit it."""
    if count is None:
        os.environ.pop(WORKERS, None)
    else:
        os.environ[WORKERS] = str(count)


def chosen_workers() -> int | None:
    """What `choose_workers` was given."""
    given = os.environ.get(WORKERS, "")
    return int(given) if given.isdigit() else None
