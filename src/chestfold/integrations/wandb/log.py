"""W&B runs, images, tables and artifacts, made out of the files in runs/ by a process of its own (`process`)."""

import atexit
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wandb

from chestfold.core.errors import ServiceError
from chestfold.core.files import runs_dir, sha256_file, sha256_json
from chestfold.core.task import Task
from chestfold.evaluate import predictions
from chestfold.integrations.follow.contents import About, FoldContents
from chestfold.integrations.follow.sent import GIVE_UP, Sent
from chestfold.integrations.wandb import environment, sweep
from chestfold.integrations.wandb.environment import SERVER, variable
from chestfold.integrations.wandb.launch import UNREACHABLE

REACH = 4.0
"""Seconds that a W&B server may take for a first answer."""
PAUSE = 2.0
"""Seconds between two questions whether a server is back."""
REASONS = {
    "api_key not configured": "no key is configured (wandb login)",
    "no api key": "no key is configured (wandb login)",
    "api key must": "the key is none of W&B's",
    "invalid_api_key": "the key was refused",
    "401": "the key was refused",
    "unauthorized": "the key was refused",
    "did not respond in time": "the server did not answer in time",
    "unexpected eof": "what answers is no W&B server",
    "verify credentials": "the key was refused, or the server could not say whether it is right",
    "permission": "the key may not write to this project",
    "403": "the key may not write to this project",
    "429": "the server asks for a pause",
    "base_url": "WANDB_BASE_URL is no address",
    "invalid character": "what answers is no W&B server",
    "resume status": "the server did not let the run begin",
    "timed out": "the server did not answer in time",
    "timeout": "the server did not answer in time",
}
"""Words of an error, in small letters -> why, in a few words."""


class WandbService:
    """W&B in a mode; offline where online is wanted and no server answers."""

    name = "wandb"

    def __init__(self, mode: str) -> None:
        reachable = mode != "online" or is_reachable()
        self.mode = mode if reachable else "offline"
        self.exit_code = 0 if reachable else UNREACHABLE
        place = [variable(name) for name in ("WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_PROJECT")]
        self.target = "offline" if self.mode == "offline" else sha256_json(place)[:16]
        self.has_shown = False
        self.work = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, self.work, ignore_errors=True)
        os.environ["WANDB_MODE"] = self.mode  # else wandb sends its telemetry, and waits for it, where it is offline
        os.environ["WANDB_CACHE_DIR"] = str(self.work)  # logs of its own, and copies of what was uploaded
        root = runs_dir() / "wandb" if self.mode == "offline" else self.work
        os.environ["WANDB_DATA_DIR"] = str(root / "data")  # what `wandb sync` will send later

    def has(self, sent: Sent) -> bool:
        """Whether it was sent to the same server, or lies here for `wandb sync`, or was sent by that."""
        folders = offline_folders(sent.run)
        if folders and is_synced(folders[-1]):  # the newest holds what came last
            return True
        return sent.target == self.target and (self.mode == "online" or bool(folders))

    def open(self, about: About, sent: Sent) -> "WandbRun":
        """A W&B run that tells nothing of this machine: no paths, no user, no command line.

        Offline it is one folder, made anew, without the epochs that `wandb sync` has sent already.
        """
        if self.has_shown:
            _leave_sweep()
        self.has_shown = True
        run_id = variable("WANDB_RUN_ID") or sent.run
        folders = offline_folders(run_id)
        synced = [folder for folder in folders if is_synced(folder)]
        if self.mode == "offline":
            _remove(set(folders) - set(synced))
        run = wandb.init(
            project=variable("WANDB_PROJECT"),
            name=about.name,
            id=run_id,
            resume="allow",
            group=about.group,
            job_type=about.kind,
            tags=about.tags,
            config=about.config,
            mode=self.mode,  # type: ignore[arg-type]
            dir=runs_dir() if self.mode == "offline" else self.work,
            settings=_settings(),
        )
        for log in Path(run.dir).parent.glob("logs/*.log"):
            log.unlink()  # wandb's own log, which names folders; it writes on into a file that nobody sees
        run.config.update(about.config, allow_val_change=True)  # of a run that goes on
        run.log_artifact = partial(_log_relative, run.log_artifact)  # type: ignore[method-assign]
        if self.mode == "online":
            return WandbRun(run, run.step, folders, online=True)
        return WandbRun(run, sent.rows + 1 if synced else 0, [], online=False)

    def secrets(self) -> list[str]:
        """The keys that are configured."""
        return environment.secrets()

    def reason(self, error: BaseException) -> str:
        """Why it failed, in a few words."""
        if isinstance(error, ServiceError):
            return str(error)
        text = f"{type(error).__name__}: {error}"
        for words, reason in REASONS.items():
            if words in text.lower():
                return reason
        return text


def _leave_sweep() -> None:
    """Of what a process shows only the first is the sweep's run: not the leaderboard after a result."""
    inside = [name for name in sweep.VARIABLES if os.environ.pop(name, None)]
    if inside:
        wandb.teardown()  # it has read the variables


def _settings() -> wandb.Settings:
    return wandb.Settings(
        x_disable_machine_info=True,
        console="off",
        silent=True,
        symlink=False,
        program="chestfold",
        host="-",
        init_timeout=60,
        finish_timeout=GIVE_UP / 2,
        finish_timeout_raises=True,
    )


def is_reachable() -> bool:
    """Whether a W&B server answers, and is well; the wandb library would try for minutes to find that out."""
    try:
        with urllib.request.urlopen(variable("WANDB_BASE_URL") or SERVER, timeout=REACH):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code != 429  # such an error is an answer too
    except (OSError, ValueError):
        return False


def offline_folders(run_id: str) -> list[Path]:
    """The offline runs of an id."""
    return sorted((runs_dir() / "wandb").glob(f"offline-run-*-{run_id}"))


def is_synced(folder: Path) -> bool:
    """Whether `wandb sync` has sent it."""
    return any(folder.glob("*.wandb.synced"))


def _remove(folders: set[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder)


def _log_relative(log_artifact: Callable[..., Any], artifact: wandb.Artifact, *args: Any, **options: Any) -> Any:
    """A run's `log_artifact`, told of files by their paths below runs/, for tables too, which wandb itself logs.

    A W&B record names the files that are to be uploaded, and is kept. So it holds no home folder, and `wandb sync`
    works in any copy of runs/, on another machine too.
    """
    for entry in artifact.manifest.entries.values():
        entry.local_path = os.path.relpath(str(entry.local_path))
    return log_artifact(artifact, *args, **options)


class WandbRun:
    """A run at W&B. `superseded`: its offline folders, which hold less than what is there at the end."""

    def __init__(self, run: Any, first_row: int, superseded: list[Path], online: bool) -> None:
        self.run = run
        self.id = run.id
        self.first_row = first_row
        self.superseded = superseded
        self.online = online

    def log_row(self, row: dict[str, Any]) -> None:
        """An epoch is a step."""
        self.run.log(row, step=row["epoch"], commit=True)

    def log_predictions(self, fold: FoldContents) -> None:
        """Confusion matrix, ROC and PR curves, the worst errors, augmented inputs, and the prediction tables."""
        if self.online:
            _wait_for_server()
        shown = _curves(fold.table(), fold.task())
        inputs = fold.inputs()
        if inputs:
            shown["augmented inputs"] = wandb.Image(str(inputs))
        worst = [wandb.Image(picture.pixels, caption=picture.caption) for picture in fold.worst_errors()]
        if worst:
            shown["worst errors"] = worst
        self.run.log(shown)
        name = f"{self.run.name}-oof".replace("@", "-")
        artifact = wandb.Artifact(name, "oof", metadata=dict(fold.config.fingerprint))
        for path in fold.files():
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            artifact.metadata[f"{path.name} sha256"] = sha256_file(path)
        self.run.log_artifact(artifact)

    def log_summary(self, summary: dict[str, float | str]) -> None:
        """The run's summary."""
        self.run.summary.update(summary)

    def log_table(self, name: str, table: pd.DataFrame) -> None:
        """A W&B table."""
        self.run.log({name: wandb.Table(dataframe=table)})

    def finish(self, complete: bool) -> None:
        """Wait for the upload; what was written offline of the same run is then no longer needed."""
        self.run.finish(exit_code=0 if complete else 1)
        if complete:
            _remove(set(self.superseded))


def _wait_for_server() -> None:
    """Wait until a server that went away is back: wandb gives up at once where it makes tables and artifacts.

    Raises:
        ServiceError: it stays away.
    """
    end = time.monotonic() + GIVE_UP / 2
    while not is_reachable():
        if time.monotonic() > end:
            raise ServiceError(f"the server gave no answer, or only errors, for {GIVE_UP / 2:.0f} s")
        time.sleep(PAUSE)


def _curves(table: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Confusion matrix and curves of exclusive classes; of several labels the curves of each."""
    labels: Any = task.labels(table["label"].tolist())
    probs: Any = predictions.probabilities(table)
    classes = list(task.classes)
    if task.sums_to_one:
        return {
            "confusion": wandb.plot.confusion_matrix(probs=probs, y_true=labels.tolist(), class_names=classes),
            "roc": wandb.plot.roc_curve(labels, probs, labels=classes),
            "pr": wandb.plot.pr_curve(labels, probs, labels=classes),
        }
    shown = {}
    positive: Any = [1]
    for number, name in enumerate(classes):
        known = ~np.isnan(labels[:, number])
        truth = labels[known, number].astype(int)
        scores: Any = np.stack([1 - probs[known, number], probs[known, number]], axis=1)
        names = [f"no {name}", name]
        shown[f"roc {name}"] = wandb.plot.roc_curve(truth, scores, labels=names, classes_to_plot=positive)
        shown[f"pr {name}"] = wandb.plot.pr_curve(truth, scores, labels=names, classes_to_plot=positive)
    return shown
