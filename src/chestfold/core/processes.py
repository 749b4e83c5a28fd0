"""Folders that are made whole or not at all, and processes that end with the one that started them."""

import ctypes
import glob
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from chestfold.core.files import explained_disk_errors, put_folder
from chestfold.core.identity import machine, start_time

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when the thread that started it ends."""


def folder_beside(folder: Path) -> Path:
    """Where this process makes a folder before it is renamed to `folder`; `remove_left_beside` knows whose it is."""
    return folder.with_name(f".{folder.name}.{os.getpid()}-{machine()}.tmp")


def remove_left_beside(folder: Path) -> None:
    """Delete what processes of this machine that are gone have left where they were to make `folder`."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*-{machine()}.*"):
        pid = left.name.split(".")[-2].partition("-")[0]
        if start_time(int(pid)) is None:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder, still to be made; on success it is renamed to `folder`, else removed.

    What a killed process has left of it is deleted by the next one that makes the same folder.
    """
    remove_left_beside(folder)
    temporary = folder_beside(folder)
    with explained_disk_errors(folder):
        try:
            yield temporary
            put_folder(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


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
