"""W&B beside training: every fold gets a process that reads its folder and writes a W&B run (`chestfold.integrations.wandb.log`).

The fold never waits for it and never imports wandb, so that nothing that W&B does can stop or slow a fold.
"""

import netrc
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal, cast

from chestfold.core.console import say
from chestfold.core.files import BadInput, explained_disk_errors, runs_dir

Mode = Literal["offline", "online", "disabled"]
MODES: tuple[Mode, ...] = ("offline", "online", "disabled")
PATIENCE = 20.0
"""Seconds that a finished run waits for its followers before it leaves them to themselves."""
LATE = 40.0
"""Seconds of training before its follower loads wandb, a second of work: it is a small part of a fold that is long."""
UNREACHABLE = 3
"""A follower's exit code: no W&B server answered, so the runs were written offline."""
LOG = "wandb.log"


def mode_of(asked: str | None) -> Mode:
    """What `--wandb` asks for; else what WANDB_MODE says; else online where a key is configured, offline where none is.

    Raises:
        BadInput: WANDB_MODE is none of the three.
    """
    chosen = asked or os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    if chosen not in MODES:
        raise BadInput(f"WANDB_MODE is {chosen!r}; offline, online and disabled are understood")
    return cast(Mode, chosen)


def _has_key() -> bool:
    """Whether W&B would find a key: in the environment, or in ~/.netrc where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def follower(folder: Path, mode: Mode) -> subprocess.Popen | None:
    """Start the process that shows the fold in `folder` while it trains; None where nothing is to be shown."""
    return _start(["fold", str(folder)], folder / LOG, mode, LATE, folder / "manifest.json")


def show_result(name: str, mode: Mode) -> subprocess.Popen | None:
    """Start the process that shows a collected result or an ensemble, and the leaderboard."""
    return _start(["result", name], runs_dir() / name / LOG, mode)


_WAIT = """
import os, runpy, sys, time
seconds, until, parent = float(sys.argv.pop(1)), sys.argv.pop(1), os.getppid()
end = time.monotonic() + seconds
while time.monotonic() < end and not os.path.exists(until) and os.getppid() == parent:
    time.sleep(0.2)
runpy.run_module("chestfold.integrations.wandb.log", run_name="__main__", alter_sys=True)
"""


def _start(
    arguments: list[str], log: Path, mode: Mode, seconds: float = 0.0, until: Path = Path()
) -> subprocess.Popen | None:
    """Start chestfold.integrations.wandb.log after some `seconds`; sooner where the file `until` is there, or this process is not."""
    if mode == "disabled":
        return None
    command = [sys.executable, "-c", _WAIT, str(seconds), str(until), *arguments]
    command += ["--mode", mode, "--parent", str(os.getpid())]
    with explained_disk_errors(log), log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def settle(followers: list[subprocess.Popen | None]) -> None:
    """Wait for followers, together for `PATIENCE` seconds at most, and say in a sentence what did not go well."""
    deadline, codes = time.monotonic() + PATIENCE, set()
    for process in filter(None, followers):
        try:
            codes.add(process.wait(max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            say("W&B is still busy and goes on by itself; nothing here depends on it")
            return
    if codes - {0, UNREACHABLE}:
        say(f"W&B could not show a part of this run ({LOG} in its folder says why); nothing here depends on it")
    elif UNREACHABLE in codes:
        say(f"W&B cannot be reached; its runs are kept: cd {runs_dir()} && wandb sync wandb/offline-run-*")
