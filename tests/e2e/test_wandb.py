"""W&B beside training: what it is told, what it must not be told, and that it cannot spoil a run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import enter, tiny_experiment
from wandb_server import KEY

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file
from chestfold.integrations.follow import launch
from chestfold.integrations.follow.contents import LEADERBOARD, leaderboard_rows
from chestfold.integrations.tracker import open_tracker

WANDB = Path(sys.executable).with_name("wandb")


def records(run: Path) -> list[dict]:
    """What an offline run holds, read back by the wandb program."""
    answer = subprocess.run([WANDB, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in answer.stdout.splitlines()]


@pytest.fixture(scope="module")
def _tracked(shown_offline):
    made, _ = shown_offline
    runs = {}
    for folder in (made.runs / "wandb").glob("offline-run-*"):
        found = records(folder)
        (started,) = [r["run"] for r in found if r["type"] == "run"]
        runs[started["display_name"]] = (folder, started, found)
    return made, runs


@pytest.fixture
def tracked(_tracked, monkeypatch):
    """A project whose exp100 was trained with --wandb offline; its W&B runs by name, as folder and records."""
    enter(monkeypatch, _tracked[0])
    return _tracked


def test_a_run_for_each_fold_one_for_the_scores_and_the_leaderboard(tracked):
    _, runs = tracked
    kinds = {name: (started["run_group"], started["job_type"]) for name, (_, started, _) in runs.items()}
    assert kinds == {
        "exp100-fold0": ("exp100", "train"),
        "exp100-fold1": ("exp100", "train"),
        "exp100-cv": ("exp100", "cv"),
        "leaderboard": ("leaderboard", "leaderboard"),
    }


def test_every_epoch_is_there_with_its_figures(tracked):
    made, runs = tracked
    lines = (made.runs / "exp100" / "fold0" / "metrics.jsonl").read_text().splitlines()
    logged = [r["history"]["item"] for r in runs["exp100-fold0"][2] if r["type"] == "history"]
    *logged, pictures = logged
    assert "worst errors._type" in pictures
    for line, item in zip(map(json.loads, lines), logged, strict=True):
        assert {name: item[name] for name in line} == line
        assert {"lr", "images_per_second", "grad_norm", "train_loss", "train_accuracy"} <= set(line)


def test_curves_images_and_the_oof_file_are_there(tracked):
    made, runs = tracked
    folder, _, found = runs["exp100-fold0"]
    tables = {p.name.split("_")[0] for p in (folder / "files" / "media" / "table").iterdir()}
    images = {p.name.split("_")[0] for p in (folder / "files" / "media" / "images").iterdir()}
    assert tables == {"confusion", "roc", "pr"} and images == {"worst errors", "augmented inputs"}
    (artifact,) = [r["artifact"] for r in found if r["type"] == "artifact" and r["artifact"]["type"] == "oof"]
    metadata = json.loads(artifact["metadata"])
    assert metadata["oof.parquet sha256"] == sha256_file(made.runs / "exp100" / "fold0" / "oof.parquet")


def test_the_summary_of_the_scores_is_that_of_scores_json(tracked):
    made, runs = tracked
    summary = {}
    for record in runs["exp100-cv"][2]:
        summary |= record.get("summary", {}).get("update", {})
    auc = read_json(made.runs / "exp100" / "scores.json")["scores"]["at_half"]["auc"]
    assert (summary["auc"], summary["auc low"], summary["auc high"]) == (auc["value"], auc["low"], auc["high"])


def test_the_leaderboard_read_back_equals_the_board_row_by_row(tracked):
    _, runs = tracked
    (path,) = (runs["leaderboard"][0] / "files" / "media" / "table").iterdir()
    table = read_json(path)
    assert table["columns"] == list(LEADERBOARD)
    assert table["data"] == leaderboard_rows() and len(table["data"]) == 1


def test_a_follower_loads_nothing_heavy_while_the_fold_trains():
    shown = "print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules])"
    heavy = f"import sys, chestfold.integrations.wandb.process, chestfold.integrations.wandb.log; {shown}"
    found = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_follower_that_dies_is_said_in_a_sentence(project, monkeypatch, capsys):
    monkeypatch.setattr(launch.sys, "executable", "/bin/false")
    project.run(tiny_experiment(epochs=1), "--fold", "0", "--wandb", "offline")
    assert "nothing here depends on it" in capsys.readouterr().out
    assert (project.runs / "exp100" / "scores.json").exists()


@pytest.mark.parametrize(
    ("asked", "variable", "key", "expected"),
    [
        (None, None, None, None),
        (None, None, KEY, "online"),
        (None, "disabled", KEY, None),
        ("offline", "online", KEY, "offline"),
    ],
)
def test_nothing_is_shown_without_a_mode_or_a_key(monkeypatch, tmp_path, asked, variable, key, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in (("WANDB_MODE", variable), ("WANDB_API_KEY", key)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    tracker = open_tracker("wandb", asked)
    assert getattr(tracker, "mode", None) == expected


def test_a_key_in_netrc_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    path = tmp_path / ".netrc"
    path.write_text("machine api.wandb.ai login user password secret")
    path.chmod(0o600)
    assert open_tracker("wandb").mode == "online"


def test_an_unknown_mode_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(InputError, match="WANDB_MODE is 'sometimes'"):
        open_tracker("wandb")
