"""trackio (https://github.com/gradio-app/trackio) as a tracker: figures and images in a SQLite file, runs/trackio.

    python exps/exp021.py --tracker trackio
    TRACKIO_DIR=runs/trackio trackio show --project chestfold

Nothing leaves this machine: the process that writes refuses every connection.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chestfold.core.errors import InputError
from chestfold.core.extras import require
from chestfold.core.files import runs_dir, sha256
from chestfold.integrations.follow import process
from chestfold.integrations.follow.launch import FollowTracker
from chestfold.integrations.follow.sent import Sent
from chestfold.integrations.tracker import NoTracker, Tracker

PROJECT = "chestfold"


def open_trackio(mode: str | None) -> Tracker:
    """The tracker; of W&B's modes it knows `disabled` alone.

    Raises:
        InputError: another mode is given, or trackio is not installed.
    """
    if mode == "disabled":
        return NoTracker("--wandb disabled: nothing is shown")
    if mode:
        raise InputError(f"--wandb {mode} is for W&B; leave it out with --tracker trackio, which sends nothing out")
    require("trackio", "trackio", "another --tracker")
    return TrackioTracker()


class TrackioTracker(FollowTracker):
    """Starts a process for each fold and each result."""

    title = "trackio"
    name = "trackio"
    module = "chestfold.integrations.trackio"
    option = "--tracker trackio"

    def environment(self, shown: str) -> dict[str, str]:
        """Without what would make it send: a Space, a server, a webhook, a Hugging Face account."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRACKIO_", "HF_"))}
        folder = os.environ.get("TRACKIO_DIR") or str(runs_dir() / "trackio")
        return kept | {"TRACKIO_DIR": folder, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


class TrackioService:
    """trackio's SQLite files in TRACKIO_DIR."""

    name = "trackio"
    exit_code = 0

    def __init__(self) -> None:
        sys.addaudithook(_refuse_connections)
        self.target = sha256(os.environ["TRACKIO_DIR"].encode())[:16]

    def has(self, sent: Sent) -> bool:
        """Whether it was written to the same folder, and nobody has deleted it there."""
        return sent.target == self.target and any(run.id == sent.run for run in _runs())

    def open(self, about: Any, sent: Sent) -> "TrackioRun":
        """A run that is written anew from its first row: it costs nothing here."""
        import trackio

        for run in _runs():
            if run.id == sent.run:
                shutil.rmtree(trackio.get_project_media_path(PROJECT, run.name), ignore_errors=True)
                run.delete()
        config = about.config | {"kind": about.kind, "tags": list(about.tags)}
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        return TrackioRun(trackio.init(PROJECT, about.name, about.group, config=config, **quiet))  # type: ignore[arg-type]

    def secrets(self) -> tuple[str, ...]:
        """None."""
        return ()

    def reason(self, error: BaseException) -> str:
        """Its own words."""
        return f"{type(error).__name__}: {error}"


def _runs() -> Iterator[Any]:
    import trackio

    if (Path(os.environ["TRACKIO_DIR"]) / f"{PROJECT}.db").exists():
        yield from trackio.Api().runs(PROJECT)


def _refuse_connections(event: str, _: Any) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("trackio is not to send anything out")


class TrackioRun:
    """A run in trackio."""

    first_row = 0

    def __init__(self, run: Any) -> None:
        self.run = run
        self.id = run.id
        self.rows = 0

    def log_row(self, row: dict[str, Any]) -> None:
        """An epoch is a step."""
        self.rows = row["epoch"]
        self.run.log(row, step=row["epoch"])

    def log_predictions(self, fold: Any) -> None:
        """The augmented inputs and the worst errors."""
        import trackio

        worst = [[trackio.Image(picture.pixels), picture.caption] for picture in fold.worst_errors()]
        shown: dict[str, Any] = {}
        if worst:
            shown["worst errors"] = trackio.Table(columns=["image", "what"], data=worst)
        if fold.inputs():
            shown["augmented inputs"] = trackio.Image(fold.inputs())
        self.run.log(shown, step=self.rows)

    def log_summary(self, summary: dict[str, float | str]) -> None:
        """A row."""
        self.run.log(summary, step=0)

    def log_table(self, name: str, table: Any) -> None:
        """A table."""
        import trackio

        self.run.log({name: trackio.Table(dataframe=table)}, step=0)

    def finish(self, complete: bool) -> None:
        """Write what is waiting."""
        self.run.finish()


if __name__ == "__main__":
    process.main("chestfold.integrations.trackio", lambda mode: TrackioService())
