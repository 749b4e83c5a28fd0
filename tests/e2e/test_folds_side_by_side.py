"""`--jobs 2`: folds in processes of their own; however these die, the bytes are those of one fold after the other."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Project
from forked import Script

from chestfold.core.fence import writer_of
from chestfold.core.identity import host
from chestfold.evaluate import results

SCRIPT = '''"""The experiment that `trained` has as exp100, and what befalls its processes."""
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from chestfold import Experiment, run

EXP = Experiment(data="tiny", backbone="test_resnet", image_size=32, epochs=2, batch_size=8, lr=3e-3)
EVENT, FOLDER = os.environ.get("EVENT", ""), Path(__file__).parent


def mark(fold):
    (FOLDER / f"{EVENT}-fold{fold}").write_text(str(os.getpid()))


def marked(fold):
    return (FOLDER / f"{EVENT}-fold{fold}").exists()


def wait_for(*folds):
    end = time.monotonic() + 60
    while not all(marked(fold) for fold in folds) and time.monotonic() < end:
        time.sleep(0.02)


def before_a_step(fold, epoch, batch):
    """Called before each optimizer step, in the process that trains."""
    if EVENT == "together" and (epoch, batch) in ((0, 1), (1, 1)) and not marked(fold):
        mark(fold)
        wait_for(0, 2)
    if (epoch, batch) != (1, 2):
        return
    if EVENT == "killed":
        mark(fold)
        if fold == 0:
            wait_for(0, 1)
            os.kill(os.getpid(), signal.SIGKILL)
    if EVENT in ("interrupted", "orphaned"):
        mark(fold)
        wait_for(0, 1)
        if EVENT == "orphaned" and fold == 0:
            os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)
        time.sleep(60)


if EVENT == "importing" and __name__ == "__mp_main__":
    mark(os.getpid())
    time.sleep(60)
elif EVENT and (__name__ == "__mp_main__" or sys.argv[1:3] == ["--jobs", "1"]):  # else it is imported in turn
    from chestfold.train import loop

    step = loop.optimizer_step

    def optimizer_step(recipe, state):
        before_a_step(recipe.fold, state.epoch, state.batch)
        step(recipe, state)

    loop.optimizer_step = optimizer_step

if __name__ == "__main__":
    run(EXP)
'''
INTERRUPTED = "\ninterrupted; run the same command to resume from the last checkpoint\n"


@pytest.fixture
def start(project, tmp_path_factory) -> Iterator[Callable[..., Script]]:
    """Call it with an event and options: exp100.py in a process group of its own.

    It is forked from a server that has imported everything; its `--jobs` are of a server that it starts itself.
    """
    script = project.root / "exps" / "exp100.py"
    script.write_text(SCRIPT)
    started = []

    def call(event: str, *options: str) -> Script:
        environment = os.environ | {"EVENT": event}
        process = Script([str(script), *options], project.root, environment, tmp_path_factory.mktemp("outputs"))
        started.append(process)
        return process

    yield call
    for process in started:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def wait_until(true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def is_free(folder: Path) -> bool:
    """Whether no process holds a fold."""
    return writer_of(folder) is None


def marked(project: Project, event: str, *folds: int) -> bool:
    return all((project.root / "exps" / f"{event}-fold{fold}").exists() for fold in folds)


def epochs(folder: Path) -> list[str]:
    """The epochs in a fold's log.txt, by fold and number."""
    return re.findall(r"fold \d  epoch  \d", (folder / "log.txt").read_text())


def require_same_bytes(project: Project, reference: Path) -> None:
    run = project.runs / "exp100"
    assert results.find_result("exp100").record.folds.trained == (0, 1, 2)
    for fold in range(3):
        for name in ("best.ckpt", "last.ckpt", "oof.parquet", "corrupted.parquet", "test.parquet", "ood.npz"):
            assert (run / f"fold{fold}" / name).read_bytes() == (reference / f"fold{fold}" / name).read_bytes(), name
    for name in ("oof.parquet", "corrupted.parquet", "test.parquet"):
        assert (run / name).read_bytes() == (reference / name).read_bytes()


def test_killed_in_every_way_and_shared_by_two_commands_it_ends_in_the_same_bytes(project, start, _trained_once):
    folds = [project.runs / "exp100" / f"fold{n}" for n in range(3)]
    jobs = ("--jobs", "2", "--threads", "1")

    process = start("interrupted", *jobs)
    wait_until(lambda: marked(project, "interrupted", 0, 1))
    assert not is_free(folds[0]) and not is_free(folds[1])
    pids = {(project.root / "exps" / f"interrupted-fold{n}").read_text() for n in (0, 1)}
    assert len({*pids, str(process.pid)}) == 3, "each fold in a process of its own"
    os.killpg(process.pid, signal.SIGINT)
    printed, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, INTERRUPTED)
    assert "3 folds, 2 at once with 1 CPU thread each" in printed
    wait_until(lambda: is_free(folds[0]) and is_free(folds[1]))

    process = start("orphaned", *jobs)
    assert process.wait(90) == -signal.SIGKILL
    wait_until(lambda: is_free(folds[0]) and is_free(folds[1]), 20)  # its processes end with it, and do not train on
    assert not any((fold / "manifest.json").exists() for fold in folds)
    process.communicate(timeout=20)

    process = start("killed", *jobs)
    printed, complaint = process.communicate(timeout=90)
    assert process.returncode == 2 and complaint == (
        "error: the process of fold 0 was ended by SIGKILL; run the same command again, it resumes from the last "
        "checkpoint (if memory ran out: with a smaller --jobs)\n"
    )
    assert (folds[1] / "manifest.json").exists(), "the fold beside it is finished before"
    assert not (folds[2] / "config.json").exists(), "and no other one is begun"

    # fold 0 by the one command, fold 2 by the other; neither gets on before both have begun
    first = start("together", "--jobs", "1", "--threads", "1")
    wait_until(lambda: marked(project, "together", 0))
    second = start("together", *jobs)
    outcomes = [process.communicate(timeout=120) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outcomes
    assert "fold 0: resuming at epoch 2, batch 1" in outcomes[0][0]
    assert (
        f"fold 0 is passed over: another process ({first.pid} on {host()}) is working in {folds[0]}" in outcomes[1][0]
    )
    assert (project.root / "exps" / "together-fold0").read_text() == str(first.pid)
    require_same_bytes(project, _trained_once.runs / "exp100")
    for n, folder in enumerate(folds):
        assert epochs(folder) == [f"fold {n}  epoch  1", f"fold {n}  epoch  2"], "a log of its own, and nothing twice"


def test_ctrl_c_while_the_processes_start_is_one_sentence_too(project, start):
    """An experiment file that imports much keeps them busy for seconds."""
    process = start("importing", "--jobs", "2")
    wait_until(lambda: len(list((project.root / "exps").glob("importing-*"))) == 2)
    os.killpg(process.pid, signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (130, INTERRUPTED)
