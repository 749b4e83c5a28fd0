"""`kill -9` at any moment, run the same command again: the same bytes as an uninterrupted run.

A child process kills itself with SIGKILL at a chosen call. Children are forked from a server that has imported
everything once.
"""

import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment
from forked import SERVER

from chestfold.core.files import read_json
from chestfold.core.run_folder import RunFolder
from chestfold.data import cache
from chestfold.data.catalogue import open_index
from chestfold.data.decode import decode
from chestfold.evaluate import figures
from chestfold.integrations.kaggle import submission
from chestfold.train import loop

TIMING = {"seconds", "images_per_second"}
"""What two trainings of the same fold do not share in metrics.jsonl."""

# all that a step can depend on: dropout, mixing, augmentation, moving average, accumulated gradients, momentum
RICH = {
    "augment": "plain", "randaugment": (2, 5), "mixup_alpha": 0.5, "cutmix_alpha": 0.5, "label_smoothing": 0.05,
    "ema_decay": 0.9, "grad_accum_steps": 2, "drop_rate": 0.2, "sampling": "over", "max_grad_norm": 1.0, "tta": "flip",
    "batch_size": 4,
}  # fmt: skip


# What a child does


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(function: str, nth: int) -> None:
    """Replace `module.function` so that its `nth` call (1, 2, ...) is the last thing this process begins."""
    module_name, _, name = function.rpartition(".")
    module = importlib.import_module(f"chestfold.{module_name}")
    honest, calls = getattr(module, name), 0

    @wraps(honest)
    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        return die() if calls == nth else honest(*arguments, **options)

    setattr(module, name, counted)


def die_in_the_middle_of_writing(ending: str, nth: int) -> None:
    """Half of the bytes of the `nth` file whose name holds `ending` are written, then nothing more."""
    write, calls = Path.write_bytes, 0

    def torn(path: Path, data: bytes) -> int:
        nonlocal calls
        calls += ending in path.name
        if ending in path.name and calls == nth:
            write(path, data[: len(data) // 2])
            die()
        return write(path, data)

    setattr(Path, "write_bytes", torn)  # noqa: B010


def child(work: Callable, root: Path, *arguments: object) -> None:
    """Entry of a child process: `work` in the project at `root`, silently and without figures."""
    for name in ("learning_curves", "confusion"):
        setattr(figures, name, lambda *_: None)
    os.environ["CHESTFOLD_PROJECT"] = str(root)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    work(Project(root), *arguments)


def train(project: Project, settings: dict, argv: tuple[str, ...], point: tuple, save_every_batch: bool) -> None:
    if point:
        how, *where = point
        {"at": die_at, "torn": die_in_the_middle_of_writing}[how](*where)
    if save_every_batch:
        loop.CHECKPOINT_SECONDS = -1.0
    project.run(tiny_experiment(**settings), *argv)


def send(project: Project, point: tuple) -> None:
    if point:
        die_at(*point[1:])
    submission.write_submission("exp100")


def build_cache(project: Project, log: Path, together) -> None:
    """Open the cache beside another process; a byte in `log` for every image that is decoded."""
    honest = cache.decode_form

    def logged(*arguments):
        with log.open("a") as file:
            file.write(".")
        return honest(*arguments)

    cache.decode_form = logged
    index = open_index("tiny")
    together.wait()
    cache.open_cache(index, 20)


# What a test does with it


def outcomes(project: Project, work: Callable, *arguments: tuple) -> list[int | None]:
    """Exit codes of children that do `work` at once: 0, or minus the signal that killed it; None where one hangs."""
    processes = [SERVER.Process(target=child, args=(work, project.root, *a)) for a in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def outcome(project: Project, work: Callable, *arguments: object) -> int | None:
    return outcomes(project, work, arguments)[0]


def contents(folder: Path) -> dict[str, object]:
    """What must be the same: weights and predictions to the byte, and the figures of every epoch, but not its times."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    history = [{name: value for name, value in row.items() if name not in TIMING} for row in rows]
    names = ("best.ckpt", "oof.parquet", "corrupted.parquet", "test.parquet", "ood.npz")
    files = {name: (folder / name).read_bytes() for name in names}
    return files | {"history": history}


def networks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("epoch*")}


def fold0(project: Project) -> Path:
    return project.runs / "exp100" / "fold0"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, object]:
    """What fold 0 of the rich recipe leaves when nothing happens to it."""
    made = make_project(tmp_path_factory.mktemp("undisturbed") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
        made.run(tiny_experiment(**RICH), "--fold", "0")
    return contents(fold0(made))


POINTS = {
    "in the first epoch": ("at", "train.loop.optimizer_step", 3),
    "in the second epoch": ("at", "train.loop.optimizer_step", 9),
    "in the middle of best.ckpt": ("torn", "best.ckpt", 2),
    "in the middle of last.ckpt": ("torn", "last.ckpt", 2),
    "between best.ckpt and last.ckpt": ("at", "core.checkpoint.save_keeping_previous", 1),
    "while last.ckpt is moved aside": ("at", "core.checkpoint.save", 4),
    "between last.ckpt and metrics.jsonl": ("at", "train.loop.write_metrics", 2),
    "before the predictions": ("at", "train.run.write_predictions", 1),
    "between oof.parquet and corrupted.parquet": ("at", "evaluate.predictions.write", 2),
    "between corrupted.parquet and test.parquet": ("at", "evaluate.predictions.write", 3),
    "in the middle of ood.npz": ("torn", "ood.npz", 1),
    "before the manifest": ("torn", "manifest.json", 1),
}
ONLY_IN_THE_EPOCH = "while last.ckpt is moved aside"
IN_THE_EPOCH = ("in the first epoch", "in the second epoch", "in the middle of best.ckpt", ONLY_IN_THE_EPOCH)
CASES = [(name, False) for name in POINTS if name != ONLY_IN_THE_EPOCH] + [(name, True) for name in IN_THE_EPOCH]


@pytest.mark.parametrize(("point", "save_every_batch"), CASES)
def test_a_killed_fold_resumes_to_the_same_bytes(project, undisturbed, point, save_every_batch):
    command = (RICH, ("--fold", "0"))
    assert outcome(project, train, *command, POINTS[point], save_every_batch) == -signal.SIGKILL
    assert not (fold0(project) / "manifest.json").exists()
    assert outcome(project, train, *command, (), False) == 0
    assert contents(fold0(project)) == undisturbed
    assert not list(project.runs.rglob("*.tmp")) and not list(project.runs.rglob("*.previous"))


AVERAGED = RICH | {"epochs": 4, "average_last": 2, "max_steps": 2}
AVERAGED_POINTS = {
    "in the middle of an averaged epoch": ("torn", "epoch0003.ckpt", 1),
    "between an averaged epoch and last.ckpt": ("at", "core.checkpoint.save_keeping_previous", 4),
    "before an older epoch is deleted": ("at", "train.loop.remove_older_epochs", 3),
    "before an older epoch is deleted, after the last one": ("at", "train.loop.remove_older_epochs", 4),
}


@pytest.fixture(scope="module")
def undisturbed_average(tmp_path_factory) -> dict[str, object]:
    """What fold 0 leaves whose last two epochs are averaged."""
    made = make_project(tmp_path_factory.mktemp("average") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
        made.run(tiny_experiment(**AVERAGED), "--fold", "0")
    return contents(fold0(made)) | networks(fold0(made))


@pytest.mark.parametrize("point", AVERAGED_POINTS)
def test_a_killed_fold_averages_the_same_epochs(project, undisturbed_average, point):
    command = (AVERAGED, ("--fold", "0"))
    assert outcome(project, train, *command, AVERAGED_POINTS[point], False) == -signal.SIGKILL
    assert outcome(project, train, *command, (), False) == 0
    assert contents(fold0(project)) | networks(fold0(project)) == undisturbed_average
    assert sorted(networks(fold0(project))) == ["epoch0003.ckpt", "epoch0004.ckpt"]


def test_a_run_killed_again_and_again_ends_in_the_same_submission(project, trained_reference):
    fold_points = [POINTS[k] for k in ("in the first epoch", "in the middle of last.ckpt", "before the manifest")]
    for point in [("at", "data.cache.decode_form", 20), *fold_points, ("at", "train.run.fit_and_predict", 3)]:
        assert outcome(project, train, {}, (), point, True) == -signal.SIGKILL
    assert outcome(project, train, {}, (), ("torn", "scores.json", 1), False) == -signal.SIGKILL
    assert outcome(project, train, {}, (), (), False) == 0
    assert outcome(project, send, ("at", "core.records.write_json", 1)) == -signal.SIGKILL
    assert outcome(project, send, ()) == 0

    run, same = project.runs / "exp100", trained_reference.runs / "exp100"
    for fold in range(3):
        assert contents(run / f"fold{fold}") == contents(same / f"fold{fold}")
    for name in ("oof.parquet", "corrupted.parquet", "test.parquet"):
        assert (run / name).read_bytes() == (same / name).read_bytes()
    assert read_json(run / "scores.json")["scores"] == read_json(same / "scores.json")["scores"]
    (sent,) = (project.root / "submissions").glob("*.csv")
    assert sent.name == "001_exp100.csv" and sent.with_suffix(".json").exists()
    assert sent.read_bytes() == (trained_reference.root / "submissions" / "001_exp100.csv").read_bytes()


@pytest.fixture(scope="module")
def trained_reference(_trained_once, tmp_path_factory) -> Project:
    """A finished exp100 with its submission."""
    made = Project(tmp_path_factory.mktemp("reference") / "project")
    shutil.copytree(_trained_once.root, made.root)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        submission.write_submission("exp100")
    return made


# Damage


@pytest.fixture(scope="module")
def half_way(tmp_path_factory) -> Project:
    """A project whose fold 0 was killed in its second epoch, with two checkpoints."""
    made = make_project(tmp_path_factory.mktemp("half_way") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
    assert outcome(made, train, RICH, ("--fold", "0"), POINTS["in the second epoch"], True) == -signal.SIGKILL
    return made


@pytest.fixture
def torn(half_way, tmp_path, monkeypatch) -> Project:
    """A copy of `half_way` to damage."""
    shutil.copytree(half_way.root, tmp_path / "project")
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    return made


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, truncate, empty])
@pytest.mark.parametrize("names", [["last.ckpt"], ["last.ckpt", "last.ckpt.previous"]], ids=["newest", "both"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_used(torn, undisturbed, capsys, damage, names):
    for name in names:
        damage(fold0(torn) / name)
    torn.run(tiny_experiment(**RICH), "--fold", "0")
    said = capsys.readouterr().out
    assert all(f"{fold0(torn) / name} is damaged" in said for name in names)
    assert ("resuming at epoch" in said) == (len(names) == 1)
    assert contents(fold0(torn)) == undisturbed


def test_training_resumes_from_a_whole_checkpoint(torn, undisturbed, capsys):
    torn.run(tiny_experiment(**RICH), "--fold", "0")
    assert "resuming at epoch 2, batch" in capsys.readouterr().out
    assert contents(fold0(torn)) == undisturbed


def test_a_resumed_fold_keeps_the_number_of_threads_that_it_began_with(project):
    """The number decides the last bits of a sum, and so the bytes of the weights."""
    settings, point = {"max_steps": 2}, ("at", "train.loop.optimizer_step", 3)
    assert outcome(project, train, settings, ("--fold", "0", "--threads", "2"), point, True) == -signal.SIGKILL
    assert outcome(project, train, settings, ("--fold", "0", "--threads", "1"), (), False) == 0
    folder = RunFolder("exp100").fold(0)
    assert folder.config().threads == 2 and folder.manifest().machine.endswith(", 2 threads")


def test_overwriting_a_half_trained_fold_starts_from_nothing(torn, capsys):
    torn.run(tiny_experiment(**RICH, lr=1e-3), "--fold", "0", "--overwrite")
    assert "resuming" not in capsys.readouterr().out


@pytest.mark.parametrize("stop", [2, 3, 4, 5])
def test_a_killed_overwrite_leaves_no_checkpoint_without_its_settings(torn, monkeypatch, stop):
    unlink, listing, deleted = Path.unlink, Path.iterdir, []

    def stopped(path: Path, missing_ok: bool = False) -> None:
        deleted.append(path.name)
        if len(deleted) > stop:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Path, "unlink", stopped)
        killed.setattr(Path, "iterdir", lambda folder: iter(sorted(listing(folder))))  # config.json before last.ckpt
        torn.run(tiny_experiment(**RICH, lr=1e-3), "--fold", "0", "--overwrite")
    assert "config.json" in {p.name for p in fold0(torn).iterdir()}


# The cache


def test_a_killed_cache_is_built_anew(project):
    point = ("at", "data.cache.decode_form", 20)
    assert outcome(project, train, {"image_size": 24}, ("--fold", "0"), point, False) == -signal.SIGKILL
    folder = project.input / ".cache" / "tiny"
    assert not list(folder.glob("24px*.npy"))
    built = cache.open_cache(open_index("tiny"), 24)
    assert (np.asarray(built.images).reshape(72, -1).std(axis=1) > 0).all()
    assert not list(folder.glob(".*.tmp"))


def test_two_processes_build_one_cache_once(project, tmp_path):
    together, log = SERVER.Barrier(2), tmp_path / "decoded"
    assert outcomes(project, build_cache, (log, together), (log, together)) == [0, 0]
    assert len(log.read_text()) == 72
    index = open_index("tiny")
    opened = cache.open_cache(index, 20)
    last = index.table["path"].iloc[-1]
    assert (opened.images[-1] == decode(index.root, last, 20)).all()


def test_two_processes_train_two_folds_of_a_run(project, trained_reference):
    assert outcomes(project, train, *[({}, ("--fold", str(fold)), (), False) for fold in (0, 1)]) == [0, 0]
    project.run(tiny_experiment())
    assert (project.runs / "exp100" / "oof.parquet").read_bytes() == (
        trained_reference.runs / "exp100" / "oof.parquet"
    ).read_bytes()
    assert RunFolder("exp100").fold(2).path == project.runs / "exp100" / "fold2"
