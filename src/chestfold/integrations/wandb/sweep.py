"""A trial of a W&B sweep: what `wandb agent` sets in the environment of the commands that it starts.

A trial is a run of its own: its tag is the id of the sweep's W&B run, so that a trial that the agent starts again goes
on. Of the W&B runs that show the trial one is the sweep's: its fold's, or that of its scores where there are more.
"""

import os
import re

from chestfold.core.files import sha256
from chestfold.core.run_folder import RunFolder

VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
SHOWN = "CHESTFOLD_SWEEP_SHOWN"
"""What of the trial is shown as the sweep's W&B run, for the processes of this command: NAME, or NAME/foldK."""


def trial() -> str:
    """The trial's tag; empty outside a sweep. An id that is no tag gives its hash."""
    run = os.environ.get("WANDB_RUN_ID", "")
    if not (run and os.environ.get("WANDB_SWEEP_ID")):
        return ""
    plain = re.fullmatch(r"[a-z0-9][a-z0-9_-]*", run) and not run.endswith("debug")
    return run if plain else sha256(run.encode())[:8]


def choose_shown(name: str, folds: tuple[int, ...]) -> None:
    """Note what of the trial is shown as the sweep's W&B run."""
    if not trial():
        return
    alone = RunFolder(name).fold(folds[0]).path.name if len(folds) == 1 else ""
    os.environ[SHOWN] = f"{name}/{alone}".rstrip("/")


def is_shown(what: str) -> bool:
    """Whether NAME or NAME/foldK is what is shown as the sweep's W&B run."""
    return os.environ.get(SHOWN) == what
