"""At most one writer of a folder: who may write, who is followed, and what one that was followed can still do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chestfold.core import checkpoint, fence, files, identity
from chestfold.core.fence import Held, Superseded, Writer, hold, newest, writer_of
from chestfold.core.files import Locked, atomic_path, write_bytes

HOLD = """
import sys
from pathlib import Path
from chestfold.core.fence import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "exp100" / "fold0"


@pytest.fixture
def other(folder):
    """Another process of this machine that holds the folder."""
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def follow(folder: Path) -> Held:
    """What a process on another machine does that takes this one for gone."""
    held = Held(folder, newest(folder).number + 1)
    held.path.write_text(Writer(host="far", machine="far", pid=7, started="1").model_dump_json())
    Held(folder, held.number - 1).path.unlink()
    files.remove_temporary(folder)
    return held


def grow_old(held: Held, seconds: float) -> None:
    now = time.time()
    os.utime(held.path, (now - seconds, now - seconds))


# Who may write


def test_numbers_rise_and_a_folder_is_free_again(folder):
    numbers = []
    for _ in range(3):
        with hold(folder) as held:
            numbers.append(held.number)
            assert writer_of(folder) == held.writer()
        assert writer_of(folder) is None
    assert numbers == [1, 2, 3]
    assert [path.name for path in folder.glob(".writer-*")] == [".writer-3"]


def test_a_living_writer_is_named_and_left_alone(folder, other):
    expected = rf"another process \({other.pid} on {identity.host()}\) is working in {folder}; wait for it or stop it"
    with pytest.raises(Locked, match=expected), hold(folder):
        pass
    assert newest(folder).number == 1


def test_the_same_process_holds_a_folder_once(folder):
    with hold(folder), pytest.raises(Locked), hold(folder):
        pass


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_killed_writer_of_this_machine_is_followed_at_once(folder, other, reaped):
    other.send_signal(signal.SIGKILL)
    if reaped:
        other.wait()
    else:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    with hold(folder) as held:
        assert held.number == 2


def test_a_stopped_writer_lives(folder, other):
    other.send_signal(signal.SIGSTOP)
    with pytest.raises(Locked), hold(folder):
        pass


def test_a_number_that_was_given_to_a_new_process_is_not_the_writer(folder):
    folder.mkdir(parents=True)
    writer = Writer(host=identity.host(), machine=identity.machine(), pid=os.getpid(), started="long ago")
    Held(folder, 4).path.write_text(writer.model_dump_json())
    with hold(folder) as held:
        assert held.number == 5


@pytest.mark.parametrize(("silent", "free"), [(0.0, False), (50.0, False), (70.0, True)])
def test_a_writer_elsewhere_is_followed_when_it_is_silent_for_long(folder, silent, free):
    folder.mkdir(parents=True)
    grow_old(follow_first(folder), silent)
    assert (writer_of(folder) is None) == free
    if free:
        with hold(folder) as held:
            assert held.number == 2
    else:
        with (
            pytest.raises(
                Locked, match=r"\(7 on far\) is working .*; it counts as gone 60 s after its last sign, also where"
            ),
            hold(folder),
        ):
            pass


def follow_first(folder: Path) -> Held:
    held = Held(folder, 1)
    held.path.write_text(Writer(host="far", machine="far", pid=7, started="1").model_dump_json())
    return held


def test_one_that_was_killed_before_it_said_who_it_is_holds_nothing(folder):
    folder.mkdir(parents=True)
    Held(folder, 3).path.touch()
    with hold(folder) as held:
        assert held.number == 4


def test_a_writer_gives_signs(folder, monkeypatch):
    monkeypatch.setattr(fence, "BEAT_SECONDS", 0.01)
    with hold(folder) as held:
        grow_old(held, 100)
        end = time.monotonic() + 5
        while fence.silent_seconds(held) > 50:
            assert time.monotonic() < end


def test_of_two_that_take_the_same_number_one_holds(folder, monkeypatch):
    """Both look before either has taken it."""
    with hold(folder):
        pass
    free = newest(folder)
    with hold(folder):
        seen = iter([free])
        monkeypatch.setattr(fence, "newest", lambda folder: next(seen, None) or newest(folder))
        with pytest.raises(Locked), hold(folder):
            pass


def test_one_that_looked_long_ago_does_not_take_a_number_that_is_past(folder, monkeypatch):
    with hold(folder):
        pass
    past = newest(folder)
    with hold(folder):
        pass
    with hold(folder) as third:
        seen = iter([past])
        monkeypatch.setattr(fence, "newest", lambda folder: next(seen, None) or newest(folder))
        with pytest.raises(Locked), hold(folder):
            pass
        write_bytes(folder / "manifest.json", b"{}")
        assert third.number == 3


# What one that was followed can still do


def rename(folder: Path) -> None:
    write_bytes(folder / "best.ckpt", b"stale")


def keep_previous(folder: Path) -> None:
    checkpoint.save_keeping_previous(folder / "last.ckpt", {})


CHANGES = {
    "a rename": rename,
    "a checkpoint": keep_previous,
    "a log": lambda folder: files.append_line(folder / "log.txt", "stale"),
    "a removal": lambda folder: files.remove(folder / "last.ckpt"),
    "a move": lambda folder: files.move(folder / "last.ckpt", folder / "last.ckpt.previous"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_stale_writer_changes_nothing(folder, name):
    with hold(folder):
        checkpoint.save(folder / "last.ckpt", {})
        follow(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(Superseded, match="process 7 on far has taken over .*; this process writes nothing more"):
            CHANGES[name](folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert writer_of(folder) == Writer(host="far", machine="far", pid=7, started="1"), (
        "it is not ended by the stale one"
    )


def test_followed_between_its_look_and_its_rename_it_changes_nothing(folder, monkeypatch):
    with hold(folder):
        write_bytes(folder / "best.ckpt", b"good")
        look = files.require_writer
        calls = []

        def look_and_stop(path: Path) -> None:
            look(path)
            if not calls:
                calls.append(follow(folder))

        monkeypatch.setattr(files, "require_writer", look_and_stop)
        with pytest.raises(Superseded):
            write_bytes(folder / "best.ckpt", b"stale")
    assert (folder / "best.ckpt").read_bytes() == b"good"


def test_a_list_of_the_folder_that_is_old_does_not_deceive_it(folder, monkeypatch):
    """As over a network, where a list is kept for half a minute."""
    with hold(folder) as held:
        monkeypatch.setattr(fence, "newest", lambda _: held)
        follow(folder)
        with pytest.raises(Superseded):
            write_bytes(folder / "best.ckpt", b"stale")


def test_a_folder_that_was_deleted_is_not_made_again(folder):
    with hold(folder):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        with pytest.raises(Superseded, match="or the folder was deleted"), atomic_path(folder / "best.ckpt") as path:
            path.write_bytes(b"")


def test_other_folders_are_not_fenced(folder, tmp_path):
    with hold(folder):
        follow(folder)
        write_bytes(tmp_path / "exp100" / "fold1" / "best.ckpt", b"")


# Processes


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    child = (
        "import os, sys, time; from chestfold.core.processes import end_with_parent; "
        "end_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert identity.start_time(pid)
        process.kill()
    end = time.monotonic() + 5
    while identity.start_time(pid):
        assert time.monotonic() < end


def test_what_a_process_that_is_gone_has_left_is_deleted_and_nothing_else(tmp_path, monkeypatch):
    with subprocess.Popen(["sleep", "60"]) as child:
        child.kill()
    monkeypatch.setattr(files.os, "getpid", lambda: child.pid)
    dead = files.temporary_beside(tmp_path / "maps")
    monkeypatch.undo()
    living, other = files.temporary_beside(tmp_path / "maps"), files.temporary_beside(tmp_path / "maps2")
    elsewhere = dead.with_name(f".maps.{child.pid}-0123456789abcdef.tmp")
    for path in (dead, dead.with_suffix(".old"), living, other, elsewhere, tmp_path / "maps"):
        path.mkdir()
    files.remove_left_beside(tmp_path / "maps")
    assert set(tmp_path.iterdir()) == {living, other, elsewhere, tmp_path / "maps"}


@pytest.mark.parametrize("name", ["set", "set [1] * ?", "肺"])
def test_a_folder_that_a_killed_process_was_making_is_made_by_the_next_one(tmp_path, monkeypatch, name):
    with subprocess.Popen(["sleep", "60"]) as child:
        child.kill()
    monkeypatch.setattr(files.os, "getpid", lambda: child.pid)
    files.temporary_beside(tmp_path / name).mkdir()
    monkeypatch.undo()
    with files.atomic_folder(tmp_path / name) as made:
        made.mkdir()
        (made / "table.csv").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [name, f"{name}/table.csv"]


@pytest.mark.parametrize("name", ["folds.csv", "folds [1] * ?.csv", "肺"])
def test_what_a_killed_process_left_of_a_file_is_deleted_by_the_next_one_that_writes_it(tmp_path, name):
    child = os.fork()
    if not child:
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_bytes(b"torn")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    elsewhere = tmp_path / f".{name}.{child}-0123456789abcdef.tmp"
    elsewhere.touch()
    assert len(list(tmp_path.iterdir())) == 2
    write_bytes(tmp_path / name, b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {name, elsewhere.name}


def test_a_folder_whose_making_fails_is_not_there(tmp_path):
    with pytest.raises(KeyError), files.atomic_folder(tmp_path / "set") as made:
        made.mkdir()
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("torn", [b"", b'{"host": "he', b"\0" * 40, b'{"host": "here"}', b"\xff\xfe"])
def test_a_writer_file_that_a_power_cut_tore_is_of_nobody(tmp_path, torn):
    (tmp_path / ".writer-3").write_bytes(torn)
    with fence.hold(tmp_path) as held:
        assert held.number == 4
    assert fence.writer_of(tmp_path) is None
