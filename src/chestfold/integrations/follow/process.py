"""The process that shows a fold or a result elsewhere; started by `launch`, not by people.

It waits before it loads a tracker's library, a second of work, which is a small part of a fold that is long.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from chestfold.core.files import runs_dir
from chestfold.core.hide import hide_secrets
from chestfold.integrations.follow.sent import Sent, only_one, read_sent, write_sent

LATE = 40.0
"""Seconds of training before the tracker's library is loaded."""
NICENESS = 10
"""The training has the CPU first."""
POLL = 2.0
"""Seconds between two looks at a fold."""


class Run(Protocol):
    """A run at a tracker. What was sent before is not sent again: `first_row` is the first epoch that it lacks."""

    id: str
    first_row: int

    def log_row(self, row: dict[str, Any]) -> None:
        """The figures of an epoch."""

    def log_predictions(self, fold: Any) -> None:
        """What there is of a finished fold, a `FoldContents`: curves, images, files."""

    def log_summary(self, summary: dict[str, float | str]) -> None:
        """The scores of a result."""

    def log_table(self, name: str, table: Any) -> None:
        """A `DataFrame` of texts."""

    def finish(self, complete: bool) -> None:
        """The end: wait until everything has arrived; raises where it does not."""


class Service(Protocol):
    """A tracker, as it is configured here. `target`: where it shows, as a hash. `exit_code`: when all has gone well."""

    name: str
    target: str
    exit_code: int

    def has(self, sent: Sent) -> bool:
        """Whether what was sent completely is there still."""

    def open(self, about: Any, sent: Sent) -> Run:
        """Begin a run, or go on with it: of an `About`."""

    def reason(self, error: BaseException) -> str:
        """Why it failed, in a few words for people."""

    def secrets(self) -> Sequence[str]:
        """Keys that its library might print."""


class Training:
    """The process that trains."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._told = False
        signal.signal(signal.SIGTERM, self._note)
        if hasattr(signal, "pthread_sigmask"):  # it was started with SIGTERM waiting
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _note(self, *_: Any) -> None:
        self._told = True

    def is_over(self) -> bool:
        """Whether it has ended, or has said that it left the fold."""
        return self._told or os.getppid() != self.pid


def main(prog: str, open_service: Callable[[str], Service]) -> None:
    """Follow a fold until its manifest is there, or show a collected result and the leaderboard.

    Args:
        prog: the module that is run.
        open_service: makes the tracker of a mode, and loads its library.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {prog}")
    parser.add_argument("what", choices=["fold", "result"])
    parser.add_argument("where", help="a fold's folder, or a result's name")
    parser.add_argument("--mode", default="", help="as the tracker knows them")
    parser.add_argument("--log", type=Path, required=True, help="what tells why it failed")
    parser.add_argument("--parent", type=int, required=True, help="the process that trains")
    given = parser.parse_args()
    training = Training(given.parent)
    os.nice(NICENESS)
    printed = _keep_output()
    explain = partial(_write_log, given.log, printed)
    sys.excepthook = partial(explain, None)
    if given.what == "fold":
        _wait(Path(given.where) / "manifest.json", training)
    os.chdir(runs_dir())
    service = open_service(given.mode)
    sys.excepthook = partial(explain, service)
    if given.what == "fold":
        show_fold(service, Path(given.where), training)
    else:
        show_result(service, given.where)
        show_leaderboard(service)
    given.log.unlink(missing_ok=True)
    raise SystemExit(service.exit_code)


def _keep_output() -> IO[bytes]:
    """A file without a name, which vanishes with this process, for what it and the libraries print from now on."""
    printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the process lives
    for stream in (1, 2):
        os.dup2(printed.fileno(), stream)
    return printed


def _write_log(
    log: Path,
    printed: IO[bytes],
    service: Service | None,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """What was printed and the stack trace, without keys and folders; the last line is the reason."""
    sys.stdout.flush()
    sys.stderr.flush()
    printed.seek(0)
    words = printed.read().decode(errors="replace") + "".join(traceback.format_exception(kind, error, trace))
    reason = service.reason(error) if service else f"{kind.__name__}: {error}"
    text = f"{words.rstrip()}\n{' '.join(reason.split())}\n".replace(str(Path.home()), "~")
    log.write_text(hide_secrets(text, service.secrets() if service else ()))


def _wait(until: Path, training: Training) -> None:
    """Sleep for `LATE` seconds; less where the file `until` appears or the training is over."""
    end = time.monotonic() + LATE
    while time.monotonic() < end and not until.is_file() and not training.is_over():
        time.sleep(0.2)


def show_fold(service: Service, path: Path, training: Training) -> None:
    """Log a fold's epochs as they come, then its predictions; ends with the fold or with the process that trains it."""
    from chestfold.integrations.follow.contents import FoldContents

    fold = FoldContents(path)
    with only_one(path, service.name):
        sent = read_sent(path, service.name)
        if fold.is_finished and _is_there(service, sent, fold.content):
            return
        run = service.open(fold.about, sent)
        sent = Sent(run=run.id, rows=sent.rows, target=service.target)
        sent = _follow(service, run, sent, fold, training)
        finished = fold.is_finished
        if finished and fold.has_predictions:
            run.log_predictions(fold)
        run.finish(finished)
        if finished:
            write_sent(path, service.name, sent.model_copy(update={"content": fold.content}))


def _follow(service: Service, run: Run, sent: Sent, fold: Any, training: Training) -> Sent:
    """Log the epochs that are lacking until the fold is finished or left; notes how many there are, and returns it."""
    write_sent(fold.folder.path, service.name, sent)
    shown = 0
    while True:
        ended = fold.is_finished or training.is_over()
        rows = fold.rows()
        for row in rows[shown:]:
            if row["epoch"] >= run.first_row:
                run.log_row(row)
        if len(rows) > shown:
            sent = sent.model_copy(update={"rows": len(rows)})
            write_sent(fold.folder.path, service.name, sent)
        shown = len(rows)
        if ended:
            return sent
        time.sleep(POLL)


def show_result(service: Service, name: str) -> None:
    """The scores of a result."""
    from chestfold.integrations.follow.contents import ResultContents

    result = ResultContents(name)
    with only_one(result.about.folder, service.name):
        _show(service, result, lambda run: run.log_summary(result.summary()))


def show_leaderboard(service: Service) -> None:
    """The board as a table; one process at a time reads and sends it."""
    from chestfold.integrations.follow.contents import LeaderboardContents

    with only_one(runs_dir(), service.name):
        board = LeaderboardContents()
        _show(service, board, lambda run: run.log_table("leaderboard", board.table()))


def _show(service: Service, contents: Any, log: Callable[[Run], None]) -> None:
    """Send what is complete already, in one go, unless it is there."""
    about, content = contents.about, contents.content
    sent = read_sent(about.folder, service.name)
    if _is_there(service, sent, content):
        return
    run = service.open(about, sent)
    sent = Sent(run=run.id, target=service.target)
    write_sent(about.folder, service.name, sent)
    log(run)
    run.finish(True)
    write_sent(about.folder, service.name, sent.model_copy(update={"content": content}))


def _is_there(service: Service, sent: Sent, content: str) -> bool:
    return sent.content == content and service.has(sent)
