"""How many folds are trained at once, with how many threads each, and what their processes and their parent say."""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe, forkserver
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import tiny_experiment

from chestfold.core import console, device
from chestfold.core.config import Request
from chestfold.core.errors import ChestfoldError, InputError, TrainingError
from chestfold.core.files import Locked, read_json
from chestfold.core.run_folder import RunFolder
from chestfold.train import jobs, run, threads
from chestfold.train.jobs import Job, Outcome, describe_plan, plan, run_jobs, share_out
from chestfold.train.threads import jobs_that_fit, usable_cores

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """Call it with cores, memory in GiB and whether there is a GPU."""

    def describe(cores: int, memory: float = 1000, gpu: bool = False) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        monkeypatch.setattr(threads, "available_memory", lambda: memory * GIB)
        monkeypatch.delenv("CHESTFOLD_DEVICE", raising=False)
        monkeypatch.setattr(device.os.path, "exists", lambda path: gpu and path in device.GPU_FILES)
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)

    return describe


EXP = tiny_experiment()


@pytest.mark.parametrize(("cores", "folds", "fit"), [(1, 5, 1), (2, 5, 2), (8, 5, 5), (8, 1, 1)])
def test_a_core_trains_a_fold(machine, cores, folds, fit):
    machine(cores)
    assert jobs_that_fit(EXP, folds) == fit


def test_a_gpu_trains_one_fold_at_a_time(machine):
    machine(cores=16, gpu=True)
    assert jobs_that_fit(EXP, 5) == 1


@pytest.mark.parametrize(("name", "fit"), [("auto", 1), ("cpu", 5), ("cuda", 1), ("cuda:1", 1)])
def test_folds_go_side_by_side_on_the_cpu_of_a_machine_with_gpus(machine, monkeypatch, name, fit):
    machine(cores=16, gpu=True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    device.choose_device(name)
    assert jobs_that_fit(EXP, 5) == fit


@pytest.mark.parametrize(("memory", "fit"), [(0.5, 1), (2, 1), (4, 2), (100, 8)])
def test_memory_limits_the_folds_but_one_is_always_trained(machine, memory, fit):
    machine(cores=8, memory=memory)
    assert jobs_that_fit(EXP, 8) == fit


def test_larger_images_and_batches_take_more_memory(machine):
    machine(cores=8, memory=16)
    assert jobs_that_fit(EXP, 8) == 8
    assert jobs_that_fit(tiny_experiment(image_size=224, batch_size=32), 8) < 8
    assert jobs_that_fit(tiny_experiment(image_size=448, batch_size=64), 8) == 1


@pytest.mark.parametrize(
    ("folds", "given", "planned"),
    [
        (5, (0, 0), (4, 1)),
        (2, (0, 0), (2, 2)),
        (1, (0, 0), (1, 4)),
        (5, (2, 0), (2, 2)),
        (5, (1, 0), (1, 4)),
        (5, (9, 0), (5, 1)),  # no more than there are folds
        (5, (0, 3), (4, 3)),
        (5, (2, 1), (2, 1)),
        (1, (4, 2), (1, 2)),
        (0, (0, 0), (1, 4)),  # all finished: they are collected in this process
    ],
)
def test_what_is_not_given_is_chosen_for_the_cores(machine, folds, given, planned):
    machine(cores=4)
    assert plan(EXP, folds, *given) == planned


def test_the_processes_of_torchrun_share_one_fold(machine, monkeypatch):
    machine(cores=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan(EXP, 5, 3, 0)[0] == 1


@pytest.mark.parametrize(("limit", "cores"), [("1", 1), ("2", 2), ("9", 4), ("0", 4), ("", 4), ("many", 4), ("²", 4)])
def test_omp_num_threads_lowers_the_number_of_cores(machine, monkeypatch, limit, cores):
    machine(cores=4)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("folds", "planned", "text"),
    [
        (5, (4, 1), "5 folds, 4 at once with 1 CPU thread each (--jobs, --threads)"),
        (5, (2, 2), "5 folds, 2 at once with 2 CPU threads each (--jobs, --threads)"),
        (5, (1, 4), "5 folds, one after the other, with 4 CPU threads (--jobs, --threads)"),
    ],
)
def test_the_plan_is_said_in_a_line(folds, planned, text):
    assert describe_plan(folds, *planned) == text


def test_a_resumed_fold_keeps_the_number_of_threads_in_its_config(project, monkeypatch):
    """The number decides the last bits of a sum, and so the bytes of the weights."""
    used: list[int] = []
    monkeypatch.setattr(run, "set_threads", used.append)
    request = Request("exp100", tiny_experiment(epochs=1, max_steps=1), folds=(0,))
    run.run_request(request, threads=2)
    folder = project.runs / "exp100" / "fold0"
    assert read_json(folder / "config.json")["threads"] == 2
    (folder / "manifest.json").unlink()
    run.run_request(request, threads=1)
    assert used == [2, 2] and read_json(folder / "config.json")["threads"] == 2


@pytest.mark.slow
def test_processes_work_in_the_project_of_the_moment_not_in_that_of_their_server(project, monkeypatch, tmp_path):
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(tmp_path / "elsewhere"))
    forkserver.ensure_running()
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(project.root))
    request = Request("exp100", tiny_experiment(epochs=1), (0, 1), overwrite=False, parent="", changed={})
    assert run_jobs(request, 2, 1, ("wandb", "disabled")).record.folds.trained == (0, 1)
    assert (project.runs / "exp100" / "fold1" / "manifest.json").exists()


def test_one_process_passes_over_a_locked_fold_too(project, capsys):
    locked = RunFolder("exp100").fold(0)
    with locked.lock():
        project.run(tiny_experiment(epochs=1), "--fold", "0", "1")
    printed = capsys.readouterr().out
    assert "fold 0 is passed over: another process" in printed and f"is working in {locked.path}" in printed
    assert not locked.manifest_path.exists() and RunFolder("exp100").fold(1).manifest_path.exists()


def test_a_script_that_trains_when_it_is_imported_is_refused_in_one_sentence(tmp_path, capsys):
    """The processes that train folds import it by this name."""
    script = tmp_path / "exp001.py"
    script.write_text("from chestfold import Experiment, run\n\nEXP = Experiment(data='tiny')\nrun(EXP)\n")
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(script), run_name="__mp_main__")
    assert stopped.value.code == 2
    assert f'{script}: run(EXP) stands outside of `if __name__ == "__main__":`' in capsys.readouterr().err


# The parent: every process is a stand-in


class Said:
    """Stands in for a process and the parent's end of its pipe: it has said some messages, and then it ended."""

    def __init__(self, *messages: Any, code: int = 0) -> None:
        self.messages, self.code = list(messages), code
        self.given: list[Any] = []
        self.exitcode: int | None = None
        self.broken = False

    def recv(self) -> Any:
        if not self.messages:
            raise EOFError
        return self.messages.pop(0)

    def send(self, fold: int | None) -> None:
        if self.broken:
            raise BrokenPipeError
        self.given.append(fold)

    def join(self) -> None:
        self.exitcode = self.code


def shared(
    monkeypatch: pytest.MonkeyPatch, folds: list[int], *processes: Said
) -> tuple[list[tuple[int, Any]], Outcome]:
    """What the panel has received, and the outcome. In each round all are heard that have not ended."""
    monkeypatch.setattr(jobs, "wait", list)
    received: list[tuple[int, Any]] = []
    panel: Any = SimpleNamespace(receive=lambda *given: received.append(given))
    outcome = Outcome()
    started: list[Any] = [Job(10 + number, each, each) for number, each in enumerate(processes)]  # type: ignore[arg-type]
    share_out(started, folds, panel, outcome)
    return received, outcome


READY = ("ready",)
RESUMES = "; run the same command again, it resumes from the last checkpoint (if memory ran out: with a smaller --jobs)"


def test_each_process_gets_the_next_fold_when_it_is_ready_and_none_at_the_end(monkeypatch):
    quick, slow, late = Said(READY, READY, READY), Said(READY, ("say", "a"), ("bar", "b", 2, 1), READY), Said(READY)
    folds = [4, 0, 7, 2]
    received, outcome = shared(monkeypatch, folds, quick, slow, late)
    assert (quick.given, slow.given, late.given) == ([4, 2, None], [0, None], [7])
    assert received == [(11, ("say", "a")), (11, ("bar", "b", 2, 1))]
    assert outcome.errors == outcome.locked == [] and folds == [4, 0, 7, 2]
    assert [each.exitcode for each in (quick, slow, late)] == [0, 0, 0]


def test_after_an_error_no_fold_is_begun_but_what_is_trained_is_heard_to_its_end(monkeypatch):
    error = InputError("no such image")
    failing = Said(READY, ("failed", 4, error), READY)
    other = Said(READY, ("say", "a"), ("say", "b"), READY)
    received, outcome = shared(monkeypatch, [4, 5, 6], failing, other)
    assert (failing.given, other.given) == ([4, None], [5, None])
    assert outcome.errors == [error] and [message for _, message in received] == [("say", "a"), ("say", "b")]


def test_after_a_locked_fold_the_next_one_is_trained(monkeypatch, capsys):
    error = Locked("another process is working there")
    process = Said(READY, ("failed", 4, error), READY, READY)
    _, outcome = shared(monkeypatch, [4, 5], process)
    assert process.given == [4, 5, None] and outcome.errors == [] and outcome.locked == [error]
    assert capsys.readouterr().out == "fold 4 is passed over: another process is working there\n"


@pytest.mark.parametrize(("code", "cause"), [(-9, "SIGKILL"), (-1, "SIGHUP"), (1, "an error"), (70, "an error")])
@pytest.mark.parametrize(
    ("said", "which"),
    [([], "a process that had begun no fold"), ([READY], "the process of fold 0"), ([READY, READY], "fold 3")],
)
def test_a_process_that_was_ended_is_the_error_of_its_fold(monkeypatch, code, cause, said, which):
    other = Said(READY, ("say", "a"), ("say", "b"), ("say", "c"), READY)
    _, outcome = shared(monkeypatch, [0, 2, 3, 4], Said(*said, code=code), other)
    assert other.given[1:] == [None], "the others finish theirs, and begin no further one"
    (error,) = outcome.errors
    assert type(error) is TrainingError and str(error).endswith(f"{which} was ended by {cause}{RESUMES}")


def test_a_process_that_dies_while_it_is_given_a_fold_is_told_of_by_its_end(monkeypatch):
    dying = Said(READY, code=-9)
    dying.broken = True
    _, outcome = shared(monkeypatch, [5], dying)
    assert [str(error) for error in outcome.errors] == [f"the process of fold 5 was ended by SIGKILL{RESUMES}"]


def test_the_first_error_is_raised_and_locks_only_where_all_folds_are_locked():
    first, second, locked = InputError("first"), TrainingError("second"), [Locked("one"), Locked("two")]
    outcome = Outcome()
    outcome.raise_first(1)
    for fold, error in enumerate(locked):
        outcome.add(fold, error)
    outcome.raise_first(3)
    with pytest.raises(Locked, match=r"^one$"):
        outcome.raise_first(2)
    outcome.add(2, first)
    outcome.add(3, second)
    for folds in (2, 5):
        with pytest.raises(InputError, match=r"^first$"):
            outcome.raise_first(folds)


def interrupts_wait() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, set())


class Process:
    """Stands in for a process of multiprocessing; it lives until it is killed or joined. `did`: by all of them."""

    did: list[Any]
    broken = ""

    def __init__(self, target: Callable[..., Any], args: tuple, name: str) -> None:
        self.target, self.args, self.name = target, args, name
        self.lives = False

    def start(self) -> None:
        if self.name == self.broken:
            raise OSError("no more processes")
        self.lives = True
        self.did.append(("start", self.name, interrupts_wait(), os.environ["OMP_NUM_THREADS"]))

    def join(self) -> None:
        self.lives = False
        self.did.append(("join", self.name))

    def is_alive(self) -> bool:
        return self.lives

    def kill(self) -> None:
        self.did.append(("kill", self.name))


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is done to processes, none of which is started."""
    done: list[Any] = []
    monkeypatch.setattr(Process, "did", done, raising=False)
    monkeypatch.setattr(jobs, "START", SimpleNamespace(Pipe=Pipe, Process=Process))
    note = lambda: done.append(("tracker", interrupts_wait()))  # noqa: E731
    monkeypatch.setattr(jobs.resource_tracker, "ensure_running", note)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    return done


REQUEST = Request("exp100", EXP, folds=(0, 1))
STARTED = [("tracker", False), ("start", "job 0", True, "3"), ("start", "job 1", True, "3")]


def test_processes_are_started_with_their_threads_and_waited_for(did):
    with jobs._processes(REQUEST, 2, 3, ("wandb", "disabled")) as started:
        assert did == STARTED
        assert not interrupts_wait() and os.environ["OMP_NUM_THREADS"] == "7"
        assert [(job.number, job.process.name, job.fold) for job in started] == [(0, "job 0", None), (1, "job 1", None)]
        for job in started:
            theirs, environment, *given = job.process.args
            assert job.process.target is jobs.work and given == [REQUEST, 3, ("wandb", "disabled")]
            assert environment == dict(os.environ) | {"OMP_NUM_THREADS": "3"}
            assert theirs.closed, "or the end of the process would not be seen"
            with pytest.raises(EOFError):
                job.pipe.recv()
    assert did[3:] == [("join", "job 0"), ("join", "job 1")]


def test_processes_that_still_live_after_an_error_are_killed(did):
    with pytest.raises(KeyboardInterrupt), jobs._processes(REQUEST, 2, 3, ("wandb", None)) as started:
        started[0].process.lives = False
        raise KeyboardInterrupt
    assert did == [*STARTED, ("kill", "job 1")]


def test_a_process_that_cannot_be_started_ends_those_before_it(did, monkeypatch):
    monkeypatch.setattr(Process, "broken", "job 1")
    with pytest.raises(OSError, match="no more processes"), jobs._processes(REQUEST, 3, 3, ("wandb", None)):
        pass
    assert did == [*STARTED[:2], ("kill", "job 0")]
    assert not interrupts_wait() and os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("known", ["7", None])
def test_threads_are_in_the_environment_only_while_processes_are_started(monkeypatch, known):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if known:
        monkeypatch.setenv("OMP_NUM_THREADS", known)
    with suppress(OSError), jobs._environment(3):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        raise OSError
    assert os.environ.get("OMP_NUM_THREADS") == known


def test_a_system_without_signal_masks_starts_processes_too(did, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delattr(signal, "pthread_sigmask")
        with jobs._interrupts_deferred():
            did.append("within")
    assert did == ["within"]


@pytest.mark.parametrize(("method", "is_started"), [("forkserver", True), ("spawn", False)])
def test_a_server_imports_ahead_where_processes_are_forked_from_one(did, monkeypatch, method, is_started):
    def preload(names: list[str]) -> None:
        did.append(names)

    def ensure_running() -> None:
        did.append(("server", interrupts_wait(), os.environ["OMP_NUM_THREADS"]))

    context = SimpleNamespace(get_start_method=lambda: method, set_forkserver_preload=preload)
    monkeypatch.setattr(jobs, "START", context)
    monkeypatch.setattr(jobs.forkserver, "ensure_running", ensure_running)
    jobs._begin_to_import(3)
    expected = [["chestfold.train.preload"], ("tracker", False), ("server", True, "3")]
    assert did == (expected if is_started else [])
    assert not interrupts_wait() and os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_on_linux_processes_are_forked_from_a_server():
    assert jobs.START.get_start_method() == "forkserver"


@pytest.mark.parametrize("error", [None, InputError("no such image")])
def test_folds_are_collected_when_all_are_trained(monkeypatch, error):
    order: list[Any] = []

    @contextmanager
    def processes(*given: Any) -> Iterator[str]:
        order.append(("processes", *given))
        yield "started"
        order.append("ended")

    def share(started: Any, folds: list[int], panel: Any, outcome: Outcome) -> None:
        order.append(("share", started, folds, panel.name, panel.folds, panel.jobs))
        if error:
            outcome.add(0, error)

    monkeypatch.setattr(jobs, "_begin_to_import", lambda count: order.append(("import", count)))
    monkeypatch.setattr(jobs, "_processes", processes)
    monkeypatch.setattr(jobs, "share_out", share)
    monkeypatch.setattr("chestfold.train.prepare.prepare", lambda request: ("ready", request))
    monkeypatch.setattr(run, "wanted_folds", lambda ready: (4, 0, 2))
    monkeypatch.setattr(run, "finish_run", lambda *given: ("result", *given))
    monkeypatch.setattr("chestfold.integrations.tracker.open_tracker", lambda *given: given)
    tracker = ("wandb", "disabled")
    if error:
        with pytest.raises(InputError, match="no such image"):
            run_jobs(REQUEST, 2, 3, tracker)
    else:
        assert run_jobs(REQUEST, 2, 3, tracker) == ("result", ("ready", REQUEST), tracker)
    begun = [("import", 3), ("processes", REQUEST, 2, 3, tracker)]
    assert order == [*begun, ("share", "started", [4, 0, 2], "exp100", 3, 2), "ended"]


# The process that trains, in that of the test


class Training:
    """Stands in for what a process does; `errors`: of folds. What it says and sends is in `heard`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, errors: dict[int, Exception]) -> None:
        self.errors = errors
        self.did: list[Any] = []
        self.heard: list[Any] = []
        monkeypatch.setattr(jobs.signal, "signal", lambda *given: self.did.append(given))
        monkeypatch.setattr(jobs.threading, "Thread", self.thread)
        monkeypatch.setattr(jobs, "tune_memory", lambda: self.did.append("memory"))
        monkeypatch.setattr("chestfold.integrations.tracker.open_tracker", self.open_tracker)
        monkeypatch.setattr("chestfold.train.prepare.prepare", self.prepare)
        monkeypatch.setattr(run, "train_fold", self.train_fold)

    def thread(self, target: Any, daemon: bool) -> SimpleNamespace:
        return SimpleNamespace(start=lambda: self.did.append(("thread", target, daemon)))

    def open_tracker(self, *given: Any) -> SimpleNamespace:
        self.did.append(("open", *given))
        return SimpleNamespace(close=lambda: self.did.append("close"))

    def prepare(self, request: Request) -> tuple[str, Request]:
        console.say("a note about the data")
        self.did.append("prepare")
        return ("ready", request)

    def train_fold(self, ready: Any, fold: int, tracker: Any, count: int) -> None:
        assert ready == ("ready", REQUEST) and dict(os.environ) == {"ONLY": "this"}
        console.say(f"fold {fold}")
        self.did.append(("train", fold, count))
        if fold in self.errors:
            raise self.errors[fold]

    def work(self, *folds: int) -> None:
        """The parent gives `folds`, and then none."""
        ours, theirs = Pipe()
        for fold in (*folds, None):
            ours.send(fold)
        before = os.environ.copy()
        try:
            jobs.work(theirs, {"ONLY": "this"}, REQUEST, 3, ("wandb", "disabled"))
        finally:
            os.environ.clear()
            os.environ.update(before)
            console.forward_to(None)
            while ours.poll():
                self.heard.append(ours.recv())


BEGUN = [(signal.SIGINT, signal.SIG_IGN), ("thread", jobs.watch_parent, True), "memory", ("open", "wandb", "disabled")]


def test_a_process_trains_the_folds_that_it_is_given_until_there_is_none(monkeypatch, capsys):
    training = Training(monkeypatch, {})
    training.work(2, 0)
    assert training.did == [*BEGUN, "prepare", ("train", 2, 3), ("train", 0, 3), "close"]
    assert training.heard == [READY, ("say", "fold 2", ""), READY, ("say", "fold 0", ""), READY]
    assert capsys.readouterr().out == "", "the parent prints the notes about the data"


def test_a_process_without_a_fold_prepares_nothing(monkeypatch):
    training = Training(monkeypatch, {})
    training.work()
    assert training.did == [*BEGUN, "close"] and training.heard == [READY]


def test_a_fold_that_fails_is_told_of_and_the_parent_asked_again(monkeypatch):
    training = Training(monkeypatch, {2: ChestfoldError("the loss is nan")})
    training.work(2, 1)
    assert training.did[len(BEGUN) :] == ["prepare", ("train", 2, 3), ("train", 1, 3), "close"]
    ((kind, fold, error),) = [message for message in training.heard if message[0] == "failed"]
    assert (kind, fold, type(error), str(error)) == ("failed", 2, ChestfoldError, "the loss is nan")
    assert [message[0] for message in training.heard] == ["ready", "say", "failed", "ready", "say", "ready"]


def test_a_bug_is_shown_and_ends_the_process(monkeypatch):
    training = Training(monkeypatch, {2: ZeroDivisionError("a bug")})
    with pytest.raises(ZeroDivisionError):
        training.work(2, 1)
    ready, said, (kind, text) = training.heard
    assert (ready, said, kind) == (READY, ("say", "fold 2", ""), "say")
    assert "in train_fold" in text and text.endswith("ZeroDivisionError: a bug\n")
