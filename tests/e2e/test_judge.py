"""The judge: five folds of a classifier that tells real nodules from blended ones, here with a network of no size."""

import shutil

import cv2
import numpy as np
import pytest
from conftest import collect_quickly
from small_patches import write_patches

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate.results import find_result
from chestfold.synth.blend.dataset import Request, blend
from chestfold.synth.study import classifier_test as judging
from chestfold.synth.study.blended_set import Card


@pytest.fixture
def made(project, monkeypatch):
    write_patches(project.input / "patches")
    blend(Request("made", "patches", "patches", count=24))
    collect_quickly(monkeypatch)
    small = {"backbone": "test_resnet", "image_size": 32, "batch_size": 16}
    monkeypatch.setattr(judging, "RECIPE", judging.RECIPE | small)
    return project


def test_the_judge_is_an_experiment_whose_folds_part_families(made, capsys):
    main.main(["synth", "judge", "made", "--epochs", "1"])
    assert "AUC of real against blended: 0." in capsys.readouterr().out
    index = open_index("made_judge")
    assert index.train["label"].value_counts().to_dict() == {"real": 24, "synthetic": 24}
    table = folds.load("made_judge", index).table
    assert table.groupby("group")["fold"].nunique().max() == 1 and set(table["group"]) <= {
        f"p{n:02d}" for n in range(12)
    }
    result = find_result("made_judge")
    assert result.about["settings"]["average_last"] == 1, "the last epoch, not the one that scored best"
    before = result.folder.stat().st_mtime_ns, (result.folder / "fold0" / "manifest.json").stat().st_mtime_ns
    assert judging.judge("made", 1).score("at_half", "auc") == result.score("at_half", "auc")
    assert (result.folder / "fold0" / "manifest.json").stat().st_mtime_ns == before[1], "trained once"


def test_a_judge_of_another_set_is_refused(made):
    judging._write_data(judging.open_blends("made"), "made_judge", False)
    shutil.rmtree(made.input / "made")
    blend(Request("made", "patches", "patches", count=20))
    with pytest.raises(InputError, match="was made of another made"):
        judging._write_data(judging.open_blends("made"), "made_judge", False)


def test_without_a_place_there_is_nothing_to_compare_with(made):
    blends = judging.open_blends("made")
    blends.real["box"] = ""
    with pytest.raises(InputError, match="no real nodule whose place is known"):
        judging._write_data(blends, "other_judge", False)


@pytest.mark.parametrize("place", [(60, 60), (3, 3), (118, 90)])
def test_a_cutting_holds_the_nodule_and_stays_in_the_picture(place):
    mask = np.zeros((120, 128), bool)
    mask[place[0] : place[0] + 2, place[1] : place[1] + 3] = True
    cut = judging.cutting(Card("a", "real", mask.astype(np.uint8), mask))
    assert cut.shape == (50, 50) and cut.sum() == 6


def test_the_control_hides_all_that_was_changed_in_real_and_blended_ones_alike(made):
    blends = judging.open_blends("made")
    for image_id, truth in (("s00000", "synthetic"), ("r00000", "real")):
        card = blends.card(image_id, truth)
        black = judging.hidden(card).picture == 0
        assert black[card.mask].all() and 0.02 < black.mean() < 0.5
        if truth == "synthetic":
            changed = cv2.imread(str(blends.folder / "masks/changed" / f"{image_id}.png"), cv2.IMREAD_GRAYSCALE) > 0
            assert np.array_equal(black & ~changed, (card.picture == 0) & ~changed) and black[changed].all()
    judging._write_data(blends, "made_surroundings", True)
    assert len(open_index("made_surroundings").train) == 48
