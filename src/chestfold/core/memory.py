"""Less work for Python's garbage collector and for the allocator, for every process of this package."""

import gc
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Numbers of glibc's `mallopt` (malloc.h)."""


def tune_memory() -> None:
    """Look for garbage rarely, and keep the memory that was freed."""
    collect_rarely()
    keep_freed()


def collect_rarely() -> None:
    """Look for garbage after 100,000 new objects, not after 700.

    The imports of torch and timm make a million objects, none of them garbage; looking through them again and again is
    a seventh of the time from a command to its first batch.
    """
    gc.set_threshold(100_000, 20, 20)


def keep_freed() -> bool:
    """Let glibc keep what was freed for the next batch instead of giving it back to the kernel; whether it did.

    A batch's tensors are as large as those of the batch before. Given back and asked for anew, each of their pages is
    cleared by the kernel again: a tenth of a training's time with MobileNetV2 at 96 px, a third with VGG16. The bytes
    of what is computed are the same. Only under glibc; see mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # 10 ms, which `--help` need not wait for

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
