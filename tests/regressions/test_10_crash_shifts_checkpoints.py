"""Bug: checkpoints were matched to folds by their order on the disk, which a crash and a second start had shifted.

Here a fold is a folder and a number inside its files; nothing is matched by order, and what is found in a wrong
folder is refused.
"""

import shutil

import pytest
from conftest import tiny_experiment

from chestfold.core import checkpoint
from chestfold.core.errors import InputError

PREDICTIONS = ("best.ckpt", "oof.parquet", "test.parquet")


def contents(run) -> dict[str, bytes]:
    return {f"{f}/{name}": (run / f"fold{f}" / name).read_bytes() for f in range(3) for name in PREDICTIONS}


@pytest.mark.parametrize("crashed", [0, 1])
def test_a_fold_that_crashed_and_is_trained_again_last_gets_its_own_weights(trained, crashed):
    run = trained.runs / "exp100"
    before = contents(run)
    shutil.rmtree(run / f"fold{crashed}")
    trained.run(tiny_experiment())
    assert contents(run) == before


def test_a_fold_that_crashed_between_its_files_is_completed(trained):
    run = trained.runs / "exp100"
    before = contents(run)
    for name in ("manifest.json", "oof.parquet", "test.parquet"):
        (run / "fold1" / name).unlink()
    trained.run(tiny_experiment())
    assert contents(run) == before


def test_every_checkpoint_names_its_fold(trained):
    for fold in range(3):
        assert checkpoint.load(trained.runs / "exp100" / f"fold{fold}" / "best.ckpt")["fold"] == fold


def test_folders_in_each_others_place_are_refused(trained):
    run = trained.runs / "exp100"
    (run / "fold0").rename(run / "aside")
    (run / "fold1").rename(run / "fold0")
    (run / "aside").rename(run / "fold1")
    with pytest.raises(InputError, match=r"fold0 was begun with other settings \(fold: 1 -> 0\)"):
        trained.run(tiny_experiment())


def test_a_checkpoint_of_another_fold_is_noticed(trained):
    run = trained.runs / "exp100"
    shutil.copy(run / "fold0" / "best.ckpt", run / "fold1" / "best.ckpt")
    with pytest.raises(InputError, match=r"fold1/best\.ckpt is not the file that the training finished with"):
        trained.run(tiny_experiment())
