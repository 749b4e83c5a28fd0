"""Several folds at once, each in a process of its own; the parent shares out the folds, prints, and collects.

On Linux a server imports torch and the rest while the parent does, and those that train are forked from it, before it
has started a thread. Elsewhere (macOS's frameworks do not survive a fork) each imports them itself. Each process has a
pipe of its own, so that one that is killed cannot block another. They end when the parent does, however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from chestfold.core.config import Experiment, Request
from chestfold.core.console import forward_to, plural, say, waiting
from chestfold.core.errors import ChestfoldError, TrainingError
from chestfold.core.files import Locked
from chestfold.core.memory import tune_memory
from chestfold.core.panel import Panel
from chestfold.core.processes import watch_parent
from chestfold.train.threads import jobs_that_fit, usable_cores

if TYPE_CHECKING:
    from chestfold.evaluate.results import Result

START = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")


@dataclass
class Job:
    """A training process, and the fold that it is working on; None: it waits for one."""

    number: int
    process: Any
    pipe: Connection
    fold: int | None = None


def run_jobs(request: Request, jobs: int, threads: int, tracker: tuple[str, str | None]) -> "Result":
    """Train the folds of a request, `jobs` at once with `threads` CPU threads each, and collect them.

    Args:
        request: the run and its folds.
        jobs: processes.
        threads: of each process, for folds that begin now.
        tracker: name and mode, as `open_tracker` takes them.

    Raises:
        ChestfoldError: the first one of a fold; the folds that were being trained then are finished before.
        TrainingError: a process was killed; the other folds are finished before.
    """
    _begin_to_import(threads)
    with waiting("loading PyTorch"):
        from chestfold.integrations.tracker import open_tracker
        from chestfold.train.prepare import prepare
        from chestfold.train.run import finish_run, wanted_folds

    with _processes(request, jobs, threads, tracker) as started:
        ready = prepare(request)
        folds = list(wanted_folds(ready))
        outcome = Outcome()
        with Panel(request.name, len(folds), jobs) as panel:
            share_out(started, folds, panel, outcome)
    outcome.raise_first(len(folds))
    return finish_run(ready, open_tracker(*tracker))


class Outcome:
    """What became of the folds that were not finished."""

    def __init__(self) -> None:
        self.errors: list[ChestfoldError] = []
        self.locked: list[Locked] = []

    def add(self, fold: int, error: ChestfoldError) -> None:
        """Note the error of a fold. One that another process trains is passed over."""
        if isinstance(error, Locked):
            self.locked.append(error)
            say(f"fold {fold} is passed over: {error}")
        else:
            self.errors.append(error)

    def raise_first(self, folds: int) -> None:
        """Raise the first error, or `Locked` where every one of the `folds` is trained by another process."""
        if self.errors:
            raise self.errors[0]
        if len(self.locked) == folds:
            raise self.locked[0]


@contextmanager
def _processes(request: Request, jobs: int, threads: int, tracker: tuple[str, str | None]) -> Iterator[list[Job]]:
    """The running processes; whatever happens, none of them is left."""
    started = []
    try:
        with _interrupts_deferred(), _environment(threads):
            for number in range(jobs):
                ours, theirs = START.Pipe()
                given = (theirs, os.environ.copy(), request, threads, tracker)
                process = START.Process(target=work, args=given, name=f"job {number}")  # type: ignore[attr-defined]
                process.start()
                theirs.close()
                started.append(Job(number, process, ours))
        yield started
        for job in started:
            job.process.join()
    finally:
        for job in started:
            if job.process.is_alive():
                job.process.kill()


def _begin_to_import(threads: int) -> None:
    """Start the server, which imports while this process does."""
    if START.get_start_method() == "forkserver":
        START.set_forkserver_preload(["chestfold.train.preload"])
        with _interrupts_deferred(), _environment(threads):
            forkserver.ensure_running()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """OMP_NUM_THREADS, which torch reads when it is imported, for the processes that are started meanwhile."""
    before = os.environ.copy()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        os.environ.update(before)


@contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Let Ctrl-C wait. A process that is started meanwhile never gets it: this one does, and ends the others."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which the first process would start, and let Ctrl-C through again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def share_out(jobs: list[Job], folds: list[int], panel: Panel, outcome: Outcome) -> None:
    """Give each process the next fold until none is left; after an error no further fold is begun."""
    waiting = list(folds)
    open_jobs = {job.pipe: job for job in jobs}
    while open_jobs:
        for pipe in wait(list(open_jobs)):
            job = open_jobs[pipe]  # type: ignore[index]
            try:
                message = job.pipe.recv()
            except EOFError:
                del open_jobs[job.pipe]
                _note_a_killed_process(job, outcome)
                continue
            if message[0] == "ready":
                job.fold = waiting.pop(0) if waiting and not outcome.errors else None
                _send(job, job.fold)
            elif message[0] == "failed":
                outcome.add(message[1], message[2])
            else:
                panel.receive(job.number, message)


def _send(job: Job, fold: int | None) -> None:
    with suppress(BrokenPipeError):  # it was killed: reading its pipe will show it
        job.pipe.send(fold)


def _note_a_killed_process(job: Job, outcome: Outcome) -> None:
    job.process.join()
    if job.process.exitcode == 0:
        return
    cause = signal.Signals(-job.process.exitcode).name if job.process.exitcode < 0 else "an error"
    which = f"the process of fold {job.fold}" if job.fold is not None else "a process that had begun no fold"
    outcome.errors.append(
        TrainingError(
            f"{which} was ended by {cause}; run the same command again, it resumes from the last "
            "checkpoint (if memory ran out: with a smaller --jobs)"
        )
    )


# In the process


def work(
    pipe: Connection, environment: dict[str, str], request: Request, threads: int, tracker: tuple[str, str | None]
) -> None:
    """Train fold after fold, as the parent names them, until it names None."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows it is not blocked
    os.environ.clear()
    os.environ.update(environment)  # the server has that of the time when it was started
    threading.Thread(target=watch_parent, daemon=True).start()
    tune_memory()
    from chestfold.integrations.tracker import open_tracker
    from chestfold.train.prepare import prepare
    from chestfold.train.run import train_fold

    forward_to(lambda message: None)  # the parent has printed the notes about the data
    ready = None
    opened = open_tracker(*tracker)
    while (fold := _next_fold(pipe)) is not None:
        ready = ready or prepare(request)
        forward_to(pipe.send)
        try:
            train_fold(ready, fold, opened, threads)
        except ChestfoldError as error:
            pipe.send(("failed", fold, error))
        except Exception:
            pipe.send(("say", traceback.format_exc()))
            raise
    opened.close()


def _next_fold(pipe: Connection) -> int | None:
    pipe.send(("ready",))
    return pipe.recv()


def plan(exp: Experiment, folds: int, jobs: int, threads: int) -> tuple[int, int]:
    """How many of `folds` are trained at once, and with how many threads each; 0: not given."""
    alone = int(os.environ.get("WORLD_SIZE", "1")) > 1  # torchrun's processes share one fold
    jobs = 1 if alone or folds < 2 else min(jobs or jobs_that_fit(exp, folds), folds)
    return jobs, threads or max(1, usable_cores() // jobs)


def describe_plan(folds: int, jobs: int, threads: int) -> str:
    """The first line of a command: what runs at once."""
    if jobs > 1:
        return f"{plural(folds, 'fold')}, {jobs} at once with {plural(threads, 'CPU thread')} each (--jobs, --threads)"
    return f"{plural(folds, 'fold')}, one after the other, with {plural(threads, 'CPU thread')} (--jobs, --threads)"
