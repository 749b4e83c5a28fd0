"""The grid of (experiment, fold), on the processors of a Ray cluster or of this machine.

This process hands the cells out, draws the table, and collects each run when its folds are finished. It trains nothing
itself: it may end at any moment and be started again.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from chestfold.core.config import Request
from chestfold.core.console import Message, plural, say, waiting
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import (
    Locked,
    cache_dir,
    input_dir,
    move,
    project_dir,
    runs_dir,
    sha256,
    sha256_file,
    submissions_dir,
    temporary_beside,
    weights_dir,
)
from chestfold.core.identity import machine, start_time
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.integrations.cluster import Cluster, Ended, Event, Lost, Node, Place, Task, connected
from chestfold.train.cell import Order, needs, train_cell, warm_up
from chestfold.train.sweep_table import FAILED, FINISHED, LOCKED, TRAINING, WAITING, Cell, GridTable, show_failures
from chestfold.train.threads import jobs_that_fit, usable_cores

if TYPE_CHECKING:
    from chestfold.train.prepare import Prepared

LOSSES = 10
"""So often may a cell lose its process without a new epoch: more often is no accident."""
LOOK_SECONDS = 2.0
"""Between two looks at a locked fold, or at one whose files are to appear."""
APPEAR_SECONDS = 120.0
"""So long may a file server show an old list of a folder in which a fold was finished."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Shares:
    """What each cell takes, and of whom. `address`: None: this machine alone, `jobs` cells at once."""

    address: str | None
    jobs: int
    threads: int
    gpus: float | None


def run_sweep(requests: Sequence[Request], shares: Shares, tracker: tuple[str, str | None]) -> None:
    """Train the folds of some experiments that are not finished, and collect those of which all are.

    Args:
        requests: of the experiments.
        shares: what each cell takes.
        tracker: name and mode, as `open_tracker` takes them.

    Raises:
        InputError: no cluster answers, or none of its machines has what a cell takes.
        ChestfoldError: some cells failed, after all others are finished.
    """
    threading.Thread(target=import_module, args=("chestfold.train.prepare",), daemon=True).start()  # while Ray starts
    with connected(shares.address, shares.jobs * shares.threads) as cluster:
        gpus = gpus_of(shares, cluster.nodes())
        if shares.address is None:
            _warm_up(cluster, shares)
        grid, ready = prepared_cells(requests)
        with shared_mark() as mark:
            orders = create_orders(ready, grid, shares.threads, mark, gpus, tracker)
            with GridTable(grid, capacity(cluster.nodes(), shares.threads, gpus)) as table:
                Sweep(cluster, orders, table, shares.threads, gpus).run()
    collect_runs(ready, grid, tracker)
    failed = [cell for cell in grid if cell.state == FAILED]
    if failed:
        show_failures(failed)
        raise ChestfoldError(f"{len(failed)} of {plural(len(grid), 'cell')} failed; the others are finished")


def gpus_of(shares: Shares, nodes: list[Node]) -> float:
    """GPUs of each cell: what was asked for, else one where a node has one.

    Raises:
        InputError: no node has so many.
    """
    gpus = shares.gpus if shares.gpus is not None else float(any(node.gpus >= 1 for node in nodes))
    if not any(fits(node, shares.threads, gpus) for node in nodes):
        there = "; ".join(f"{node.host}: {node.cpus:g} and {node.gpus:g}" for node in nodes)
        raise InputError(
            f"a cell takes {plural(shares.threads, 'CPU')} and {gpus:g} GPUs (--threads, --gpus-per-fold), and no node "
            f"has them ({there})"
        )
    return gpus


def fits(node: Node, cpus: int, gpus: float) -> bool:
    """Whether a cell runs on a node."""
    return node.cpus >= cpus and node.gpus >= gpus


def capacity(nodes: list[Node], cpus: int, gpus: float) -> int:
    """How many cells are trained at once."""
    count = 0
    for node in nodes:
        by_gpus = node.gpus // gpus if gpus else node.cpus
        count += int(min(node.cpus // cpus, by_gpus))
    return max(1, count)


def jobs_here(requests: Sequence[Request], threads: int) -> int:
    """How many cells this machine trains at once: one a core or GPU, as far as memory allows the largest."""
    cores = max(1, usable_cores() // threads)
    return min(jobs_that_fit(request.exp, cores) for request in requests)


def _warm_up(cluster: Cluster, shares: Shares) -> None:
    """Let the workers of this machine import torch while this process does."""
    for _ in range(shares.jobs):
        cluster.submit(warm_up, shares.threads, shares.threads, 0)


def prepared_cells(requests: Sequence[Request]) -> "tuple[list[Cell], dict[str, Prepared]]":
    """The cells, and each experiment that could be prepared; the cells of another one have failed."""
    with waiting("loading PyTorch"):
        from chestfold.train.prepare import prepare
        from chestfold.train.run import wanted_folds

    grid, ready = [], {}
    for request in requests:
        try:
            with waiting(f"{request.name}: data"):
                ready[request.name] = prepare(request)
                folds = wanted_folds(ready[request.name])
        except ChestfoldError as error:
            ready.pop(request.name, None)
            for fold in request.folds or (0,):
                grid.append(Cell(request.name, fold, request.exp.epochs, FAILED, error=str(error)))
            continue
        for fold in folds:
            cell = Cell(request.name, fold, request.exp.epochs)
            if folder_of(cell).is_finished():
                cell.state = FINISHED
            grid.append(cell)
    return grid, ready


def create_orders(
    ready: "dict[str, Prepared]",
    grid: list[Cell],
    threads: int,
    mark: str,
    gpus: float,
    tracker: tuple[str, str | None],
) -> dict[Cell, Order]:
    """What a machine needs to know of each open cell, and to have."""
    wanted, folders, orders = needs(), own_folders(), {}
    for cell in grid:
        if cell.is_open:
            experiment = ready[cell.name]
            config = experiment.fold_config(cell.fold, threads)
            fingerprint = config.fingerprint | (config.shown or {})
            of_cell = replace(wanted, fingerprint=fingerprint)
            orders[cell] = Order(experiment.request, cell.fold, threads, of_cell, folders, mark, gpus > 0, tracker)
    return orders


def own_folders() -> dict[str, str]:
    """CHESTFOLD_* of this machine, for those that do not set them."""
    folders = {
        "CHESTFOLD_PROJECT": project_dir(),
        "CHESTFOLD_INPUT": input_dir(),
        "CHESTFOLD_CACHE": cache_dir(),
        "CHESTFOLD_RUNS": runs_dir(),
        "CHESTFOLD_SUBMISSIONS": submissions_dir(),
    }
    if os.environ.get("CHESTFOLD_WEIGHTS"):  # which forbids the hub
        folders["CHESTFOLD_WEIGHTS"] = weights_dir()
    return {name: str(path) for name, path in folders.items()}


@contextmanager
def shared_mark() -> Iterator[str]:
    """Name of a file in the runs folder, by which a machine knows whether it shares that folder.

    It says whose it is, so that one that a killed command has left is deleted by the next one on this machine.
    """
    path = _mark_of(os.getpid())
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".sweep-{machine()}-*.tmp"):
        if left != _mark_of(int(left.name.split("-")[2])):
            left.unlink(missing_ok=True)
    path.touch()
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)


def _mark_of(pid: int) -> Path:
    started = sha256(str(start_time(pid)).encode())[:8]
    return runs_dir() / f".sweep-{machine()}-{pid}-{started}.tmp"


def folder_of(cell: Cell) -> FoldFolder:
    """Where the fold of a cell leaves what it makes."""
    return RunFolder(cell.name).fold(cell.fold)


def collect_runs(ready: "dict[str, Prepared]", grid: list[Cell], tracker: tuple[str, str | None]) -> None:
    """Score each run of which all wanted folds are finished."""
    from chestfold.integrations.tracker import open_tracker
    from chestfold.train.run import finish_run

    for name, experiment in ready.items():
        if all(cell.state == FINISHED for cell in grid if cell.name == name):
            finish_run(experiment, open_tracker(*tracker))


class Sweep:
    """Hands out cells until none is open any more."""

    def __init__(
        self, cluster: Cluster, orders: dict[Cell, Order], table: GridTable, threads: int, gpus: float
    ) -> None:
        self._cluster = cluster
        self._orders = orders
        self._table = table
        self._threads, self._gpus = threads, gpus
        self._tasks: dict[Task, Cell] = {}
        self._refused: dict[str, str] = {}  # node -> sentence
        self._incoming: dict[Cell, Incoming] = {}

    def run(self) -> None:
        """Returns when each cell is finished or has failed."""
        while any(cell.is_open for cell in self._orders):
            for cell in self._orders:
                if cell.is_open and cell not in self._tasks.values() and time.monotonic() >= cell.not_before:
                    self._begin(cell)
            if not self._tasks:
                time.sleep(POLL_SECONDS)
                continue
            for task, event in self._cluster.poll(list(self._tasks), POLL_SECONDS):
                self._receive(task, self._tasks[task], event)

    # A cell begins

    def _begin(self, cell: Cell) -> None:
        """Hand a cell in, unless it is finished, or another process trains it."""
        folder = folder_of(cell)
        try:
            if folder.is_finished():
                self._table.change(cell, FINISHED)
                return
        except InputError as error:
            self._fail(cell, str(error))
            return
        writer = folder.writer()
        if writer:
            self._wait(cell, LOCKED, f"{writer.pid} on {writer.host}")
            return
        if cell.appears_until:
            self._await_files(cell)
            return
        nodes = [node for node in self._cluster.nodes() if fits(node, self._threads, self._gpus)]
        if nodes and all(node.id in self._refused for node in nodes):
            self._fail(cell, "; ".join(self._refused[node.id] for node in nodes))
            return
        self._table.change(cell, WAITING)
        cell.has_begun = False
        order = self._orders[cell]
        task = self._cluster.submit(train_cell, order, self._threads, self._gpus, self._refused)
        self._tasks[task] = cell

    def _wait(self, cell: Cell, state: str, place: str) -> None:
        cell.place = place
        cell.not_before = time.monotonic() + LOOK_SECONDS
        self._table.change(cell, state)

    def _await_files(self, cell: Cell) -> None:
        """A fold was finished elsewhere, and its folder does not show it yet."""
        cell.not_before = time.monotonic() + LOOK_SECONDS
        if time.monotonic() > cell.appears_until:
            self._fail(cell, f"{cell.place} has finished it, and its files are not in {folder_of(cell).path}")

    # What is heard of it

    def _receive(self, task: Task, cell: Cell, event: Event) -> None:
        if isinstance(event, Place):
            cell.has_begun, cell.node, cell.place = True, event.node, event.host
            self._table.change(cell, TRAINING)
        elif isinstance(event, Lost):
            self._lose(task, cell, event.cause)
        elif isinstance(event, Ended):
            self._lose(task, cell, "it ended without a word")
        else:
            self._message(task, cell, event)

    def _message(self, task: Task, cell: Cell, message: Message) -> None:
        kind, *content = message
        if kind in ("fold", "bar"):
            cell.show(kind, content)
        elif kind == "say":
            say(f"{cell}: {content[0]}")
        elif kind == "file":
            self._incoming.setdefault(cell, Incoming(folder_of(cell))).add(*content)
        else:
            del self._tasks[task]
            outcomes: dict[str, Callable[..., None]] = {
                "finished": self._finish,
                "locked": self._locked,
                "refused": self._refuse,
                "failed": self._fail,
                "ended": self._ended,
            }
            outcomes[kind](cell, *content)

    def _finish(self, cell: Cell) -> None:
        """Take over the files where they came, else wait until they are seen."""
        incoming = self._incoming.pop(cell, None)
        if incoming:
            try:
                incoming.install()
            except Locked:
                self._wait(cell, LOCKED, cell.place)
                return
            except ChestfoldError as error:
                self._fail(cell, str(error))
                return
            self._table.change(cell, FINISHED)
            return
        cell.appears_until = time.monotonic() + APPEAR_SECONDS
        self._begin(cell)

    def _locked(self, cell: Cell, sentence: str) -> None:
        self._wait(cell, LOCKED, cell.place)

    def _refuse(self, cell: Cell, sentence: str) -> None:
        """A node cannot train it: it is left out from now on."""
        if cell.node not in self._refused:
            self._refused[cell.node] = sentence
            say(f"left out: {sentence}")
        self._table.change(cell, WAITING)

    def _fail(self, cell: Cell, sentence: str) -> None:
        cell.error = sentence
        self._table.change(cell, FAILED)

    def _ended(self, cell: Cell, cause: str) -> None:
        self._lose(None, cell, f"its process on {cell.place} was ended by {cause}")

    def _lose(self, task: Task | None, cell: Cell, cause: str) -> None:
        """Its process is gone: it goes on elsewhere, from its last checkpoint."""
        if task:
            del self._tasks[task]
        incoming = self._incoming.pop(cell, None)
        if incoming:
            incoming.discard()
        if cell.epoch > cell.reached:
            cell.losses = 0
        cell.losses += cell.has_begun  # one that was lost while it waited in Ray's queue has not done anything wrong
        cell.not_before = time.monotonic() + LOOK_SECONDS
        cell.reached = max(cell.reached, cell.epoch)
        if cell.losses > LOSSES:
            self._fail(cell, f"{cause}, the {cell.losses}th time without a new epoch; does it need more memory?")
            return
        say(f"{cell}: {cause}; it is handed out again")
        self._table.change(cell, WAITING)


@dataclass
class Incoming:
    """The files of a fold that come from a machine with a runs folder of its own."""

    folder: FoldFolder
    hashes: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where this process keeps them until they are complete."""
        return temporary_beside(self.folder.path)

    def add(self, name: str, part: bytes, digest: str) -> None:
        """Take the next part of a file; `digest`: of the whole file, with its last part."""
        if not self.hashes:
            self.discard()
            self.path.mkdir(parents=True)
        path = self.path / Path(name).name
        with path.open("ab") as file:
            file.write(part)
        self.hashes[path.name] = digest

    def install(self) -> None:
        """Put them where the fold belongs, the manifest last; nothing is done where it is finished already.

        Raises:
            Locked: another process works there.
            ChestfoldError: a file is not the one that was sent.
        """
        with self.folder.lock():
            if not self.folder.is_finished():
                self._require_sent()
                self.folder.clear()
                for name in self.hashes:
                    move(self.path / name, self.folder.path / name)
                self.folder.is_finished()  # each file is the one that the manifest names
            for left in self.path.parent.glob(f".{self.folder.path.name}.*.tmp"):  # of commands that were killed, too
                shutil.rmtree(left, ignore_errors=True)

    def _require_sent(self) -> None:
        for name, digest in self.hashes.items():
            if sha256_file(self.path / name) != digest:
                raise ChestfoldError(f"{name} of {self.folder.path} is not the file that was sent; start again")

    def discard(self) -> None:
        """Delete what has come."""
        shutil.rmtree(self.path, ignore_errors=True)
