"""How many folds fit into the memory, to the byte, and how many threads torch has."""

from pathlib import Path

import pytest
import torch
from conftest import tiny_experiment

from chestfold.train import threads
from chestfold.train.threads import available_memory, jobs_that_fit, set_threads

EXP = tiny_experiment(image_size=96, batch_size=8)
NEED = 1_500_000_000 + 2500 * 8 * 96 * 96
"""1.5 GB, and 2,500 bytes for each pixel of a batch."""


@pytest.mark.parametrize(
    ("memory", "fit"), [(NEED - 1, 1), (2 * NEED - 1, 1), (2 * NEED, 2), (3 * NEED - 1, 2), (9 * NEED, 4)]
)
def test_so_many_folds_are_trained_at_once_as_the_memory_holds(monkeypatch, memory, fit):
    monkeypatch.setattr(threads, "has_gpu", lambda: False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setattr(threads, "available_memory", lambda: float(memory))
    assert jobs_that_fit(EXP, 8) == fit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MemTotal:       99 kB\nMemFree:  1 kB\nMemAvailable:    2048 kB\nSwapFree: 5 kB\n", 2 * 2**20),
        ("MemTotal:       99 kB\n", float("inf")),
        (None, float("inf")),
    ],
)
def test_memory_is_what_linux_says_is_available(monkeypatch, tmp_path, text, expected):
    if text:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(threads, "Path", lambda name: Path(str(name).replace("/proc", str(tmp_path))))
    assert available_memory() == expected


@pytest.mark.parametrize(("count", "expected"), [(3, []), (1, [1]), (4, [4])])
def test_torch_is_given_another_number_of_threads_only_where_it_is_another(monkeypatch, count, expected):
    given: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    set_threads(count)
    assert given == expected


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    of_process = {0: {2, 5, 7}, 1: {0}}  # 0: this one
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: of_process[process], raising=False)
    assert threads.usable_cores() == 3


@pytest.mark.parametrize(("cores", "expected"), [(6, 6), (None, 1)])
def test_where_the_system_does_not_say_which_cores_it_is_their_number(monkeypatch, cores, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delattr(threads.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: cores)
    assert threads.usable_cores() == expected
