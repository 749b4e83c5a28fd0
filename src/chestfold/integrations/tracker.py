"""Trackers: what shows runs elsewhere while they train. To add one, write a file here and its line in `TRACKERS`.

A tracker reads the files that a run leaves. It never raises, stops or slows a fold: what it misses is still in runs/.
"""

from importlib import import_module
from pathlib import Path
from typing import Protocol

from chestfold.core.errors import InputError


class Tracker(Protocol):
    """Told what happens to a run, in this order; made by `open_tracker` with the mode that `--wandb` names."""

    def fold_started(self, folder: Path) -> None:
        """A fold begins to train in `folder`, which holds its config.json."""

    def result_written(self, name: str) -> None:
        """runs/NAME holds a collected result or an ensemble."""

    def close(self) -> None:
        """The command is about to end: wait briefly, and say in one sentence what went wrong."""

    def send(self, name: str) -> None:
        """Asked for by `chestfold track`: show what is missing of runs/NAME, finished folds too, none of it twice."""


class NoTracker:
    """Shows nothing. `reason`: why, for who asks it to send something."""

    def __init__(self, reason: str = "no tracker is on") -> None:
        self.reason = reason

    def fold_started(self, folder: Path) -> None:
        """Nothing."""

    def result_written(self, name: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""

    def send(self, name: str) -> None:
        """Refuse, with the reason."""
        raise InputError(self.reason)


TRACKERS = {
    "wandb": "chestfold.integrations.wandb.launch:open_wandb",
    "trackio": "chestfold.integrations.trackio:open_trackio",
}
"""Name -> module and function that takes a mode (None: not given) and returns a `Tracker`; imported when chosen."""


def open_tracker(name: str = "wandb", mode: str | None = None) -> Tracker:
    """The tracker of a name.

    Raises:
        InputError: the mode is not one of the tracker's.
    """
    if name not in TRACKERS:
        raise InputError(f"--tracker {name}: one of {', '.join(TRACKERS)}")
    module, _, function = TRACKERS[name].partition(":")
    return getattr(import_module(module), function)(mode)
