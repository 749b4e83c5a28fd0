"""Which process is which, on one machine or on several, and processes that end with the one that started them."""

import ctypes
import glob
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import wait
from pathlib import Path

from chestfold.core.files import explained_disk_errors, put_folder, sha256_json

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when the thread that started it ends."""


@cache
def host() -> str:
    """This machine's name, for people."""
    return socket.gethostname()


@cache
def machine() -> str:
    """What this machine, since it was started, calls itself: a process number means the same where this is the same.

    Two containers of one machine differ, too: each counts its processes for itself.
    """
    parts = [host()]
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists():
        parts.append(boot.read_text().strip())
    if namespace.exists():
        parts.append(str(namespace.readlink()))
    return sha256_json(parts)[:16]


def start_time(pid: int) -> str | None:
    """When process `pid` of this machine was started, in words of its own; None where there is none.

    A number is given again to a new process: only the two together say that it is the same one. One that has ended and
    whose parent has not asked for its exit code is no longer a process.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True)
    return None if done.returncode or done.stdout.startswith("Z") else done.stdout.strip().partition(" ")[2].strip()


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
