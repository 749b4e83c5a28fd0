"""What trackers are sent of a fold: all of it, once, though the fold is killed, resumed, begun anew, or sent later."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project
from test_wandb import records
from test_wandb_online import sync
from wandb_server import KEY, Wandb

from chestfold.cli import main
from chestfold.core.run_folder import FoldFolder
from chestfold.integrations.follow.process import show_fold, show_leaderboard, show_result
from chestfold.integrations.tracker import open_tracker
from chestfold.integrations.wandb.environment import follower_environment
from chestfold.integrations.wandb.sweep import SHOWN

HOME = "home-of-dr-planted"


class Left:
    """A training that has left its fold."""

    def is_over(self) -> bool:
        return True


@pytest.fixture
def server():
    running = Wandb()
    yield running
    running.stop()


@pytest.fixture
def service(trained, server, monkeypatch):
    """Makes W&B's side of a follower, in this process."""
    import wandb

    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.chdir(trained.runs)

    def make(mode: str, shown: str = ""):
        from chestfold.integrations.wandb.log import WandbService

        wandb.teardown()
        for name, value in follower_environment(mode, shown).items():
            monkeypatch.setenv(name, value)
        for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            monkeypatch.setenv(name, "")  # so that they are put back
        return WandbService(mode)

    yield make
    wandb.teardown()


class Fold:
    """exp100's fold 0, which can be unfinished for a while."""

    def __init__(self, project: Project) -> None:
        self.path = project.runs / "exp100" / "fold0"
        self.whole = {name: (self.path / name).read_text() for name in ("manifest.json", "metrics.jsonl")}

    def unfinish(self) -> None:
        (self.path / "manifest.json").unlink()
        (self.path / "metrics.jsonl").write_text(self.whole["metrics.jsonl"].splitlines()[0] + "\n")

    def finish(self) -> None:
        for name, text in self.whole.items():
            (self.path / name).write_text(text)


@pytest.fixture
def fold(trained):
    return Fold(trained)


def epochs(rows: list[dict]) -> list[int]:
    return [row["epoch"] for row in rows if "epoch" in row]


def test_a_fold_that_is_killed_resumed_and_sent_later_is_one_run_without_a_row_twice(fold, service, server):
    fold.unfinish()
    show_fold(service("online"), fold.path, Left())
    (run,) = server.runs.values()
    assert epochs(run.history) == [1] and run.exit_code == 1
    fold.finish()
    show_fold(service("online"), fold.path, Left())
    (run,) = server.runs.values()
    assert epochs(run.history) == [1, 2] and run.exit_code == 0
    assert any(name.startswith("media/images/worst") for name in run.files) and "exp100-fold0-oof" in server.committed
    asked = list(server.asked)
    show_fold(service("online"), fold.path, Left())
    assert server.asked == asked
    FoldFolder(fold.path).clear(forget=False)  # before the first checkpoint: the same run
    assert list(fold.path.glob("tracked_wandb.json"))
    FoldFolder(fold.path.parent / "fold1").clear()  # --overwrite
    assert not list((fold.path.parent / "fold1").glob("tracked_*"))


def test_an_offline_fold_that_is_killed_and_resumed_is_one_run_without_a_row_twice(
    fold, service, server, trained, monkeypatch
):
    fold.unfinish()
    show_fold(service("offline"), fold.path, Left())
    fold.finish()
    show_fold(service("offline"), fold.path, Left())
    (folder,) = (trained.runs / "wandb").glob("offline-run-*")
    found = [record["history"]["item"] for record in records(folder) if record["type"] == "history"]
    assert epochs(found) == [1, 2] and not server.raw
    monkeypatch.setenv("WANDB_MODE", "")
    sync(trained.runs, server)
    (run,) = server.runs.values()
    assert epochs(run.history) == [1, 2]
    asked = list(server.asked)
    for mode in ("offline", "online"):
        show_fold(service(mode), fold.path, Left())  # what `wandb sync` has sent is there
    assert server.asked == asked and list((trained.runs / "wandb").glob("offline-run-*")) == [folder]


def test_the_leaderboard_is_one_run_that_is_updated(service, server, trained):
    show_leaderboard(service("online"))
    show_leaderboard(service("online"))
    shutil.rmtree(trained.runs / "exp101")
    show_leaderboard(service("online"))
    (run,) = server.runs.values()
    tables = [json.loads(data)["data"] for name, data in run.files.items() if name.startswith("media/table")]
    assert sorted(len(table) for table in tables) == [1, 2] and len(run.history) == 2


def test_the_leaderboard_stays_outside_of_a_sweep_of_several_folds(service, server, monkeypatch):
    for name, value in (("WANDB_SWEEP_ID", "sweep1"), ("WANDB_RUN_ID", "trial1"), (SHOWN, "exp100")):
        monkeypatch.setenv(name, value)
    showing = service("online", "exp100")
    show_result(showing, "exp100")
    show_leaderboard(showing)
    found = {run.about["displayName"]: (name, run.about.get("sweep")) for name, run in server.runs.items()}
    assert found["exp100-cv"] == ("trial1", "sweep1")
    assert found["leaderboard"][0] != "trial1" and found["leaderboard"][1] is None


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ((401, json.dumps({"errors": [{"message": f"{KEY} is no good"}]})), "the key was refused"),
        ((200, json.dumps({"errors": [{"message": f"{KEY} is no good"}]})), "the server did not let the run begin"),
    ],
)
def test_a_refusal_is_said_in_few_words_and_no_file_has_the_key_or_a_folder(
    trained, server, monkeypatch, tmp_path, capsys, trouble, said
):
    home = tmp_path / HOME
    (home / ".netrc").parent.mkdir()
    (home / ".netrc").write_text(f"machine {server.url.removeprefix('http://')} login user password {KEY}\n")
    (home / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    server.trouble = trouble
    with pytest.raises(SystemExit) as stop:
        main.main(["track", "exp100"])
    assert stop.value.code == 2 and said in capsys.readouterr().err
    log = (trained.runs / "exp100" / "fold0" / "wandb.log").read_text()
    assert log.splitlines()[-1] == said and "Traceback" in log
    left = [path for path in trained.runs.rglob("*") if path.is_file()]
    for word in (HOME, KEY, str(trained.root), str(Path(sys.prefix))):
        assert [path for path in left if word.encode() in path.read_bytes()] == [], word
        assert not any(word.encode() in sent for sent in server.raw), word


def test_a_server_with_trouble_of_its_own_is_not_reachable(server, monkeypatch):
    from chestfold.integrations.wandb.log import is_reachable

    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    for status, expected in ((500, False), (503, False), (429, False), (401, True), (404, True), (200, True)):
        server.trouble = (status, "")
        assert is_reachable() == expected, status


def test_trackio_has_a_fold_once_and_sends_nothing(trained, server, monkeypatch, tmp_path):
    run = trained.runs / "exp100"
    (run / "scores.json").unlink()
    for other in ("fold1", "fold2"):
        shutil.rmtree(run / other)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TRACKIO_SERVER_URL", "TRACKIO_WEBHOOK_URL", "HF_ENDPOINT"):
        monkeypatch.setenv(name, f"{server.url}?write_token=1")
    monkeypatch.setenv("TRACKIO_SPACE_ID", "me/space")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    main.main(["track", "exp100", "--tracker", "trackio"])
    written = rows(trained)
    assert [row["epoch"] for row in written if "epoch" in row] == [1, 2] and "worst errors" in written[-1]
    note = run / "fold0" / "tracked_trackio.json"
    note.write_text(note.read_text().replace('"content": "', '"content": "x'))
    main.main(["track", "exp100", "--tracker", "trackio"])  # as if the process had been killed: written anew
    assert [sorted(row) for row in rows(trained)] == [sorted(row) for row in written]
    assert server.raw == [] and not list(run.rglob("trackio.log"))


def rows(project: Project) -> list[dict]:
    with sqlite3.connect(project.runs / "trackio" / "chestfold.db") as base:
        return [json.loads(row) for (row,) in base.execute("select metrics from metrics order by id")]


def test_a_process_that_shows_in_trackio_refuses_every_connection():
    code = (
        "import os, socket; os.environ['TRACKIO_DIR'] = '/nowhere'\n"
        "from chestfold.integrations.trackio import TrackioService\n"
        "TrackioService()\nsocket.create_connection(('127.0.0.1', 9))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert "PermissionError: trackio is not to send anything out" in done.stderr


def test_modes_of_wandb_are_refused_with_trackio():
    with pytest.raises(Exception, match="--wandb online is for W&B; leave it out with --tracker trackio"):
        open_tracker("trackio", "online")
