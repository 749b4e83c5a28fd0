"""A cell of the grid: one fold of one experiment, trained on whatever machine it was sent to.

Three processes on that machine, so that whatever dies takes with it what it has started:

    Ray's worker        hands orders on and messages back; knows neither torch nor the training
      a server          has imported torch once for all cells of this worker
        a child         forked from it for each cell, in a process group of its own: trains, then ends

On Linux the kernel ends each with its parent. Elsewhere the child starts anew instead of being forked, and watches.
"""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chestfold.core import files
from chestfold.core.config import Request, difference
from chestfold.core.console import Message, forward_to
from chestfold.core.device import DEVICE
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import DiskFull, Locked, runs_dir, sha256
from chestfold.core.identity import host
from chestfold.core.processes import end_with_parent, watch_parent
from chestfold.core.provenance import code_commit, code_sha256, versions
from chestfold.core.run_folder import FoldFolder

START = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
CHUNK = 16 * 2**20
"""Bytes of a file in one message."""
BAR_SECONDS = 1.0
"""Between two signs of progress: each is an object of Ray's."""
THINGS = {
    "index_sha256": "the data set's table",
    "content_sha256": "the images",
    "folds_sha256": "the fold file",
    "weights": "the pretrained weights",
    "tabular_sha256": "the columns beside the images",
    "hooks_sha256": "the hooks",
    "start_sha256": "the weights of start_from",
    "synthetic_sha256": "the synthetic images",
    "extra_sha256": "the images of extra",
    "pseudo_sha256": "the predictions of pseudo",
}
"""Name in a fold's fingerprint -> what it is of, in words."""


class NodeDiffers(InputError):
    """A machine lacks what a cell needs, or has another one."""


@dataclass(frozen=True)
class Needs:
    """What a machine must have to make the bytes that the asking one would make."""

    code: str
    commit: str
    versions: dict[str, str]
    fingerprint: dict[str, str]


@dataclass(frozen=True)
class Order:
    """A cell to be trained.

    `folders`: CHESTFOLD_* of the asking machine, for those that the other one does not set itself. `mark`: name of a
    file in the asking machine's runs folder; where it is there, the folder is shared. `on_gpu`: whether one was lent.
    `tracker`: name and mode, as `open_tracker` takes them.
    """

    request: Request
    fold: int
    threads: int
    needs: Needs
    folders: dict[str, str]
    mark: str
    on_gpu: bool
    tracker: tuple[str, str | None]


def needs() -> Needs:
    """What this machine has, but for the data of a fold."""
    return Needs(code_sha256(), code_commit(), versions(), {})


# In Ray's worker


class Server:
    """The process that has imported torch, and forks a child for each order."""

    def __init__(self, threads: int) -> None:
        package = str(Path(files.__file__).resolve().parents[2])
        known = [package, os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join(filter(None, known))}
        words = [sys.executable, "-m", "chestfold.train.cell_server", str(os.getpid())]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        self._receive()  # "ready"

    def is_alive(self) -> bool:
        """Whether it can take an order."""
        return self._process.poll() is None

    def run(self, order: Order, environment: dict[str, str]) -> Iterator[Message]:
        """The messages of a cell, until its child has ended."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # reading shows it
            pickle.dump((order, environment), self._process.stdin)
            self._process.stdin.flush()
        while (message := self._receive())[0] != "done":
            yield message
            if message[0] == "ended" and not self.is_alive():
                return

    def _receive(self) -> Message:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self._process.wait()
            return ("ended", cause_of(self._process.returncode))


_servers: dict[int, Server] = {}
"""Threads -> the server of this worker."""


def warm_up(threads: int) -> Iterator[Message]:
    """Start this worker's server before there is an order; for `Cluster.submit`."""
    _server(threads)
    yield ("ready",)


def train_cell(order: Order) -> Iterator[Message]:
    """The messages of a cell; for `Cluster.submit`.

    Those of `core.panel` ("fold", "bar", "say"), and what became of it: ("finished",), where its folder is not shared
    after a ("file", name, part, hash or "") for each part of a file; ("locked", sentence); ("refused", sentence): not
    on this machine; ("failed", sentence); ("ended", cause): its process was.
    """
    environment = os.environ.copy()
    for name, folder in order.folders.items():
        environment.setdefault(name, folder)
    environment["CHESTFOLD_QUIET"] = "1"  # an epoch's line is in log.txt
    if not order.on_gpu:
        environment[DEVICE] = "cpu"
    yield from _server(order.threads).run(order, environment)


def _server(threads: int) -> Server:
    if threads not in _servers or not _servers[threads].is_alive():
        _servers[threads] = Server(threads)
    return _servers[threads]


def cause_of(code: int) -> str:
    """What ended a process, in words."""
    return signal.Signals(-code).name if code < 0 else f"an error (exit code {code})"


# In the server


def in_a_child(order: Order, environment: dict[str, str]) -> Iterator[Message]:
    """The messages of a child that trains a cell; after them none of its process group is left."""
    ours, theirs = START.Pipe()
    given = (theirs, order, environment, os.getpid())
    child = START.Process(target=work, args=given)  # type: ignore[attr-defined]
    child.start()
    theirs.close()
    while child.is_alive() or ours.poll():
        if ours.poll(0.2):
            try:
                yield ours.recv()
            except EOFError:
                break
    child.join()
    with suppress(OSError):  # processes that made its batches
        os.killpg(child.pid, signal.SIGKILL)
    if child.exitcode:
        yield ("ended", cause_of(child.exitcode))


# In the child


def work(pipe: Connection, order: Order, environment: dict[str, str], parent: int) -> None:
    """Train a cell and say what became of it."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    forward_to(Messages(pipe.send))
    try:
        pipe.send(outcome(order, pipe.send))
    except Exception as error:  # a bug: the other cells go on
        pipe.send(("say", traceback.format_exc(), ""))
        pipe.send(("failed", f"{type(error).__name__}: {error}"))
        raise


class Messages:
    """Sends on what a training shows; of its bars one a second."""

    def __init__(self, send: Callable[[Message], Any]) -> None:
        self._send = send
        self._sent_at = 0.0

    def __call__(self, message: Message) -> None:
        """Take what `core.console.forward` was given."""
        if message[0] == "bar":
            if time.monotonic() - self._sent_at < BAR_SECONDS:
                return
            self._sent_at = time.monotonic()
        if message[0] in ("bar", "fold", "say"):
            self._send(message)


def outcome(order: Order, send: Callable[[Message], Any]) -> Message:
    """Train a cell; returns what became of it."""
    try:
        train(order, send)
    except Locked as error:
        return ("locked", str(error))
    except (NodeDiffers, DiskFull) as error:
        return ("refused", f"{host()}: {error}")
    except ChestfoldError as error:
        return ("failed", str(error))
    return ("finished",)


def train(order: Order, send: Callable[[Message], Any]) -> None:
    """Prove that this machine has what a cell needs, train it, and send its files where they are wanted.

    Raises:
        NodeDiffers: it has something else.
        ChestfoldError: as `train_fold`.
    """
    from chestfold.integrations.tracker import open_tracker
    from chestfold.train.prepare import prepare
    from chestfold.train.run import train_fold

    require_same_code(order.needs)
    request = replace(order.request, folds=(order.fold,))
    try:
        ready = prepare(request)
        config = ready.fold_config(order.fold, order.threads)
    except InputError as error:  # the asking machine has prepared it without one
        raise NodeDiffers(str(error)) from error
    require_same_data(order.needs.fingerprint, config.fingerprint | (config.shown or {}))
    tracker = open_tracker(*order.tracker)
    train_fold(ready, order.fold, tracker, order.threads)
    tracker.close()
    if not (runs_dir() / order.mark).exists():
        send_files(ready.run.fold(order.fold), send)


def require_same_code(wanted: Needs) -> None:
    """Raise `NodeDiffers` where this machine's package, or a library that decides bytes, is another one."""
    if code_sha256() != wanted.code:
        raise NodeDiffers(
            f"its chestfold is not the one that asks (commit {code_commit()} there, {wanted.commit} here); check out "
            "the same commit on both"
        )
    ours = {name: version.partition("+")[0] for name, version in versions().items()}
    theirs = {name: version.partition("+")[0] for name, version in wanted.versions.items()}
    for name, (there, here) in difference(ours, theirs).items():
        raise NodeDiffers(f"{name} is {there} there and {here} here; install the same version on both")


def require_same_data(wanted: dict[str, str], found: dict[str, str]) -> None:
    """Raise `NodeDiffers` where a hash of what decides a fold's bytes is another one on this machine."""
    for name, (there, here) in difference(found, wanted).items():
        thing = THINGS.get(name, name)
        raise NodeDiffers(f"{thing} there and here differ ({name}: {there} there, {here} here); copy what is here")


def send_files(folder: FoldFolder, send: Callable[[Message], Any]) -> None:
    """The files of a finished fold, in parts; the manifest, which proves the others, is the last."""
    paths = [path for path in sorted(folder.path.iterdir()) if not path.name.startswith(".")]
    paths.sort(key=lambda path: path == folder.manifest_path)
    for path in paths:
        data = path.read_bytes()
        digest = sha256(data)
        for begin in range(0, max(len(data), 1), CHUNK):
            last = begin + CHUNK >= len(data)
            send(("file", path.name, data[begin : begin + CHUNK], digest if last else ""))
