"""The real wandb client against a stand-in for its server: what arrives, live or by `wandb sync`, and dead servers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import enter, tiny_experiment
from wandb_server import KEY, Wandb

from chestfold.core.files import read_json
from chestfold.integrations.follow import launch
from chestfold.integrations.follow.contents import leaderboard_rows
from chestfold.integrations.wandb.log import is_reachable

WANDB = Path(sys.executable).with_name("wandb")


@pytest.fixture(scope="module", params=["online", "wandb sync"])
def arrived(request, tmp_path_factory):
    """A server to which exp100 came while it trained, or afterwards from a copy of its runs/ in another place."""
    if request.param == "online":
        life = request.getfixturevalue("lived")
        return life.wandb, life.scores, life.rows
    made, server = request.getfixturevalue("shown_offline")
    assert not server.raw  # nothing was sent, not even what wandb tells of itself
    copy = tmp_path_factory.mktemp("sync") / "copy"
    shutil.copytree(made.runs, copy)
    sync(copy, server)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        return server, read_json(made.runs / "exp100" / "scores.json"), leaderboard_rows()


def sync(runs: Path, server: Wandb) -> None:
    """What the README says, in the folder it says."""
    places = sorted(str(p.relative_to(runs)) for p in (runs / "wandb").glob("offline-run-*"))
    environment = os.environ | {"HOME": str(runs), "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
    environment.pop("WANDB_MODE")
    command: list[str] = [str(WANDB), "sync", *places]
    done = subprocess.run(command, cwd=runs, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_run_arrives_in_its_group_with_its_kind_and_tags(arrived):
    server, _, _ = arrived
    assert not server.unknown
    found = {n: (r.about["groupName"], r.about["jobType"], r.exit_code) for n, r in server.by_name.items()}
    blend = ("both", "ensemble", 0)  # of the life, which goes on
    assert found.pop("both", blend) == blend
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
    assert json.loads(board[-1])["data"] == rows  # it was updated
    assert server.artifacts["exp100-fold0-oof"]["oof.parquet"].startswith(b"PAR1")
    assert {"exp100-fold0-oof", "exp100-fold1-oof"} <= server.committed


@pytest.fixture
def silent_server():
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address"])
def test_a_server_that_refuses_cannot_be_reached(monkeypatch, address):
    monkeypatch.setenv("WANDB_BASE_URL", address)
    assert not is_reachable()


def test_a_server_that_answers_with_an_error_can_be_reached(monkeypatch):
    server = Wandb()
    monkeypatch.setenv("WANDB_BASE_URL", f"{server.url}/nothing/here")
    assert is_reachable()
    server.stop()


def test_a_dead_server_neither_stops_nor_slows_a_run(project, monkeypatch, capsys, silent_server):
    monkeypatch.setenv("WANDB_BASE_URL", silent_server)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.delenv("WANDB_MODE")
    settled, real = [], launch.FollowTracker.close
    monkeypatch.setattr(launch, "PATIENCE", 120.0)
    monkeypatch.setattr(launch.FollowTracker, "close", lambda self: (settled.append(time.monotonic()), real(self)))
    began = time.monotonic()
    project.run(tiny_experiment(epochs=1), "--fold", "0", "--wandb", "online")
    assert settled[0] - began < 60  # training and scoring did not wait
    said = capsys.readouterr().out
    assert said.count("W&B") == 1 and "W&B cannot be reached; its runs are kept" in said
    assert (project.runs / "exp100" / "scores.json").exists()
    assert len(list((project.runs / "wandb").glob("offline-run-*"))) == 3
    shutil.rmtree(project.runs / "wandb")
