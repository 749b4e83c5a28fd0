"""What a tracker has been sent of a folder, kept in that folder: so that nothing is sent twice, and nothing is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from chestfold.core.files import explained_disk_errors
from chestfold.core.records import Record
from chestfold.core.run_folder import TRACKED

GIVE_UP = 600.0
"""Seconds that a process beside a training goes on at most when the training has ended."""


class Sent(Record):
    """tracked_wandb.json. `run`: its id there. `rows`: epochs that were handed over. `target`: where to, as a hash.

    `content`: the hash of what was to be shown, once all of it is there; empty before.
    """

    run: str
    rows: int = 0
    target: str = ""
    content: str = ""


def read_sent(folder: Path, tracker: str) -> Sent:
    """What is known of a folder; a new run's id where nothing is."""
    path = _path(folder, tracker)
    return Sent.from_json(path) if path.exists() else Sent(run=uuid4().hex[:16])


def write_sent(folder: Path, tracker: str, sent: Sent) -> None:
    """Keep it; not where the folder has meanwhile been emptied for another training."""
    path = _path(folder, tracker)
    if not path.exists() or Sent.from_json(path).run == sent.run:
        sent.write(path)


@contextmanager
def only_one(folder: Path, tracker: str) -> Iterator[None]:
    """Wait for the process that still sends what is in the same folder."""
    with explained_disk_errors(folder), FileLock(folder / f"{TRACKED}{tracker}.lock", timeout=GIVE_UP):
        yield


def _path(folder: Path, tracker: str) -> Path:
    return folder / f"{TRACKED}{tracker}.json"
