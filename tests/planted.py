"""A whole life in a home folder with planted keys, before servers of our own; what it leaves is looked through."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment
from kaggle_server import Competition, Kaggle
from wandb_server import Wandb

from chestfold.cli import main
from chestfold.core.files import read_json
from chestfold.integrations.follow import launch
from chestfold.integrations.follow.contents import leaderboard_rows
from chestfold.integrations.kaggle import upload

HOME = "home-of-dr-planted"
SECRETS = {
    "WANDB_API_KEY": "f00dwandbplanted" + "1" * 24,
    "KAGGLE_KEY": "f00dkaggleplanted",
    "kaggle.json": "f00djsonplanted",
    "netrc": "f00dnetrcplanted" + "2" * 24,
}
COMMANDS = (
    "report",
    "submit both --competition contest -m first",
    "publish both",
)


def plant(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Credentials wherever a person has them."""
    (home / ".kaggle").mkdir(parents=True)
    (home / ".kaggle" / "kaggle.json").write_text(json.dumps({"username": "planted", "key": SECRETS["kaggle.json"]}))
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {SECRETS['netrc']}")
    (home / ".netrc").chmod(0o600)
    for name in ("KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "KAGGLE_API_TOKEN"):
        patch.delenv(name, raising=False)
    patch.setenv("HOME", str(home))
    patch.setenv("KAGGLE_USERNAME", "planted")
    for name in ("WANDB_API_KEY", "KAGGLE_KEY"):
        patch.setenv(name, SECRETS[name])


class Life(NamedTuple):
    """`scores`: of exp100; `rows`: those of the board when it was shown last."""

    project: Project
    wandb: Wandb
    kaggle: Kaggle
    scores: dict
    rows: list


def live(home: Path) -> Life:
    """Two experiments, one of them shown, a blend, the page, a submission that is sent, a published result."""
    kaggle, wandb = Kaggle(), Wandb()
    kaggle.competitions["contest"] = Competition()
    project = make_project(home / "project")
    with pytest.MonkeyPatch.context() as patch:
        plant(home, patch)
        enter(patch, project)
        for name, value in (kaggle.environment | {"WANDB_BASE_URL": wandb.url}).items():
            patch.setenv(name, value)
        patch.delenv("WANDB_MODE")
        for name in ("NO_PROXY", "no_proxy"):  # W&B's server is not Kaggle's
            patch.setenv(name, "127.0.0.1")
        patch.setattr(launch, "PATIENCE", 240.0)
        patch.setattr(upload, "PAUSES", (0.01, 0.01))
        make_tiny_folds(2)
        project.run(tiny_experiment(), "--wandb", "online")
        project.run(tiny_experiment(seed=1, epochs=1), "--wandb", "disabled", name="exp101")
        main.main(["ensemble", "exp100", "exp101", "--name", "both"])
        scores, rows = read_json(project.runs / "exp100" / "scores.json"), leaderboard_rows()
        for command in COMMANDS:
            main.main(command.split())
    kaggle.stop()
    wandb.stop()
    return Life(project, wandb, kaggle, scores, rows)
