"""A cell's three processes, each in the process of the test: a server, its child, and what they say to each other."""

import importlib
import io
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import tiny_experiment

import chestfold
from chestfold.core import console, memory
from chestfold.core.config import Request
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import DiskFull, Locked, sha256
from chestfold.core.run_folder import FoldFolder
from chestfold.train import cell, cell_server
from chestfold.train.cell import Messages, Needs, NodeDiffers, Order, Server, cause_of, in_a_child, outcome

REQUEST = Request("exp100", tiny_experiment(), folds=(0, 1, 2))


def order_of(fold: int = 1, threads: int = 3, on_gpu: bool = False, **folders: str) -> Order:
    wanted = Needs("c" * 64, "abc", {"torch": "1.0"}, {"index_sha256": "aa"})
    return Order(REQUEST, fold, threads, wanted, folders, "mark", on_gpu, ("wandb", "disabled"))


@pytest.fixture(autouse=True)
def _same_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A child empties the environment, and forwards what is shown."""
    before = os.environ.copy()
    yield
    os.environ.clear()
    os.environ.update(before)
    console.forward_to(None)


# The server, as Ray's worker sees it


class Process:
    """Stands in for the process of a server, which says some messages and ends with `code`; None: it lives."""

    def __init__(self, *messages: Any, code: int | None = None, rest: bytes = b"") -> None:
        self.read = io.BytesIO()
        self.stdin: Any = io.BufferedWriter(self.read)
        self.stdout = io.BytesIO(b"".join(map(pickle.dumps, messages)) + rest)
        self.returncode: int | None = None
        self.code = code

    def poll(self) -> int | None:
        return self.code

    def wait(self) -> None:
        self.returncode = self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Callable[[Process], tuple[Server, list[str], dict[str, Any]]]:
    """Call it with a process: the server that has it, the words of its command, and how it was started."""

    def start(process: Process) -> tuple[Server, list[str], dict[str, Any]]:
        given: list[Any] = []

        def popen(words: list[str], **how: Any) -> Process:
            given.extend([words, how])
            return process

        monkeypatch.setattr(cell.subprocess, "Popen", popen)
        return Server(3), given[0], given[1]

    return start


@pytest.mark.parametrize(("known", "more"), [(None, ""), ("", ""), ("/there", os.pathsep + "/there")])
def test_a_server_has_its_threads_this_package_and_a_parent(started, monkeypatch, known, more):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if known is not None:
        monkeypatch.setenv("PYTHONPATH", known)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KEPT", "as it is")
    _, words, how = started(Process(("ready",)))
    assert words == [sys.executable, "-m", "chestfold.train.cell_server", str(os.getpid())]
    assert how["env"]["OMP_NUM_THREADS"] == "3" and how["env"]["KEPT"] == "as it is"
    assert how["env"]["PYTHONPATH"] == str(Path(chestfold.__file__).resolve().parents[1]) + more
    assert how["start_new_session"] is True, "Ctrl-C is not for it"


def test_an_order_and_its_environment_go_to_the_server_at_once(started):
    process = Process(("ready",), ("done",))
    server, _, _ = started(process)
    assert list(server.run(order_of(), {"A": "b"})) == []
    assert pickle.loads(process.read.getvalue()) == (order_of(), {"A": "b"})


@pytest.mark.parametrize("last", [("finished",), ("ended", "SIGKILL")])
def test_the_messages_of_two_orders_are_kept_apart(started, last):
    server, _, _ = started(Process(("ready",), ("say", "one"), last, ("done",), ("say", "two"), ("done",)))
    assert list(server.run(order_of(), {})) == [("say", "one"), last]
    assert list(server.run(order_of(), {})) == [("say", "two")]


def first(messages: Iterator[Any], count: int = 5) -> list[Any]:
    return [message for message, _ in zip(messages, range(count), strict=False)]


@pytest.mark.parametrize("rest", [b"", b"\x80", b"Traceback: torch is not there"])
@pytest.mark.parametrize(
    ("code", "cause"), [(-9, "SIGKILL"), (-1, "SIGHUP"), (0, "an error (exit code 0)"), (1, "an error (exit code 1)")]
)
def test_what_a_dead_server_has_said_is_heard_and_then_what_ended_it(started, rest, code, cause):
    server, _, _ = started(Process(("ready",), ("say", "one"), code=code, rest=rest))
    assert first(server.run(order_of(), {})) == [("say", "one"), ("ended", cause)]
    assert not server.is_alive() and cause_of(code) == cause


def test_an_order_to_a_server_that_has_just_died_is_no_error(started):
    process = Process(("ready",), code=-9)

    def broken(_: bytes) -> int:
        raise BrokenPipeError

    process.stdin = SimpleNamespace(write=broken, flush=lambda: None)
    server, _, _ = started(process)
    assert first(server.run(order_of(), {})) == [("ended", "SIGKILL")]


class Servers:
    """Stands in for `Server`: each is one that was started; what it is given is kept."""

    started: list["Servers"]

    def __init__(self, threads: int) -> None:
        self.threads, self.lives = threads, True
        self.orders: list[tuple[Order, dict[str, str]]] = []
        self.started.append(self)

    def is_alive(self) -> bool:
        return self.lives

    def run(self, order: Order, environment: dict[str, str]) -> Iterator[Any]:
        self.orders.append((order, environment))
        yield ("finished",)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Servers]:
    Servers.started = []
    monkeypatch.setattr(cell, "Server", Servers)
    monkeypatch.setattr(cell, "_servers", {})
    return Servers.started


def test_a_worker_keeps_one_living_server_for_each_number_of_threads(servers):
    assert list(cell.warm_up(2)) == list(cell.warm_up(2)) == [("ready",)]
    assert [server.threads for server in servers] == [2]
    assert list(cell.train_cell(order_of(threads=2))) == [("finished",)]
    list(cell.train_cell(order_of(threads=1)))
    assert [server.threads for server in servers] == [2, 1]
    servers[0].lives = False
    list(cell.train_cell(order_of(threads=2)))
    list(cell.train_cell(order_of(threads=2)))
    assert [len(server.orders) for server in servers] == [1, 1, 2]


def test_a_cell_has_the_folders_of_the_asking_machine_where_its_own_has_none(servers, monkeypatch):
    monkeypatch.setenv("CHESTFOLD_RUNS", "/own")
    monkeypatch.delenv("CHESTFOLD_INPUT", raising=False)
    monkeypatch.delenv("CHESTFOLD_QUIET", raising=False)
    order = order_of(CHESTFOLD_RUNS="/asking", CHESTFOLD_INPUT="/asking/input")
    list(cell.train_cell(order))
    ((given, environment),) = servers[0].orders
    assert given == order
    assert (environment["CHESTFOLD_RUNS"], environment["CHESTFOLD_INPUT"]) == ("/own", "/asking/input")
    assert environment["CHESTFOLD_QUIET"] == "1"
    assert "CHESTFOLD_INPUT" not in os.environ and "CHESTFOLD_QUIET" not in os.environ, "a copy"


@pytest.mark.parametrize(("on_gpu", "device"), [(True, "auto"), (False, "cpu")])
def test_a_cell_that_was_lent_no_gpu_takes_none(servers, monkeypatch, on_gpu, device):
    monkeypatch.setenv("CHESTFOLD_DEVICE", "auto")
    list(cell.train_cell(order_of(on_gpu=on_gpu)))
    assert servers[0].orders[0][1]["CHESTFOLD_DEVICE"] == device


# The server's own process


def serve(monkeypatch: pytest.MonkeyPatch, *orders: Any) -> tuple[list[Any], list[Any]]:
    """What the server writes, each message as soon as it is said, and what it does besides."""
    written = io.BytesIO()
    done: list[Any] = []
    answers = io.BufferedWriter(written)
    answers.close = lambda: None  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "argv", ["cell_server", "77"])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"".join(map(pickle.dumps, orders)))))
    monkeypatch.setattr(cell_server, "end_with_parent", lambda parent: done.append(("end with", parent)))
    monkeypatch.setitem(sys.modules, "chestfold.train.preload", ModuleType("preload"))

    def dup(number: int) -> int:
        done.append(("dup", number))
        return 9

    def fdopen(number: int, mode: str) -> Any:
        done.append(("fdopen", number, mode))
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", dup)
        patch.setattr(os, "dup2", lambda number, other: done.append(("dup2", number, other)))
        patch.setattr(os, "fdopen", fdopen)
        cell_server.main()
    said = written.getvalue()
    stream, messages = io.BytesIO(said), []
    with suppress(EOFError):
        while True:
            messages.append(pickle.load(stream))
    return messages, done


def test_a_server_trains_each_order_in_a_child_until_there_is_no_parent(monkeypatch):
    def child(order: Any, environment: Any) -> Iterator[Any]:
        yield ("say", order, environment)
        yield ("finished",)

    monkeypatch.setattr(cell, "in_a_child", child)
    messages, done = serve(monkeypatch, ("one", {"A": "b"}), ("two", {}))
    first, second = [("say", "one", {"A": "b"}), ("finished",)], [("say", "two", {}), ("finished",)]
    assert messages == [("ready",), *first, ("done",), *second, ("done",)]
    stdout, stderr = 1, 2
    assert done == [("end with", 77), ("dup", stdout), ("fdopen", 9, "wb"), ("dup2", stderr, stdout)]


def test_memory_is_tuned_before_the_server_imports_what_is_large(monkeypatch):
    name = "chestfold.train.preload"
    for each in (name, "matplotlib", "sklearn", "sklearn.covariance", "chestfold.train.run"):
        monkeypatch.setitem(sys.modules, each, ModuleType(each))
    del sys.modules[name]
    calls: list[int] = []
    monkeypatch.setattr(memory, "tune_memory", lambda: calls.append(1))
    importlib.import_module(name)
    assert calls == [1]


class Child:
    """Stands in for the child's process: it does its work at once, and has ended with `exitcode` then."""

    pid = 4321
    exitcode = 0
    given: tuple
    last: "Child"

    def __init__(self, target: Callable[..., Any], args: tuple) -> None:
        self.target, self.given = target, args
        self.did: list[Any] = []
        Child.last = self

    def start(self) -> None:
        self.target(*self.given)

    def is_alive(self) -> bool:
        return False

    def join(self) -> None:
        self.did.append("join")


class LivingChild(Child):
    """Its process has closed the pipe, and not ended yet."""

    def is_alive(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Child, LivingChild])
@pytest.mark.parametrize(
    ("exitcode", "last"), [(0, []), (1, [("ended", "an error (exit code 1)")]), (-9, [("ended", "SIGKILL")])]
)
@pytest.mark.parametrize("is_left", [True, False])
def test_all_that_a_child_said_is_heard_and_its_group_is_ended(monkeypatch, kind, exitcode, last, is_left):
    def work(pipe: Any, order: Order, environment: dict[str, str], parent: int) -> None:
        pipe.send(("say", order, environment, parent))
        pipe.send(("finished",))

    def killpg(group: int, number: int) -> None:
        Child.last.did.append((group, number))
        if not is_left:
            raise ProcessLookupError

    monkeypatch.setattr(cell, "START", SimpleNamespace(Pipe=Pipe, Process=kind))
    monkeypatch.setattr(kind, "exitcode", exitcode)
    monkeypatch.setattr(cell, "work", work)
    monkeypatch.setattr(os, "killpg", killpg)
    heard = list(in_a_child(order_of(), {"A": "b"}))
    assert heard == [("say", order_of(), {"A": "b"}, os.getpid()), ("finished",), *last]
    child = Child.last
    assert child.did == ["join", (child.pid, signal.SIGKILL)]
    assert child.given[0].closed, "or the end of the child would not be seen"


# The child


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `work` does to its process, which is that of the test."""
    did: list[Any] = []

    class Thread:
        def __init__(self, target: Any, daemon: bool) -> None:
            self.about = ("thread", target, daemon)

        def start(self) -> None:
            did.append(self.about)

    monkeypatch.setattr(os, "setpgid", lambda *numbers: did.append(("group", *numbers)))
    monkeypatch.setattr(cell, "end_with_parent", lambda parent: did.append(("end with", parent)))
    monkeypatch.setattr(cell.signal, "signal", lambda *given: did.append(given))
    monkeypatch.setattr(cell.threading, "Thread", Thread)
    return did


def heard_from(work: Callable[[Any], None]) -> list[Any]:
    ours, theirs = Pipe()
    try:
        work(theirs)
    finally:
        theirs.close()
    messages = []
    with suppress(EOFError):
        while True:
            messages.append(ours.recv())
    return messages


def test_a_child_is_on_its_own_ends_with_its_parent_and_sends_on_what_is_shown(child, monkeypatch):
    def trained(order: Order, send: Callable[[Any], Any]) -> tuple:
        console.say("an epoch")
        console.forward("end")
        send(("file", dict(os.environ)))
        return ("finished",)

    monkeypatch.setattr(cell, "outcome", trained)
    heard = heard_from(lambda pipe: cell.work(pipe, order_of(), {"ONLY": "this"}, 77))
    assert heard == [("say", "an epoch", ""), ("file", {"ONLY": "this"}), ("finished",)]
    ignored = (signal.SIGINT, signal.SIG_IGN)
    assert child == [("group", 0, 0), ("end with", 77), ignored, ("thread", cell.watch_parent, True)]


def test_a_machine_without_process_groups_trains_too(child, monkeypatch):
    monkeypatch.delattr(os, "setpgid")
    monkeypatch.setattr(cell, "outcome", lambda *_: ("finished",))
    assert heard_from(lambda pipe: cell.work(pipe, order_of(), {}, 77)) == [("finished",)]


def test_a_bug_is_shown_and_ends_the_child_and_its_cell_alone(child, monkeypatch):
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cell, "outcome", broken)
    raised = []

    def work(pipe: Any) -> None:
        try:
            cell.work(pipe, order_of(), {}, 77)
        except ZeroDivisionError as error:
            raised.append(error)

    (kind, text, short), failed = heard_from(work)
    assert (kind, short) == ("say", "") and "in broken" in text and text.endswith("ZeroDivisionError: a bug\n")
    assert failed == ("failed", "ZeroDivisionError: a bug")
    assert len(raised) == 1, "the exit code says it, too"


def test_of_the_bars_one_a_second_is_sent_and_of_all_else_what_is_shown(monkeypatch):
    sent: list[Any] = []
    send = Messages(sent.append)
    times = iter([1.0, 1.0, 1.9, 2.0, 2.0, 2.9, 5.0, 5.0])
    for count, now in enumerate(times):
        monkeypatch.setattr(cell.time, "monotonic", lambda now=now: now)
        send(("bar", "epoch", 9, count))
    assert [message[3] for message in sent] == [0, 3, 6]
    for kind in ("say", "fold", "say", "fold", "end", "finished"):
        send((kind,))
    assert [message[0] for message in sent[3:]] == ["say", "fold", "say", "fold"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, ("finished",)),
        (Locked("it is trained"), ("locked", "it is trained")),
        (NodeDiffers("other images"), ("refused", "here: other images")),
        (DiskFull("the disk is full"), ("refused", "here: the disk is full")),
        (InputError("no such fold"), ("failed", "no such fold")),
        (ChestfoldError("the loss is nan"), ("failed", "the loss is nan")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_becomes_of_a_cell_is_its_last_message(monkeypatch, error, message):
    def train(order: Order, send: Callable[[Any], Any]) -> None:
        if error:
            raise error

    monkeypatch.setattr(cell, "train", train)
    monkeypatch.setattr(cell, "host", lambda: "here")
    assert outcome(order_of(), print) == message


class Machine:
    """A machine on which a cell is trained by nothing: what was asked of it, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.did: list[Any] = []
        self.shown: dict[str, str] | None = None
        self.run = SimpleNamespace(fold=lambda fold: FoldFolder(folder / f"fold{fold}"))
        monkeypatch.setenv("CHESTFOLD_RUNS", str(folder / "runs"))
        monkeypatch.setattr("chestfold.train.prepare.prepare", self.prepare)
        monkeypatch.setattr("chestfold.train.run.train_fold", self.train_fold)
        monkeypatch.setattr("chestfold.integrations.tracker.open_tracker", self.open_tracker)
        monkeypatch.setattr(cell, "require_same_code", lambda wanted: self.did.append(("code", wanted.commit)))
        monkeypatch.setattr(cell, "require_same_data", lambda *given: self.did.append(("data", *given)))

    def prepare(self, request: Request) -> "Machine":
        self.did.append(("prepare", request.name, request.folds))
        return self

    def fold_config(self, fold: int, threads: int) -> SimpleNamespace:
        self.did.append(("config", fold, threads))
        return SimpleNamespace(fingerprint={"index_sha256": "bb"}, shown=self.shown)

    def open_tracker(self, *given: Any) -> SimpleNamespace:
        self.did.append(("open", *given))
        return SimpleNamespace(close=lambda: self.did.append(("close",)))

    def train_fold(self, ready: Any, fold: int, tracker: Any, threads: int) -> None:
        assert ready is self
        self.did.append(("train", fold, threads))


@pytest.mark.parametrize("shown", [None, {"content_sha256": "cc"}])
@pytest.mark.parametrize("is_shared", [True, False])
def test_a_cell_is_proven_trained_and_sent_where_the_folder_is_not_shared(monkeypatch, tmp_path, shown, is_shared):
    machine = Machine(monkeypatch, tmp_path)
    machine.shown = shown
    (tmp_path / "runs").mkdir()
    if is_shared:
        (tmp_path / "runs" / "mark").touch()
    monkeypatch.setattr(cell, "send_files", lambda folder, send: send(folder.path.name))
    sent: list[Any] = []
    cell.train(order_of(fold=2, threads=3), sent.append)
    proven = ("data", {"index_sha256": "aa"}, {"index_sha256": "bb"} | (shown or {}))
    begun = [("code", "abc"), ("prepare", "exp100", (2,)), ("config", 2, 3), proven]
    assert machine.did == [*begun, ("open", "wandb", "disabled"), ("train", 2, 3), ("close",)]
    assert sent == ([] if is_shared else ["fold2"])


@pytest.mark.parametrize("where", ["prepare", "fold_config"])
def test_what_cannot_be_prepared_is_missing_on_this_machine(monkeypatch, tmp_path, where):
    machine = Machine(monkeypatch, tmp_path)

    def missing(*_: Any) -> None:
        raise InputError("no such data set")

    monkeypatch.setattr(machine, where, missing)
    monkeypatch.setattr("chestfold.train.prepare.prepare", machine.prepare)
    with pytest.raises(NodeDiffers, match="no such data set"):
        cell.train(order_of(), print)
    assert not [word for word, *_ in machine.did if word == "train"]


def test_libraries_are_the_same_but_for_what_they_were_built_for(monkeypatch):
    monkeypatch.setattr(cell, "code_sha256", lambda: "c" * 64)
    monkeypatch.setattr(cell, "versions", lambda: {"torch": "2.9+cu130", "timm": "1.0"})
    cell.require_same_code(Needs("c" * 64, "abc", {"torch": "2.9+cpu", "timm": "1.0"}, {}))
    with pytest.raises(NodeDiffers, match=r"^torch is 2\.9 there and 2\.8 here; install the same version on both$"):
        cell.require_same_code(Needs("c" * 64, "abc", {"torch": "2.8+cu130", "timm": "1.0"}, {}))


def test_a_hash_without_a_name_in_words_is_named_as_it_is():
    with pytest.raises(NodeDiffers, match=r"^new_sha256 there and here differ \(new_sha256: bb there, None here\)"):
        cell.require_same_data({}, {"new_sha256": "bb"})
    cell.require_same_data({"new_sha256": "bb"}, {"new_sha256": "bb"})


def test_files_go_in_parts_with_the_hash_last_and_the_manifest_after_all_others(monkeypatch, tmp_path):
    folder = FoldFolder(tmp_path)
    data = {"empty": b"", "a": b"1234", "zz": b"123456789", "m": b"12345678", "manifest.json": b"{}", ".lock": b"x"}
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(cell, "CHUNK", 4)
    sent: list[Any] = []
    cell.send_files(folder, sent.append)
    of = {name: sha256(content) for name, content in data.items()}
    assert sent == [
        ("file", "a", b"1234", of["a"]),
        ("file", "empty", b"", of["empty"]),
        ("file", "m", b"1234", ""),
        ("file", "m", b"5678", of["m"]),
        ("file", "zz", b"1234", ""),
        ("file", "zz", b"5678", ""),
        ("file", "zz", b"9", of["zz"]),
        ("file", "manifest.json", b"{}", of["manifest.json"]),
    ]


def test_a_part_of_a_file_is_one_that_memory_holds():
    assert isinstance(cell.CHUNK, int) and 2**20 <= cell.CHUNK <= 2**28
