"""The folder of a fold: claimed by one configuration, finished when the manifest is there."""

import json
from typing import Any

import pytest
from conftest import tiny_experiment

from chestfold.core.errors import InputError
from chestfold.core.files import Locked, read_json, sha256_json, write_json
from chestfold.core.provenance import Provenance
from chestfold.core.run_folder import FoldConfig, FoldFolder, FoldManifest, RunFolder

ORIGIN = Provenance(commit="abc", python="3.11", versions={}, machine="here", date="2026-01-01")


def config(threads: int = 1, fold: int = 0, weights: str = "hub", **settings) -> FoldConfig:
    exp = tiny_experiment(**settings)
    return FoldConfig(
        experiment="exp100",
        fold=fold,
        settings=exp.to_dict(),
        parent="",
        changed={},
        classes=("healthy", "ill"),
        positive="ill",
        fingerprint={"weights": weights},
        threads=threads,
    )


@pytest.fixture
def folder(tmp_path) -> FoldFolder:
    made = FoldFolder(tmp_path / "exp100" / "fold0")
    made.path.mkdir(parents=True)
    return made


def begin(folder: FoldFolder, **changes) -> None:
    """Claim the folder and leave a first checkpoint."""
    folder.claim(config(**changes))
    folder.last_checkpoint.write_bytes(b"weights")


def finish(folder: FoldFolder) -> None:
    """Leave a manifest that proves the best epoch's weights."""
    folder.best_checkpoint.write_bytes(b"best")
    files = folder.hashes(["best.ckpt"])
    digest = sha256_json(folder.config().to_dict())
    about: dict[str, Any] = dict(config_sha256=digest, best_epoch=1, precision="fp32", minutes=0.1) | ORIGIN.to_dict()
    FoldManifest(files=files, **about).write(folder.manifest_path)


# Claiming


def test_a_claimed_folder_is_bound_to_its_configuration(folder):
    begin(folder)
    assert folder.claim(config()) == config()
    with pytest.raises(InputError, match=r"fold0 was begun with other settings \(epochs: 2 -> 3\); .* --overwrite"):
        folder.claim(config(epochs=3))
    assert folder.config() == config(), "a refusal changes nothing"


@pytest.mark.parametrize("changes", [{"weights": "8aa17e"}, {"fold": 1}, {"lr": 0.1}], ids=str)
def test_whatever_decides_the_outcome_binds(folder, changes):
    begin(folder)
    with pytest.raises(InputError, match="was begun with other settings"):
        folder.claim(config(**changes))


def test_a_fold_without_a_checkpoint_is_claimed_anew(folder):
    """As after an error message about weights: they are put where it says, and the same command is run again."""
    folder.claim(config(weights="hub"))
    (folder.path / "log.txt").write_text("nothing was trained\n")
    assert folder.claim(config(weights="8aa17e")) == config(weights="8aa17e") == folder.config()
    assert not (folder.path / "log.txt").exists()


@pytest.mark.parametrize("left", ["last.ckpt", "last.ckpt.previous", "manifest.json"])
def test_a_fold_with_anything_to_resume_from_is_not(folder, left):
    folder.claim(config(weights="hub"))
    (folder.path / left).write_bytes(b"")
    with pytest.raises(InputError, match="weights: hub -> 8aa17e"):
        folder.claim(config(weights="8aa17e"))


def test_a_fold_keeps_the_number_of_threads_that_it_began_with(folder):
    begin(folder, threads=2)
    assert folder.claim(config(threads=5)).threads == 2 == folder.config().threads


def test_a_fold_that_is_claimed_anew_takes_the_new_number_of_threads(folder):
    folder.claim(config(threads=2))
    assert folder.claim(config(threads=5)).threads == 5 == folder.config().threads


def test_overwrite_throws_the_old_one_away(folder):
    begin(folder)
    finish(folder)
    assert folder.claim(config(epochs=3), overwrite=True) == config(epochs=3)
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.json"]


def test_temporary_files_of_a_killed_process_are_removed(folder):
    (folder.path / ".last.ckpt.123.tmp").write_bytes(b"torn")
    folder.claim(config())
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]


def test_the_scores_of_a_run_outlive_the_beginning_of_another_fold(folder):
    """What was collected stays until it is collected anew."""
    begin(folder)
    finish(folder)
    scores = folder.path.parent / "scores.json"
    scores.write_text("{}")
    other = FoldFolder(folder.path.with_name("fold1"))
    other.path.mkdir()
    begin(other, fold=1)
    assert scores.exists()


def test_overwriting_a_fold_takes_back_the_scores_that_it_is_a_part_of(folder):
    begin(folder)
    finish(folder)
    scores = folder.path.parent / "scores.json"
    scores.write_text("{}")
    folder.claim(config(), overwrite=True)
    assert not scores.exists()


def test_a_folder_is_held_by_one_process_alone(folder):
    with folder.lock(), pytest.raises(Locked, match=r"another process \(.*\) is working in .*fold0; wait"):
        folder.lock().__enter__()


# Finished or not


def test_a_fold_is_finished_when_every_file_has_its_hash(folder):
    begin(folder)
    assert not folder.is_finished()
    finish(folder)
    assert folder.is_finished()


@pytest.mark.parametrize("content", [b"other", None], ids=["changed", "lost"])
def test_a_file_that_changed_after_the_training_is_refused(folder, content):
    begin(folder)
    finish(folder)
    folder.best_checkpoint.unlink()
    if content:
        folder.best_checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"best\.ckpt is not the file that the training finished with; restore it, or"):
        folder.is_finished()


# metrics.jsonl


def rows(folder: FoldFolder) -> list[dict]:
    return [json.loads(line) for line in folder.history_path.read_text().splitlines()]


def test_each_row_keeps_the_timing_that_it_was_written_with(folder):
    first, second = {"epoch": 1, "auc": 0.5}, {"epoch": 2, "auc": 0.6}
    folder.write_history([first], "epoch", {"seconds": 7.0})
    folder.write_history([first, second], "epoch", {"seconds": 5.0})
    assert rows(folder) == folder.history() == [first | {"seconds": 7.0}, second | {"seconds": 5.0}]


def test_a_row_whose_timing_was_lost_has_none(folder):
    folder.write_history([{"epoch": 1, "auc": 0.5}], "epoch")
    assert rows(folder) == [{"epoch": 1, "auc": 0.5}]


def test_rows_that_are_no_longer_in_the_history_are_gone(folder):
    folder.write_history([{"epoch": 1}, {"epoch": 2}], "epoch", {"seconds": 5.0})
    folder.write_history([{"epoch": 1}], "epoch")
    assert rows(folder) == [{"epoch": 1}]


def test_a_damaged_history_is_one_sentence(folder):
    folder.history_path.write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged"):
        folder.history()


# A run


def test_folds_are_listed_by_number_not_by_name(project):
    run = RunFolder("exp100")
    for number in (10, 2, 1):
        run.fold(number).path.mkdir(parents=True)
        begin(run.fold(number), fold=number)
    assert [fold.number for fold in run.begun_folds()] == [1, 2, 10]
    finish(run.fold(10))
    assert [fold.number for fold in run.finished_folds()] == [10]


def test_a_copied_folder_of_a_fold_is_no_fold(project):
    run = RunFolder("exp100")
    for name in ("fold0", "fold0 (copy)", "fold0_old"):
        folder = FoldFolder(run.path / name)
        folder.path.mkdir(parents=True)
        begin(folder)
    assert [fold.path.name for fold in run.begun_folds()] == ["fold0"]


def test_a_run_without_a_finished_fold_is_one_sentence(project):
    with pytest.raises(InputError, match="exp100 holds no finished fold; train it first, or copy its folder here"):
        RunFolder("exp100").require_finished_folds()


@pytest.mark.parametrize("name", ["../exp100", "a/b", "", ".."])
def test_a_name_with_folders_is_refused(project, name):
    with pytest.raises(InputError, match="a plain name is needed, without folders"):
        RunFolder(name)


@pytest.mark.parametrize(("setting", "value"), [("image_size", 48), ("tta", "flip"), ("backbone", "test_vit")])
def test_a_finished_fold_whose_settings_were_changed_is_refused(folder, setting, value):
    """A flipped bit in `image_size` gave other predictions, and no complaint."""
    begin(folder)
    finish(folder)
    assert folder.is_finished()
    changed = read_json(folder.config_path)
    changed["settings"][setting] = value
    write_json(folder.config_path, changed)
    with pytest.raises(InputError, match=r"config\.json is not the one that the training was begun with"):
        folder.require_own_config()
    with pytest.raises(InputError, match=r"config\.json is not the one"):
        folder.is_finished()


def test_what_an_older_record_does_not_say_of_the_pixels_is_as_it_is_now():
    old, lung, bone = (
        config().model_copy(update={"shown": shown}) for shown in (None, {"ct_window": "lung"}, {"ct_window": "bone"})
    )
    assert not old.changes(lung) and lung.changes(bone) == {"ct_window": ("lung", "bone")}
    assert lung.changes(config().model_copy(update={"shown": {}})) == {"ct_window": ("lung", None)}
