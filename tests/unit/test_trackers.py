"""Trackers by name: each opens, has the methods of the protocol, and hears of a run what the protocol says."""

import sys
import types
from pathlib import Path

import pytest
from conftest import tiny_experiment

from chestfold.core.errors import InputError
from chestfold.integrations import tracker
from chestfold.integrations.tracker import TRACKERS, open_tracker

METHODS = ("fold_started", "result_written", "close", "send")


@pytest.mark.parametrize("name", TRACKERS)
def test_every_tracker_has_the_methods_of_the_protocol(name):
    opened = open_tracker(name, "disabled")
    assert [method for method in METHODS if not callable(getattr(opened, method, None))] == []


def test_an_unknown_tracker_is_refused():
    with pytest.raises(InputError, match="--tracker nobody"):
        open_tracker("nobody")


class Diary:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def fold_started(self, folder: Path) -> None:
        assert (folder / "config.json").exists()
        self.heard.append(folder.name)

    def result_written(self, name: str) -> None:
        self.heard.append(name)

    def close(self) -> None:
        self.heard.append("closed")


def test_a_tracker_is_one_module_and_a_line_in_the_registry(project, monkeypatch):
    diary = Diary()
    module = types.ModuleType("diary")
    module.open_diary = lambda mode: diary
    monkeypatch.setitem(sys.modules, "diary", module)
    monkeypatch.setitem(tracker.TRACKERS, "diary", "diary:open_diary")
    project.run(tiny_experiment(epochs=1), "--fold", "0", "--tracker", "diary")
    assert diary.heard == ["fold0", "exp100", "closed"]
