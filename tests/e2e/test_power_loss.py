"""Power cuts, in a few of their states (all of them: benchmarks/crash_states.py), and fsyncs that are left out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from power_loss import EVERYTHING, Data, Names, Recorder, Sync, Trace, crash_states
from power_loss_scenarios import SCENARIOS, check

from chestfold.core.files import write_bytes

NAMED = {scenario.name: scenario for scenario in SCENARIOS}
FEW = {
    "train": 6,
    "train, averaged": 6,
    "train again, overwriting": 6,
    "submit": 6,
    "folds": 10,
    "cache": 10,
    "weights": 10,
    "unpack": 10,
    "declare": 6,
}


@pytest.mark.parametrize("name", FEW)
def test_a_command_ends_the_same_after_a_power_cut(name, tmp_path):
    found = check(NAMED[name], tmp_path, limit=FEW[name])
    assert found.is_sound, found
    assert found.states > 2


def the_file(name: str) -> Callable[[Path], bool]:
    return lambda path: path.name.startswith(f".{name}.")


def the_folder(name: str) -> Callable[[Path], bool]:
    return lambda path: path.name == name


STATES = {"wrong": 16, "lost": 1}
FORGOTTEN = {
    "the bytes of a fold file": ("folds", the_file("other.csv"), "wrong"),
    "the name of a fold file": ("folds", the_folder("folds"), "lost"),
    "the bytes of weights": ("weights", the_file("test_resnet.safetensors"), "wrong"),
    "a new folder": ("weights", the_folder("project"), "lost"),
    "the bytes of a declaration": ("declare", the_file("dataset.toml"), "wrong"),
    "a folder that appears": ("unpack", the_folder(EVERYTHING.name), "wrong"),
    "the best epoch": ("train", the_file("best.ckpt"), "wrong"),
    "a checkpoint": ("train", the_file("last.ckpt"), "lost"),
}


@pytest.mark.parametrize("what", FORGOTTEN)
def test_an_fsync_that_is_left_out_is_found(what, tmp_path):
    name, forgets, kind = FORGOTTEN[what]
    found = check(NAMED[name], tmp_path, limit=STATES[kind], forgets=forgets)
    assert getattr(found, kind), found


def trees(trace: Trace) -> set[frozenset]:
    """Path and bytes of all files, in each state."""
    found = set()
    for state in crash_states(trace, seed=0):
        files = {path: trace.blobs[digest] for path, digest in state.tree.items() if digest}
        found.add(frozenset(files.items()))
    return found


def test_the_states_of_an_atomic_write(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with Recorder(tmp_path) as recorder:
        write_bytes(tmp_path / "a", b"new!")
    seen = [[kept for kept in tree if kept[0] == "a"] for tree in trees(recorder.trace)]
    assert {kept[0][1] for kept in seen} == {b"old", b"new!"}
    kinds = [type(event) for event in recorder.trace.events]
    assert kinds == [Names, Data, Sync, Names, Sync]


def test_the_states_of_a_write_that_is_not_synced(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with Recorder(tmp_path) as recorder:
        (tmp_path / "b").write_bytes(b"new!")
        (tmp_path / "b").replace(tmp_path / "a")
    torn = {b"", b"ne", b"ne\0\0", b"\0\0\0\0"}
    contents = {dict(tree)["a"] for tree in trees(recorder.trace)}
    assert contents == {b"old", b"new!", *torn}
