"""W&B beside training: every fold gets a process that reads its folder and writes a W&B run (`process`).

The fold never waits for it and never imports wandb, so that nothing that W&B does can stop or slow a fold.
"""

import netrc
import os
import subprocess
import sys
import time
from pathlib import Path

from chestfold.core.console import say
from chestfold.core.errors import InputError
from chestfold.core.extras import require
from chestfold.core.files import explained_disk_errors, runs_dir
from chestfold.integrations.tracker import NoTracker, Tracker

MODES = ("offline", "online", "disabled")
PATIENCE = 20.0
"""Seconds that a finished command waits for its log processes before it leaves them to themselves."""
UNREACHABLE = 3
"""A log process's exit code: no W&B server answered, so the runs were written offline."""
LOG = "wandb.log"


def open_wandb(given: str | None) -> Tracker:
    """The tracker of a mode: the one given, else WANDB_MODE, else online where a key is configured.

    Without a mode and without a key nothing is shown.

    Raises:
        InputError: WANDB_MODE is none of the three, or wandb is not installed.
    """
    chosen = given or os.environ.get("WANDB_MODE") or ("online" if _has_key() else "disabled")
    if chosen not in MODES:
        raise InputError(f"WANDB_MODE is {chosen!r}; offline, online and disabled are understood")
    if chosen == "disabled":
        return NoTracker()
    require("wandb", "wandb", "--wandb disabled")
    return WandbTracker(chosen)


def _has_key() -> bool:
    """Whether W&B would find a key: in the environment, or in ~/.netrc where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandbTracker:
    """Starts a log process for each fold and each result."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self._processes: list[subprocess.Popen] = []

    def fold_started(self, folder: Path) -> None:
        """Show the fold in `folder` while it trains."""
        self._start("fold", str(folder), folder / LOG)

    def result_written(self, name: str) -> None:
        """Show a collected result or an ensemble, and the leaderboard."""
        self._start("result", name, runs_dir() / name / LOG)

    def _start(self, what: str, where: str, log: Path) -> None:
        command = [sys.executable, "-m", "chestfold.integrations.wandb.process", what, where]
        command += ["--mode", self.mode, "--parent", str(os.getpid())]
        with explained_disk_errors(log), log.open("ab") as out:
            self._processes.append(
                subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            )

    def close(self) -> None:
        """Wait for the log processes, together for `PATIENCE` seconds at most, and say what did not go well."""
        deadline = time.monotonic() + PATIENCE
        codes = set()
        for process in self._processes:
            try:
                codes.add(process.wait(max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                say("W&B is still busy and finishes by itself; nothing here depends on it")
                return
        if codes - {0, UNREACHABLE}:
            say(f"W&B could not show a part of this run ({LOG} in its folder says why); nothing here depends on it")
        elif UNREACHABLE in codes:
            say(f"W&B cannot be reached; its runs are kept: cd {runs_dir()} && wandb sync wandb/offline-run-*")
