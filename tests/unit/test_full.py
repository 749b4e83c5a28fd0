"""--fold full: all training images, for as many epochs as the folds chose; submitted only beside their figures."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import copy_project, enter, tiny_experiment

from chestfold.cli.experiment import read_command, unfinished_folds
from chestfold.core import checkpoint
from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.run_folder import FULL, FoldFolder, RunFolder
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions
from chestfold.evaluate.leaderboard import rows_by_folds, unfinished
from chestfold.evaluate.results import all_results, find_result
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload, standings, write_submission
from chestfold.train import loop
from chestfold.train.full import plan_full
from chestfold.train.prepare import prepare

EXP = tiny_experiment()


def best_epochs(*epochs: int) -> None:
    """Let the folds of exp100 have chosen these."""
    for number, epoch in enumerate(epochs):
        path = RunFolder("exp100").fold(number).manifest_path
        write_json(path, read_json(path) | {"best_epoch": epoch})


def train_full(project, *argv: str, exp=EXP, name: str = "exp100"):
    project.run(exp, "--fold", "full", *argv, name=name)
    return RunFolder(name).fold(FULL)


def full_of_exp100() -> FoldFolder:
    """That of `with_full`."""
    return RunFolder("exp100").fold(FULL)


def test_all_training_images_are_trained_on_and_none_is_validated(trained):
    before = (trained.runs / "exp100" / "oof.parquet").read_bytes()
    folder = train_full(trained)
    table = folds.load("tiny", open_index("tiny")).table
    assert (
        f"exp100 full: {len(table)} training, 0 validation and 12 test images" in (folder.path / "log.txt").read_text()
    )
    names = {path.name for path in folder.path.iterdir()}
    assert {"config.json", "manifest.json", "best.ckpt", "last.ckpt", "metrics.jsonl", "test.parquet"} <= names
    assert not names & {"oof.parquet", "corrupted.parquet", "ood.npz", "last.ckpt.previous"}
    for row in folder.history():
        assert "train_loss" in row and not {"loss", "auc", "accuracy"} & row.keys()
    predicted, origin = predictions.read(folder.table_path("test"))
    assert origin["fold"] == FULL == -1 and len(predicted) == 12 and set(predicted["fold"]) == {FULL}
    assert folder.is_finished() and (trained.runs / "exp100" / "oof.parquet").read_bytes() == before


@pytest.mark.parametrize(("chosen", "epochs"), [((1, 1, 1), 1), ((1, 3, 2), 2), ((3, 3, 1), 3)])
def test_it_trains_for_the_median_of_the_epochs_that_the_folds_chose(trained, chosen, epochs):
    best_epochs(*chosen)
    folder = train_full(trained)
    assert len(folder.history()) == folder.manifest().best_epoch == epochs
    assert checkpoint.load(folder.best_checkpoint)["epoch"] == epochs
    assert folder.config().fingerprint["full_epochs"] == str(epochs)


def test_the_last_epoch_is_the_best_one(with_full):
    folder = full_of_exp100()
    last, best = checkpoint.load(folder.last_checkpoint), checkpoint.load(folder.best_checkpoint)
    for name, weight in best["module"].items():
        assert np.array_equal(weight, last["module"][name])


def test_its_rates_are_those_of_the_folds(trained):
    """It stops where they were best, on the same schedule."""
    best_epochs(1, 1, 1)
    folder = train_full(trained)
    assert folder.config().settings["epochs"] == 2
    assert folder.history()[0]["lr"] > 0


def test_where_epochs_are_averaged_the_folds_chose_the_last_one(project):
    exp = tiny_experiment(average_last=2, epochs=3, max_steps=1)
    project.run(exp, "--fold", "0", name="exp150")
    assert plan_full(RunFolder("exp150"), 1, exp).epochs == 3


def test_a_killed_training_resumes_to_the_same_bytes(with_full, monkeypatch):
    honest = full_of_exp100()
    kept = {name: (honest.path / name).read_bytes() for name in ("best.ckpt", "test.parquet")}
    shutil.rmtree(honest.path)
    step, calls = loop.optimizer_step, []

    def killed(recipe, state):
        calls.append(1)
        if len(calls) > 9:
            raise KeyboardInterrupt
        step(recipe, state)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "optimizer_step", killed)
        train_full(with_full)
    assert len(full_of_exp100().history()) == 1
    folder = train_full(with_full)
    assert {name: (folder.path / name).read_bytes() for name in kept} == kept


def test_a_finished_one_is_not_trained_again(with_full, capsys):
    train_full(with_full)
    assert "exp100/full is finished" in capsys.readouterr().out
    assert unfinished_folds(read_command(EXP, ["--fold", "full"], with_full.root / "exp100.py").request) == []


def test_other_settings_are_refused(with_full):
    best_epochs(1, 1, 1)
    with pytest.raises(InputError, match=r"full was begun with other settings \(full_epochs: "):
        train_full(with_full)


def test_overwriting_it_leaves_the_folds_and_their_scores(with_full, _trained_once):
    before = read_json(_trained_once.runs / "exp100" / "scores.json")
    folder = full_of_exp100()
    assert folder.has_progress()
    folder.clear()
    assert not folder.has_progress()
    assert read_json(with_full.runs / "exp100" / "scores.json")["scores"] == before["scores"]
    assert len(RunFolder("exp100").finished_folds()) == 3


def test_it_waits_for_all_folds(trained):
    (trained.runs / "exp100" / "fold1" / "manifest.json").unlink()
    with pytest.raises(InputError, match="--fold full: fold 1 of exp100 is not finished, and all 3 decide"):
        train_full(trained)
    assert not (trained.runs / "exp100" / "full").exists()


@pytest.mark.parametrize("argv", [("full", "0"), ("0", "full"), ("full", "full")])
def test_it_is_not_one_of_several(trained, argv):
    with pytest.raises(InputError, match="--fold full is a training of its own"):
        trained.run(EXP, "--fold", *argv)


@pytest.mark.parametrize("word", ["-1", "ful", "Full", "1.0"])
def test_another_word_is_no_fold(trained, word):
    with pytest.raises(InputError, match="fold"):
        trained.run(EXP, "--fold", word)


def test_synthetic_images_are_of_single_folds(trained):
    with pytest.raises(InputError, match="synthetic = 'made': these images are made for single folds"):
        train_full(trained, exp=tiny_experiment(synthetic="made"), name="exp300")


def test_it_begins_with_a_training_on_all_images_and_learns_from_its_predictions(with_full):
    source = full_of_exp100()
    ready = prepare(Request("exp200", tiny_experiment(start_from="exp100", pseudo="exp100")))
    hashes = ready.sources.hashes(FULL)
    assert hashes["start_sha256"] == sha256_file(source.best_checkpoint)
    assert hashes["pseudo_sha256"] == sha256_file(source.table_path("test"))
    assert ready.fold_images(FULL).joined == {"pseudo": 12}
    shutil.rmtree(source.path)
    with pytest.raises(InputError, match="start_from = 'exp100': full of it is not finished"):
        ready.sources.require(FULL)


# Board and submission


def test_the_board_does_not_show_it(trained):
    before = {title: [row.result.name for row in rows] for title, rows in rows_by_folds(all_results()).items()}
    train_full(trained)
    after = {title: [row.result.name for row in rows] for title, rows in rows_by_folds(all_results()).items()}
    assert after == before and unfinished() == []


def test_its_predictions_are_submitted_beside_the_figures_of_the_folds(with_full):
    folder = full_of_exp100()
    path, new = write_submission("exp100", full=True)
    assert new and path.name == "001_exp100-full.csv"
    expected = predictions.read(folder.table_path("test"))[0].set_index("id")["ill"]
    written = pd.read_csv(path).set_index("id")["ill"]
    np.testing.assert_allclose(written, expected[written.index], atol=1e-6)
    record = SubmissionRecord.from_json(path.with_suffix(".json"))
    result = find_result("exp100")
    assert record.full and record.result == "exp100" and record.folds == result.record.folds
    assert record.cv_auc == result.score("at_half", "auc")
    assert record.files["full/test.parquet"] == sha256_file(folder.table_path("test"))
    assert write_submission("exp100", full=True) == (path, False)
    assert write_submission("exp100")[0].name == "002_exp100.csv"


def test_its_leaderboard_score_is_not_that_of_the_folds(with_full):
    for full in (False, True):
        path, _ = write_submission("exp100", full=full)
        about = read_json(path.with_suffix(".json"))
        upload = Upload(competition="c", marker="m", message="", public="0.9" if full else "0.5")
        write_json(path.with_suffix(".json"), about | {"uploads": [upload.to_dict()]})
    assert standings(all_results())["exp100"].public == 0.5


def not_trained(project):
    shutil.rmtree(project.runs / "exp100" / "full")


def fold_missing(project):
    scores = project.runs / "exp100" / "scores.json"
    record = read_json(scores)
    write_json(scores, record | {"folds": record["folds"] | {"trained": [0, 1]}})
    (project.runs / "exp100" / "fold2" / "manifest.json").unlink()


def changed(project):
    shutil.copy(project.runs / "exp100" / "test.parquet", project.runs / "exp100" / "full" / "test.parquet")


def of_another_run(project):
    shutil.rmtree(project.runs / "exp100" / "full")
    train_full(project, exp=tiny_experiment(seed=1, augment="plain"), name="exp101")
    shutil.copytree(project.runs / "exp101" / "full", project.runs / "exp100" / "full")


def a_fold(project):
    shutil.rmtree(project.runs / "exp100" / "full")
    shutil.copytree(project.runs / "exp100" / "fold0", project.runs / "exp100" / "full")


DAMAGES = {
    not_trained: "full is not finished; train it",
    fold_missing: "exp100 holds folds 0, 1 of 3",
    changed: r"test\.parquet is not the file that the training finished with",
    of_another_run: "was trained beside other folds than those that the scores of exp100 are of",
    a_fold: "was trained beside other folds than those that the scores of exp100 are of",
}


@pytest.fixture(scope="module")
def _with_full_once(_trained_once, tmp_path_factory):
    made = copy_project(_trained_once, tmp_path_factory.mktemp("full") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        train_full(made)
    return made


@pytest.fixture
def with_full(_with_full_once, tmp_path, monkeypatch):
    """A copy of a project in which exp100 is trained on all images too."""
    made = copy_project(_with_full_once, tmp_path / "project")
    enter(monkeypatch, made)
    return made


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_does_not_stand_beside_its_folds_is_not_submitted(with_full, damage):
    damage(with_full)
    with pytest.raises(InputError, match=DAMAGES[damage]):
        write_submission("exp100", full=True)
    assert not list((with_full.root / "submissions").glob("*.csv"))


def test_all_folds_and_some_contradict(with_full):
    with pytest.raises(InputError, match="--full and --partial"):
        write_submission("exp100", partial=True, full=True)
