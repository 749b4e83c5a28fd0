"""At most one writer of a folder, ever: on one machine, or on several that share the folder.

Each writer takes the next number by making the file `.writer-N`, which one process alone can make, and writes in it who
it is. Who has the highest number may write; before each rename into the folder a writer looks whether that is still
itself (`core.files` asks). An empty file: nobody writes. A number is never given twice.

A writer that is gone is followed by the next one:

- on the same machine: when no process has its number and start time;
- on another machine: when it has given no sign for `SILENT_SECONDS`. A writer sets its file's time every
  `BEAT_SECONDS`; how old that is, is told by a file made now, so that one clock, the file server's, says both times.

Who follows deletes the file of the one before it, and then all temporary files in the folder, before it reads anything
else. So a writer that was only slow finds its file missing before its next rename, and stops; and if it had looked just
before that, the rename was done before the next writer read anything, or fails.

File locks of the kernel (flock) are not used: over a network they may be local to each machine, missing, or held for
ever by a machine that is gone.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chestfold.core.files import (
    Locked,
    explained_disk_errors,
    guard,
    make_folder,
    release_guard,
    remove_temporary,
    temporary_beside,
)
from chestfold.core.identity import host, machine, start_time
from chestfold.core.records import Record

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""Twelve beats: so long may a file server, or a process that waits for its disk, be in the way."""
PREFIX = ".writer-"
LOG = ".writers.log"
"""A line for each time the folder is taken or let go: number, event, process, its start, host."""


class Writer(Record):
    """Who writes in a folder. `machine`, `started`: as `core.identity` says them."""

    host: str
    machine: str
    pid: int
    started: str


@dataclass(frozen=True)
class Held:
    """A folder with the number under which it is held, or was."""

    folder: Path
    number: int

    @property
    def path(self) -> Path:
        """The file that says who holds it."""
        return self.folder / f"{PREFIX}{self.number}"

    def writer(self) -> Writer | None:
        """Who holds it; None where nobody does any longer.

        A power cut may leave a torn file. Nobody is written in it, and who is still writing it finds itself followed.
        """
        try:
            return Writer.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None


class Superseded(Locked):
    """This process has lost a folder to another one."""


def newest(folder: Path) -> Held:
    """The highest number that was taken in `folder`; 0: none yet."""
    numbers = [int(path.name.removeprefix(PREFIX)) for path in folder.glob(f"{PREFIX}*")]
    return Held(folder, max(numbers, default=0))


def writer_of(folder: Path) -> Writer | None:
    """Who works in `folder`; None: nobody, or one that is gone."""
    held = newest(folder)
    writer = held.writer()
    return None if writer is None or is_gone(held, writer) else writer


def is_gone(held: Held, writer: Writer) -> bool:
    """Whether the one who holds a folder has ended without saying so."""
    if writer.machine == machine():
        return start_time(writer.pid) != writer.started
    return silent_seconds(held) > SILENT_SECONDS


def silent_seconds(held: Held) -> float:
    """How long ago a writer has given a sign, by the clock of the folder's file system."""
    probe = temporary_beside(held.folder / "clock")
    try:
        probe.touch()
        return probe.stat().st_mtime - held.path.stat().st_mtime
    except FileNotFoundError:  # it was followed meanwhile, by one that has just begun
        return 0.0
    finally:
        probe.unlink(missing_ok=True)


@contextmanager
def hold(folder: Path) -> Iterator[Held]:
    """Be the writer of `folder`.

    Raises:
        Locked: another process works there; it is named.
    """
    with explained_disk_errors(folder):
        make_folder(folder)
        held = _take(folder)
    stopped = threading.Event()
    threading.Thread(target=_beat, args=(held, stopped), daemon=True).start()
    guard(folder, partial(require_newest, held))
    try:
        yield held
    finally:
        release_guard(folder)
        stopped.set()
        with suppress(FileNotFoundError):  # it was followed
            os.truncate(held.path, 0)
            _log(held, "ends")


def require_newest(held: Held) -> None:
    """Raise `Superseded` where another process has followed the one that holds a folder."""
    found = newest(held.folder)
    if found.number != held.number or not _is_there(held.path):
        writer = found.writer()
        who = f"process {writer.pid} on {writer.host}" if writer else "another process"
        raise Superseded(
            f"{who} has taken over {held.folder}, because this process gave no sign for {SILENT_SECONDS:.0f} s, or "
            "the folder was deleted; this process writes nothing more there"
        )


def _is_there(path: Path) -> bool:
    """Whether the file server still has a file: only opening it asks there; a folder's list may be an old one."""
    try:
        with path.open():
            return True
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return False
        raise


def _take(folder: Path) -> Held:
    """The next number; raises `Locked` where another process has it, or takes it at the same moment."""
    me = Writer(host=host(), machine=machine(), pid=os.getpid(), started=start_time(os.getpid()) or "")
    last = newest(folder)
    writer = last.writer()
    if writer is not None and not is_gone(last, writer):
        raise _locked(folder, writer)
    held = Held(folder, last.number + 1)
    try:
        with held.path.open("x") as file:
            file.write(me.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise _locked(folder, held.writer()) from error
    except OSError:
        held.path.unlink(missing_ok=True)  # the disk is full
        raise
    found = newest(folder)
    if found.number != held.number:  # while the file was empty
        raise _locked(folder, found.writer())
    for path in folder.glob(f"{PREFIX}*"):
        if path != held.path:
            path.unlink(missing_ok=True)
    remove_temporary(folder)
    _log(held, "takes")
    return held


def _log(held: Held, event: str) -> None:
    """Add a line; a full disk must not hide what has happened, of which the log says no more than the files."""
    me = f"{os.getpid()} {start_time(os.getpid())} {host()}"
    try:
        with (held.folder / LOG).open("a") as file:
            file.write(f"{held.number} {event} {me}\n")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _locked(folder: Path, writer: Writer | None) -> Locked:
    who = f" ({writer.pid} on {writer.host})" if writer else ""
    is_elsewhere = writer is not None and writer.machine != machine()
    gone = f"it counts as gone {SILENT_SECONDS:.0f} s after its last sign"
    sign = f"; {gone}, also where this folder is a copy of one there: try again in a minute" if is_elsewhere else ""
    return Locked(f"another process{who} is working in {folder}; wait for it or stop it{sign}")


def _beat(held: Held, stopped: threading.Event) -> None:
    """Set the file's time again and again, by the file server's clock."""
    while not stopped.wait(BEAT_SECONDS):
        try:
            os.utime(held.path)
        except FileNotFoundError:
            return
        except OSError:  # a file server that is away for a moment
            continue
