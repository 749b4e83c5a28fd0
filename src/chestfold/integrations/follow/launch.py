"""Starts a process beside the training for each fold and each result, which shows them elsewhere (`process`).

The fold never waits for it and never imports a tracker's library: nothing that happens there can stop or slow it.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chestfold.core.console import plural, progress, say
from chestfold.core.errors import InputError, ServiceError
from chestfold.core.files import explained_disk_errors, runs_dir
from chestfold.core.run_folder import FULL, RunFolder
from chestfold.integrations.follow.sent import GIVE_UP

PATIENCE = 20.0
"""Seconds that a finished command waits for these processes before it leaves them to themselves."""


@dataclass(frozen=True)
class Follower:
    """A running process. `shown`: the fold's folder or the result's. `log`: why it failed, if it did."""

    process: subprocess.Popen
    shown: Path
    log: Path
    of_fold: bool

    @property
    def is_left_over(self) -> bool:
        """Whether it follows a fold that is not finished, and will not be: the command ends."""
        return self.of_fold and not (self.shown / "manifest.json").exists()

    def reason(self) -> str:
        """Why it failed: the last line of its log, or the signal that ended it."""
        code = self.process.returncode
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return lines[-1] if lines else f"its process could not begin, exit code {code}"


@contextmanager
def _told_late() -> Iterator[None]:
    """A process that is started meanwhile gets SIGTERM only when it is ready to: a fold may be left within a second."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class FollowTracker:
    """The part of a `Tracker` that all have which are fed by such processes.

    `title`: in sentences. `option`: what `chestfold track` needs to show there.
    """

    title: str
    name: str
    module: str
    option: str = ""

    def __init__(self, mode: str = "") -> None:
        self.mode = mode
        self._followers: list[Follower] = []

    def environment(self, shown: str) -> dict[str, str]:
        """The variables of the process that shows NAME or NAME/foldK."""
        return os.environ.copy()

    def fold_started(self, folder: Path) -> None:
        """Show the fold in `folder` while it trains."""
        self._start("fold", str(folder), folder, f"{folder.parent.name}/{folder.name}")

    def result_written(self, name: str) -> None:
        """Show a collected result or an ensemble, and the leaderboard."""
        self._start("result", name, runs_dir() / name, name)

    def _start(self, what: str, where: str, folder: Path, shown: str) -> None:
        log = folder / f"{self.name}.log"
        command = [sys.executable, "-m", self.module, what, where]
        command += ["--log", str(log), "--mode", self.mode, "--parent", str(os.getpid())]
        with explained_disk_errors(log), _told_late():
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=self.environment(shown))
        self._followers.append(Follower(process, folder, log, what == "fold"))

    def close(self) -> None:
        """Wait for the processes, together for `PATIENCE` seconds at most, and say what did not go well."""
        followers, self._followers = self._followers, []
        for follower in followers:
            if follower.is_left_over:
                follower.process.terminate()  # it ends the run there
        followers = [follower for follower in followers if not follower.is_left_over]
        deadline = time.monotonic() + PATIENCE
        for follower in followers:
            try:
                follower.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                again = self.again(follower)
                say(f"{self.title} is still busy and finishes by itself; what it should miss is sent by: {again}")
                return
        self.tell(followers)

    def tell(self, followers: list[Follower]) -> None:
        """Say in one sentence what did not go well."""
        failed = [follower for follower in followers if follower.process.returncode != 0]
        if failed:
            reason, again = failed[0].reason(), self.again(failed[0])
            say(f"{self.title} could not show a part of this run: {reason}; nothing here depends on it, and")
            say(f"what is missing is sent by: {again}")

    def reason(self, follower: Follower) -> str:
        """Why one failed."""
        return follower.reason()

    def again(self, follower: Follower) -> str:
        """The command that sends what is missing."""
        name = follower.shown.parent.name if follower.of_fold else follower.shown.name
        return f"chestfold track {shlex.quote(name)} {self.option}".rstrip()

    def send(self, name: str) -> None:
        """Show what is missing of a run: its finished folds, its scores, the leaderboard.

        Raises:
            InputError: there is nothing finished in runs/.
            ServiceError: a part could not be sent.
        """
        run = RunFolder(name)
        folds = [fold.path for fold in (*run.finished_folds(), run.fold(FULL)) if fold.manifest_path.exists()]
        parts = [(self.fold_started, fold) for fold in folds]
        if (run.path / "scores.json").exists():
            parts.append((self.result_written, name))  # type: ignore[arg-type]
        if not parts:
            raise InputError(f"{run.path} holds no finished fold and no result; there is nothing to show")
        for show, what in progress(parts, f"{name}: {self.title}", len(parts)):
            show(what)
            (follower,) = self._followers
            self._followers = []
            if follower.process.wait(GIVE_UP * 2) != 0:
                raise ServiceError(f"{follower.shown} could not be shown in {self.title}: {self.reason(follower)}")
        say(f"{self.title} has {plural(len(folds), 'fold')} of {name}, its scores and the leaderboard")
