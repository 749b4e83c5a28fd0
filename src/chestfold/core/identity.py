"""Which process is which, on one machine or on several."""

import json
import socket
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path


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
    return sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]


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
