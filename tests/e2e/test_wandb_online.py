"""The real wandb client against a stand-in for its server: what arrives, live or by `wandb sync`, and dead servers."""

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import enter, make_project, make_tiny_folds, tiny_experiment
from wandb_server import KEY, Wandb

from chestfold.core.files import read_json
from chestfold.integrations.wandb import launch
from chestfold.integrations.wandb.log import leaderboard_rows

WANDB = Path(sys.executable).with_name("wandb")


def train(root: Path, mode: str) -> tuple[dict, list]:
    """exp100 with two folds, shown in `mode`; its scores.json and the board's rows."""
    made = make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        patch.setattr(launch, "PATIENCE", 240.0)
        make_tiny_folds(2)
        made.run(tiny_experiment(), "--wandb", mode)
        return read_json(made.runs / "exp100" / "scores.json"), leaderboard_rows()


@pytest.fixture(scope="module", params=["online", "wandb sync"])
def arrived(request, tmp_path_factory):
    """A server to which exp100 came while it trained, or afterwards from a copy of its runs/ in another place."""
    folder, server = tmp_path_factory.mktemp("online"), Wandb()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", KEY)
        scores, rows = train(folder / "project", "online" if request.param == "online" else "offline")
        if request.param == "wandb sync":
            assert not server.runs
            (folder / "project" / "runs").rename(folder / "copy")
            sync(folder / "copy")
    server.stop()
    return server, scores, rows


def sync(runs: Path) -> None:
    """What the README says, in the folder it says."""
    places = sorted(str(p.relative_to(runs)) for p in (runs / "wandb").glob("offline-run-*"))
    done = subprocess.run([WANDB, "sync", *places], cwd=runs, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_run_arrives_in_its_group_with_its_kind_and_tags(arrived):
    server, _, _ = arrived
    assert not server.unknown
    found = {n: (r.about["groupName"], r.about["jobType"], r.exit_code) for n, r in server.by_name.items()}
    assert found == {
        "exp100-fold0": ("exp100", "train", 0),
        "exp100-fold1": ("exp100", "train", 0),
        "exp100-cv": ("exp100", "cv", 0),
        "leaderboard": ("leaderboard", "leaderboard", 0),
    }
    assert server.by_name["exp100-fold0"].about["tags"] == ["tiny", "test_resnet", "32px"]
    assert server.by_name["exp100-cv"].about["tags"] == ["tiny"]


def test_the_epochs_and_the_scores_arrive(arrived):
    server, scores, _ = arrived
    fold = server.by_name["exp100-fold1"]
    assert [row["epoch"] for row in fold.history if "epoch" in row] == [1, 2]
    assert {"loss", "auc", "lr", "train_loss", "images_per_second"} <= set(fold.history[0])
    assert fold.config["lr"] == 0.003 and fold.config["fold"] == 1
    auc, summary = scores["scores"]["at_half"]["auc"], server.by_name["exp100-cv"].summary
    assert (summary["auc"], summary["auc low"], summary["auc high"]) == (auc["value"], auc["low"], auc["high"])


def test_images_tables_and_the_oof_file_arrive(arrived):
    server, _, rows = arrived
    fold = [name.split("_")[0] for name in server.by_name["exp100-fold0"].files]
    assert fold.count("media/images/worst%20errors") == 16 and "media/table/roc" in fold
    board = [d for f, d in server.by_name["leaderboard"].files.items() if f.startswith("media/table")]
    assert json.loads(board[0])["data"] == rows
    assert server.artifacts["exp100-fold0-oof"]["oof.parquet"].startswith(b"PAR1")
    assert {"exp100-fold0-oof", "exp100-fold1-oof"} <= server.committed


@pytest.fixture
def silent_server():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["refuses", "silent"])
def test_a_dead_server_neither_stops_nor_slows_a_run(project, monkeypatch, capsys, silent_server, kind):
    monkeypatch.setenv("WANDB_BASE_URL", silent_server if kind == "silent" else "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    settled, real = [], launch.WandbTracker.close
    monkeypatch.setattr(launch, "PATIENCE", 120.0)
    monkeypatch.setattr(launch.WandbTracker, "close", lambda self: (settled.append(time.monotonic()), real(self)))
    began = time.monotonic()
    project.run(tiny_experiment(epochs=1), "--fold", "0", "--wandb", "online")
    assert settled[0] - began < 60  # training and scoring did not wait
    said = capsys.readouterr().out
    assert said.count("W&B") == 1 and "W&B cannot be reached; its runs are kept" in said
    assert (project.runs / "exp100" / "scores.json").exists()
    assert len(list((project.runs / "wandb").glob("offline-run-*"))) == 3
    shutil.rmtree(project.runs / "wandb")
