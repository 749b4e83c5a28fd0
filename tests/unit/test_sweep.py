"""The grid without Ray: which cell is handed out, what becomes of one that is lost, refused, locked or wrong."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Project, tiny_experiment
from rich.console import Console

from chestfold.cli.main import main
from chestfold.cli.sweep import load, request_of
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.fence import hold
from chestfold.core.files import sha256
from chestfold.core.panel import FoldStatus
from chestfold.core.run_folder import RunFolder
from chestfold.evaluate.results import find_result
from chestfold.integrations import cluster, tracker
from chestfold.integrations.cluster import Ended, Lost, Node, Place, Task
from chestfold.train import cell, sweep, sweep_table
from chestfold.train.cell import NodeDiffers, Order, Server, needs, outcome, require_same_code, require_same_data
from chestfold.train.sweep import Incoming, Shares, capacity, gpus_of, run_sweep
from chestfold.train.sweep_table import FAILED, FINISHED, TRAINING, Cell, GridTable

EXPERIMENT = '''"""As exp100 of `trained`."""
from chestfold import Experiment, run

EXP = Experiment(data="tiny", backbone="test_resnet", image_size=32, epochs=2, batch_size=8, lr=3e-3)

if __name__ == "__main__":
    run(EXP)
'''
CHILD = """from exp100 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(lr=1e-3)
"""
FILES = ("best.ckpt", "last.ckpt", "oof.parquet", "corrupted.parquet", "test.parquet", "ood.npz")


class Machines:
    """Two nodes, on which a cell is what `plan` says, and else finished by copying what one process has made."""

    def __init__(self, made: Path) -> None:
        self.made = made
        self.there = [Node("n1", "one", 1, 0), Node("n2", "two", 1, 0)]
        self.plan: dict[int, list] = {}
        self.handed_out: list[tuple[int, str]] = []
        self.polls = 0
        self.on_poll = lambda count: None

    def nodes(self) -> list[Node]:
        return self.there

    def submit(self, work, order: Order, cpus: int, gpus: float, avoid=()) -> Task:
        node = next(node for node in self.there if node.id not in avoid)
        self.handed_out.append((order.fold, node.host))
        return Task(self._events(order, node))

    def _events(self, order: Order, node: Node) -> Iterator:
        yield Place(node.host, 1, node.id)
        plan = self.plan.get(order.fold, [])
        yield from plan.pop(0) if plan else self.finished(order)

    def finished(self, order: Order) -> Iterator:
        target = RunFolder(order.request.name).fold(order.fold).path
        shutil.copytree(self.made / f"fold{order.fold}", target, dirs_exist_ok=True)
        yield ("finished",)

    def poll(self, tasks, seconds):
        self.polls += 1
        self.on_poll(self.polls)
        return [(tasks[0], next(tasks[0].messages, Ended()))]


@pytest.fixture
def machines(project, _trained_once, monkeypatch) -> Machines:
    made = Machines(_trained_once.runs / "exp100")
    (project.root / "exps" / "exp100.py").write_text(EXPERIMENT)

    @contextmanager
    def connected(address, cpus):
        yield made

    monkeypatch.setattr(sweep, "connected", connected)
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.0)
    monkeypatch.setattr("sys.path", [*os.sys.path])  # type: ignore[attr-defined]
    for name in ("exp100", "exp102"):
        monkeypatch.delitem(os.sys.modules, name, raising=False)  # type: ignore[attr-defined]
    return made


def run(*folds: int, name: str = "exp100", **changes) -> None:
    request = request_of(name, [str(fold) for fold in folds] or ["all"], False)
    run_sweep([replace(request, exp=replace(request.exp, **changes))], Shares("there", 1, 1, None), ("wandb", None))


def require_same_bytes(project: Project, made: Path, *folds: int) -> None:
    for fold in folds:
        for name in FILES:
            path = project.runs / "exp100" / f"fold{fold}" / name
            assert path.read_bytes() == (made / f"fold{fold}" / name).read_bytes(), path


def test_all_cells_are_trained_and_collected_and_none_twice(project, machines, capsys):
    run()
    assert sorted(machines.handed_out) == [(0, "one"), (1, "one"), (2, "one")]
    assert find_result("exp100").record.folds.trained == (0, 1, 2)
    printed = capsys.readouterr().out
    assert "3 cells: 3 waiting  2 at once\nexp100 fold 0: training, one\n" in printed
    assert "exp100 fold 2: finished\n" in printed
    run()
    assert len(machines.handed_out) == 3
    assert "3 cells: 3 finished" in capsys.readouterr().out


def test_a_lost_cell_is_handed_out_again(machines, capsys):
    machines.plan[1] = [[Lost("its node is gone")], [("ended", "SIGKILL")], [Ended()]]
    run()
    assert machines.handed_out.count((1, "one")) == 4
    printed = capsys.readouterr().out
    assert "exp100 fold 1: its node is gone; it is handed out again" in printed
    assert "exp100 fold 1: its process on one was ended by SIGKILL; it is handed out again" in printed


def epoch(count: int) -> tuple:
    return ("fold", FoldStatus("auc", (0.5,) * count))


def test_one_that_gets_nowhere_fails_and_one_that_gets_on_does_not(machines, capsys):
    machines.plan[0] = [[("ended", "SIGKILL")] for _ in range(12)]
    machines.plan[1] = [[epoch(n), ("ended", "SIGKILL")] for n in range(1, 16)]
    with pytest.raises(ChestfoldError, match="1 of 2 cells failed; the others are finished"):
        run(0, 1)
    sentence = "was ended by SIGKILL, the 11th time without a new epoch; does it need more memory?"
    assert f"exp100 fold 0: failed: its process on one {sentence}" in capsys.readouterr().out
    assert machines.handed_out.count((0, "one")) == 11


def test_a_cell_that_fails_stops_no_other(machines, capsys):
    machines.plan[1] = [[("failed", "the loss of fold 1 became nan")]]
    with pytest.raises(ChestfoldError, match="1 of 3 cells failed"):
        run()
    assert {fold for fold, _ in machines.handed_out} == {0, 1, 2}
    assert "exp100 │ 1    │ the loss of fold 1 became nan" in capsys.readouterr().out
    assert not (RunFolder("exp100").path / "scores.json").exists()


def test_an_experiment_that_cannot_be_prepared_stops_no_other(machines, capsys):
    wrong = request_of("exp100", ["all"], False)
    wrong = replace(wrong, name="exp109", exp=replace(wrong.exp, data="nowhere"))
    with pytest.raises(ChestfoldError, match="1 of 4 cells failed"):
        run_sweep([wrong, request_of("exp100", ["all"], False)], Shares("there", 1, 1, None), ("wandb", None))
    assert "unknown data set 'nowhere'" in capsys.readouterr().out
    assert find_result("exp100").record.folds.trained == (0, 1, 2)


@pytest.mark.parametrize("sentence", ["one: the images there and here differ", "one: the disk is full"])
def test_a_node_that_refuses_is_left_out(machines, capsys, sentence):
    machines.plan[0] = [[("refused", sentence)]]
    run()
    assert machines.handed_out.count((0, "one")) == 1 and (0, "two") in machines.handed_out
    assert f"left out: {sentence}" in capsys.readouterr().out


def test_where_every_node_refuses_the_cells_say_why(machines, capsys):
    machines.plan[0] = [[("refused", "one: no fold file")], [("refused", "two: the disk is full")]]
    machines.plan[1] = [[("failed", "never")] for _ in range(3)]
    with pytest.raises(ChestfoldError):
        run(0)
    assert "exp100 fold 0: failed: one: no fold file; two: the disk is full" in capsys.readouterr().out


def test_a_fold_that_another_process_trains_is_waited_for(machines, capsys):
    """It is handed out when the other one lets go, or not at all where that has finished it."""
    held = hold(RunFolder("exp100").fold(0).path)
    held.__enter__()
    done = []
    machines.on_poll = lambda count: count == 2 and not done and done.append(held.__exit__(None, None, None))
    run(0, 1)
    assert [fold for fold, _ in machines.handed_out] == [1, 0]
    assert f"exp100 fold 0: locked, {os.getpid()} on " in capsys.readouterr().out


def test_one_that_is_locked_on_its_node_is_tried_again(machines):
    machines.plan[0] = [[("locked", "another process (7 on one) is working there")]] * 2
    run(0)
    assert machines.handed_out == [(0, "one")] * 3


def test_files_that_appear_late_are_waited_for(machines, monkeypatch):
    machines.plan[0] = [[("finished",)]]
    looks = []
    is_finished = sweep.FoldFolder.is_finished

    def seen_late(folder) -> bool:
        looks.append(folder.number)
        if looks.count(0) == 5:
            shutil.copytree(machines.made / "fold0", folder.path, dirs_exist_ok=True)
        return is_finished(folder)

    monkeypatch.setattr(sweep.FoldFolder, "is_finished", seen_late)
    run(0)
    assert machines.handed_out == [(0, "one")] and len(looks) >= 5


def test_files_that_never_appear_are_an_error(machines, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "APPEAR_SECONDS", -1.0)
    machines.plan[0] = [[("finished",)]]
    with pytest.raises(ChestfoldError):
        run(0)
    assert "one has finished it, and its files are not in" in capsys.readouterr().out


# A machine with a runs folder of its own


@contextmanager
def elsewhere(project: Project) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHESTFOLD_RUNS", str(project.root / "other-runs"))
        yield


def test_results_come_back_as_files_and_are_those_of_one_process(project, machines):
    def train_elsewhere(order: Order) -> Iterator:
        sent: list = []
        with elsewhere(project):
            last = outcome(order, sent.append)
        yield from [*sent, last]

    machines.finished = train_elsewhere
    (project.runs / "exp100" / "fold0").mkdir(parents=True)
    (project.runs / "exp100" / "fold0" / "last.ckpt.previous").write_bytes(b"begun here, and lost")
    run(0)
    require_same_bytes(project, machines.made, 0)
    assert not list(project.runs.rglob("*.tmp")) and not list(project.runs.rglob("*.previous"))
    assert (project.root / "other-runs" / "exp100" / "fold0" / "manifest.json").exists()


def parts(folder: Path, cut: int = 1000) -> list[tuple]:
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):
        data = path.read_bytes()
        found += [("file", path.name, data[:cut], "" if len(data) > cut else sha256(data))]
        if len(data) > cut:
            found += [("file", path.name, data[cut:], sha256(data))]
    return found


def test_a_file_that_changed_on_its_way_is_not_taken(project, machines, capsys):
    sent = [part for part in parts(machines.made / "fold0") if not part[1].startswith(".")]
    wrong = [(kind, name, b"x" + data[1:] if name == "oof.parquet" else data, h) for kind, name, data, h in sent]
    machines.plan[0] = [[*wrong, ("finished",)]]
    with pytest.raises(ChestfoldError):
        run(0)
    assert "oof.parquet of" in capsys.readouterr().out
    assert not (project.runs / "exp100" / "fold0" / "manifest.json").exists()


def test_half_of_the_files_of_a_lost_node_are_thrown_away(project, machines):
    sent = [part for part in parts(machines.made / "fold0") if not part[1].startswith(".")]
    machines.plan[0] = [[*sent[:3], Lost("its node is gone")], [*sent, ("finished",)]]
    run(0)
    require_same_bytes(project, machines.made, 0)


def test_a_name_that_climbs_out_stays_in_the_folder(project):
    incoming = Incoming(RunFolder("exp100").fold(0))
    incoming.add("../../evil.txt", b"x", sha256(b"x"))
    assert [path.name for path in project.runs.rglob("*.txt")] == ["evil.txt"]
    assert (incoming.path / "evil.txt").exists()


# What a machine must have


def test_a_machine_with_other_code_says_so():
    with pytest.raises(
        NodeDiffers, match=r"its chestfold is not the one that asks \(commit .* there, abc here\); check"
    ):
        require_same_code(replace(needs(), code="f" * 64, commit="abc"))


def test_a_machine_with_another_library_says_so():
    wanted = needs()
    with pytest.raises(NodeDiffers, match=r"torch is .* there and 1\.0 here; install the same version on both"):
        require_same_code(replace(wanted, versions=wanted.versions | {"torch": "1.0"}))
    local = {name: f"{version}+cu130" for name, version in wanted.versions.items()}
    require_same_code(replace(wanted, versions=local))


@pytest.mark.parametrize("name", cell.THINGS)
def test_a_machine_with_other_data_names_it(name):
    with pytest.raises(NodeDiffers, match=rf"^{cell.THINGS[name]} there and here differ \({name}: bb there, aa here\)"):
        require_same_data({"same": "1", name: "aa"}, {"same": "1", name: "bb"})


def order(project: Project) -> Order:
    from chestfold.train.prepare import prepare

    request = request_of("exp100", ["0"], False)
    fingerprint = prepare(request).fold_config(0, 1).fingerprint
    return Order(request, 0, 1, replace(needs(), fingerprint=fingerprint), {}, "mark", False, ("wandb", None))


def test_a_machine_proves_its_images_before_it_trains(project, machines):
    wanted = order(project)
    cv2.imwrite(str(project.input / "tiny" / "images" / "t000.png"), np.zeros((32, 32), np.uint8))
    kind, sentence = outcome(wanted, lambda message: None)
    assert kind == "refused" and "the images there and here differ" in sentence
    assert not (project.runs / "exp100").exists()


@pytest.mark.parametrize("lost", ["input/tiny", "folds/tiny.csv"])
def test_a_machine_without_images_or_folds_refuses(project, machines, lost):
    wanted = order(project)
    path = project.root / lost
    path.rename(path.with_name("away"))
    kind, sentence = outcome(wanted, lambda message: None)
    assert kind == "refused" and sentence.startswith(f"{cell.host()}: ")


def test_a_full_disk_is_the_machines_and_a_wrong_setting_the_cells(project, machines, monkeypatch):
    from chestfold.core.files import DiskFull
    from chestfold.train import run as train_run

    wanted = order(project)
    for error, kind in ((DiskFull("full"), "refused"), (InputError("wrong"), "failed")):

        def raising(*_, error=error):
            raise error

        monkeypatch.setattr(train_run, "train_fold", raising)
        assert outcome(wanted, lambda message: None)[0] == kind
    with hold(RunFolder("exp100").fold(0).path):
        monkeypatch.undo()
        monkeypatch.setenv("CHESTFOLD_PROJECT", str(project.root))
        assert outcome(wanted, lambda message: None)[0] == "locked"


def test_a_server_that_was_ended_is_no_endless_wait(monkeypatch):
    monkeypatch.setattr(cell.sys, "executable", "/bin/false")
    server = Server(1)
    assert list(server.run(None, {})) == [("ended", "an error (exit code 1)")]
    assert not server.is_alive()


# The command


def test_the_mark_of_a_killed_command_is_deleted_by_the_next_and_that_of_a_living_one_stays(project):
    with subprocess.Popen(["sleep", "60"]) as child:
        dead = sweep._mark_of(child.pid)
        child.kill()
    living, elsewhere = sweep._mark_of(1), project.runs / ".sweep-0123456789abcdef-7-01234567.tmp"
    project.runs.mkdir()
    for path in (dead, living, elsewhere):
        path.touch()
    with sweep.shared_mark() as mark:
        assert {path.name for path in project.runs.iterdir()} == {living.name, elsewhere.name, mark}
    assert not (project.runs / mark).exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ("wandb", None)),
        (["--wandb", "disabled"], ("wandb", "disabled")),
        (["--tracker", "trackio"], ("trackio", None)),
    ],
    ids=str,
)
def test_cells_are_shown_as_the_command_says(machines, project, monkeypatch, words, expected):
    orders = []
    monkeypatch.setattr(machines, "finished", lambda order: orders.append(order) or Machines.finished(machines, order))
    monkeypatch.setattr(tracker, "open_tracker", lambda *given: opened.append(given) or tracker.NoTracker())
    opened: list = []
    main(["sweep", "exp100", "--fold", "0", *words])
    assert [order.tracker for order in orders] == [expected] and set(opened) == {expected}


def test_a_mode_that_a_tracker_has_not_is_refused_before_anything_begins(machines, project, capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "exp100", "--tracker", "trackio", "--wandb", "online"])
    assert "--wandb online is for W&B" in capsys.readouterr().err and not machines.handed_out


def test_an_experiment_is_read_as_its_own_file_reads_it(machines, project):
    (project.root / "exps" / "exp102.py").write_text(CHILD)
    request = request_of("exp102", ["0", "2"], False)
    assert (request.name, request.folds, request.parent) == ("exp102", (0, 2), "exp100")
    assert request.changed == {"lr": (3e-3, 1e-3)}
    assert request_of("exp100", ["all"], False).parent == ""
    assert request_of("exp100", ["all"], True).name == "exp100-debug"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["exp10"], r"exp10\.py does not exist; did you mean exp100\?"),
        (["../exp100"], "a plain name is needed"),
        (["exp100", "--fold", "one"], "--fold one: all, or numbers of folds"),
        (["exp100", "--jobs", "2"], "--jobs: the cluster says how many folds run at once; it belongs to --local"),
        (["exp100", "--gpus-per-fold", "1.5"], "number: 0 to 1, or a whole one"),
        (["empty"], "has no EXP = Experiment"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_is_one_sentence(machines, project, words, sentence, capsys):
    import re

    (project.root / "exps" / "empty.py").write_text("")
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", *words])
    assert exit_.value.code == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("chestfold.core.extras.find_spec", lambda name: None)
    with (
        pytest.raises(InputError, match=r"ray is not installed; pip install 'chestfold\[cluster\]'"),
        cluster.connected(None),
    ):
        pass


@pytest.mark.parametrize(
    ("asked", "gpus", "expected"), [(None, 0, 0), (None, 2, 1), (0.5, 2, 0.5), (0.0, 2, 0.0)], ids=str
)
def test_gpus_of_a_cell(asked, gpus, expected):
    assert gpus_of(Shares("x", 1, 1, asked), [Node("n", "one", 4, gpus)]) == expected


def test_a_cell_that_fits_nowhere_is_refused():
    with pytest.raises(InputError, match=r"a cell takes 8 CPUs and 1 GPUs .* no node has them \(one: 4 and 2\)"):
        gpus_of(Shares("x", 1, 8, 1), [Node("n", "one", 4, 2)])


def test_how_many_cells_run_at_once():
    nodes = [Node("a", "one", 8, 2), Node("b", "two", 3, 0)]
    assert capacity(nodes, 2, 0) == 5
    assert capacity(nodes, 2, 1) == 2
    assert capacity(nodes, 2, 0.5) == 4


def test_the_table_shows_the_cells_and_fits(monkeypatch):
    grid = [Cell("exp100", fold, 10) for fold in range(5)]
    grid[0].state, grid[1].state, grid[2].state = FINISHED, TRAINING, FAILED
    grid[1].place = "gpu-node-7"
    grid[1].show("fold", [FoldStatus("auc", (0.5, 0.6), seconds_left=80.0, seconds=100.0)])
    grid[1].show("bar", ["fold 1 epoch 3/10", 40, 7])
    table = GridTable(grid, 2)
    shown = Console(width=100, height=40)
    with shown.capture() as captured:
        shown.print(table.render())
    text = captured.get()
    assert "5 cells: 1 training, 2 waiting, 1 failed, 1 finished  2 at once  about 03:00 left" in text
    assert "exp100  1     training epoch 3/10 7/40  2/10   gpu-node-7  01:20" in text.replace("  01:19", "  01:20")


def test_the_table_shows_a_cell_in_the_smallest_terminal(monkeypatch):
    monkeypatch.setattr(sweep_table.console, "_height", 5)
    table = GridTable([Cell("exp100", fold, 10) for fold in range(5)], 2).render()
    shown = Console(width=100, height=40)
    with shown.capture() as captured:
        shown.print(table)
    assert captured.get().count("exp100") == 1


def test_an_experiment_file_is_found_by_name(machines):
    assert load("exp100") == tiny_experiment()
