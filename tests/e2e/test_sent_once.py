"""What trackers are sent of a fold: all of it, once, though the fold is killed, resumed, begun anew, or sent later."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from conftest import Project, tiny_experiment
from forked import SERVER
from test_wandb import records
from test_wandb_online import sync
from wandb_server import KEY, Wandb

from chestfold import run
from chestfold.cli import main
from chestfold.core.files import read_json, write_json
from chestfold.core.run_folder import FoldFolder, RunFolder
from chestfold.integrations.follow import process
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


def arrived(server: Wandb) -> list[int]:
    """The epochs of its only run."""
    return [epoch for run in server.runs.values() for epoch in epochs(run.history)]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


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


class Interrupted:
    """A training that ends its fold after a look at it, when `happen` has happened."""

    def __init__(self, fold: Fold, happen: Callable[[], None]) -> None:
        self.fold, self.happen = fold, happen
        self.looks = 0

    def is_over(self) -> bool:
        self.looks += 1
        if self.looks == 2:
            self.happen()
            self.fold.finish()
        return False


NO = json.dumps({"errors": [{"message": "no"}]})
REFUSED = "the key was refused, or the server could not say whether it is right"
AWAY = "the server gave no answer, or only errors, for 0 s"
TROUBLES = {
    "refuses": ((403, NO), REFUSED),
    "knows the key no more": ((401, NO), REFUSED),
    "sends half of an answer": ((200, '{"data": {"vi'), "what answers is no W&B server"),
    "asks for a pause": ((429, "slowly, please"), AWAY),
    "fails": ((500, "oh"), AWAY),
    "is silent": ((0, ""), AWAY),
}
"""What the server does from the middle of a fold on -> what is said."""


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_a_server_in_trouble_misses_is_sent_later_and_no_row_twice(fold, service, server, monkeypatch, trouble):
    from chestfold.integrations.wandb import log

    answer, said = TROUBLES[trouble]
    fold.unfinish()
    show_fold(service("online"), fold.path, Left())
    assert arrived(server) == [1]
    showing = service("online")
    with monkeypatch.context() as patch:
        patch.setattr(process, "POLL", 0.0)
        patch.setattr(log, "GIVE_UP", 0.2)
        patch.setattr(log, "REACH", 0.5)
        patch.setattr(log, "PAUSE", 0.1)
        training = Interrupted(fold, lambda: setattr(server, "trouble", answer))
        with pytest.raises(Exception) as failure:
            show_fold(showing, fold.path, training)
        assert showing.reason(failure.value) == said
    server.trouble = None
    show_fold(service("online"), fold.path, Left())
    assert_complete(server)


def assert_complete(server: Wandb) -> None:
    """All of the fold is there, once."""
    (run,) = server.runs.values()
    assert epochs(run.history) == [1, 2] and run.exit_code == 0
    assert any(name.startswith("media/images/worst") for name in run.files) and "exp100-fold0-oof" in server.committed


def follow(environment: dict[str, str], path: Path, sent: Path) -> None:
    """The process beside a training; it writes the file `sent` when it has handed an epoch over."""
    os.environ.update(environment)
    os.setpgid(0, 0)
    from chestfold.integrations.wandb.log import WandbRun
    from chestfold.integrations.wandb.process import _open

    def log_row(run: WandbRun, row: dict) -> None:
        honest(run, row)
        sent.touch()

    honest = WandbRun.log_row
    setattr(WandbRun, "log_row", log_row)  # noqa: B010
    process.LATE = 0.0
    sys.argv = ["follow", "fold", str(path), "--mode", "online", "--log", os.devnull, "--parent", str(os.getppid())]
    process.main("follow", _open)


def test_what_a_killed_follower_has_not_sent_is_sent_later_and_no_row_twice(fold, service, server, tmp_path):
    fold.unfinish()
    service("online")
    following = SERVER.Process(target=follow, args=(dict(os.environ), fold.path, tmp_path / "sent"))
    following.start()
    wait_until((tmp_path / "sent").exists)
    following.kill()
    following.join()
    fold.finish()
    show_fold(service("online"), fold.path, Left())
    assert_complete(server)


@pytest.fixture
def online(trained, server, monkeypatch) -> Project:
    """A project whose folds are shown online."""
    for name, value in (("MODE", "online"), ("BASE_URL", server.url), ("API_KEY", KEY)):
        monkeypatch.setenv(f"WANDB_{name}", value)
    return trained


def children() -> dict[int, str]:
    """The processes that this one has started -> their command lines."""
    tasks = Path("/proc/self/task").glob("*/children")
    found = [int(pid) for task in tasks for pid in task.read_text().split()]
    return {pid: Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in found}


def followers() -> list[int]:
    return [pid for pid, words in children().items() if "integrations" in words]


def test_a_training_does_not_notice_that_its_follower_is_killed(online, capsys):
    killed = []

    def kill(fold: int, epoch: int, _) -> None:
        for pid in followers():
            killed.append(epoch)
            os.kill(pid, signal.SIGKILL)

    run(tiny_experiment(), name="alone", folds=[0], on_epoch=kill)
    assert killed[0] == 1
    said = capsys.readouterr().out
    assert "its process was ended by SIGKILL" in said and "is sent by: chestfold track alone" in said
    ours, others = [(online.runs / name / "fold0" / "best.ckpt").read_bytes() for name in ("alone", "exp100")]
    assert ours == others


def prune(*_) -> None:
    raise optuna.TrialPruned


def test_a_pruned_trial_ends_its_run_there_and_leaves_its_fold_free(online, server, monkeypatch):
    def objective(_: optuna.Trial) -> float:
        run(tiny_experiment(), name="pruned", folds=[0], on_epoch=prune)
        return 0.0

    study = optuna.create_study()
    study.optimize(objective, n_trials=1)
    assert [trial.state.name for trial in study.trials] == ["PRUNED"]
    fold = RunFolder("pruned").fold(0)
    assert fold.writer() is None and not fold.is_finished()
    wait_until(lambda: any(each.exit_code for each in server.runs.values()))
    assert arrived(server) == [1]
    resumed = []
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(tiny_experiment(), name="pruned", folds=[0], on_epoch=lambda _, epoch, __: resumed.append(epoch))
    assert resumed == [2]


def test_no_process_is_started_where_no_key_is(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    wait_until(lambda: not followers())  # those of the tests before
    seen = []
    run(tiny_experiment(epochs=1), name="plain", folds=[0], on_epoch=lambda *_: seen.append(followers()))
    assert seen == [[]] and followers() == []


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
    write_json(note, read_json(note) | {"content": "x"})
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
