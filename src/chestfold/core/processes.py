"""Processes that end with the one that started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import wait

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when the thread that started it ends."""


def end_with_parent(parent: int) -> None:
    """Let the kernel end this process when `parent`, which has started it, ends; where it cannot, nothing is done.

    Linux's kernel can, at once and whatever this process is doing. It looks at the thread that has started it: that
    must be one that lives as long as its process.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it had ended before


def watch_parent() -> None:
    """Wait until the process that has started this one by `multiprocessing` ends, and end this one; for a thread."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
