"""The classifier two-sample test of real nodules against blended ones, here with a network of no size."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from small_patches import write_patches

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate.results import find_result
from chestfold.synth.blend.dataset import BlendRequest, blend
from chestfold.synth.study import classifier_test as c2st
from chestfold.synth.study.blended_set import Sample, open_blended_set


@pytest.fixture
def made(project, monkeypatch):
    write_patches(project.input / "patches")
    blend(BlendRequest("made", "patches", "patches", count=24))
    small = replace(c2st.RECIPE, backbone="test_resnet", image_size=32, batch_size=16)
    monkeypatch.setattr(c2st, "RECIPE", small)
    return project


def test_it_is_an_experiment_whose_folds_separate_families(made, capsys):
    main.main(["synth", "classifier-test", "made", "--epochs", "1"])
    assert "AUC of real against blended: 0." in capsys.readouterr().out
    index = open_index("made_c2st")
    assert index.train["label"].value_counts().to_dict() == {"real": 24, "synthetic": 24}
    table = folds.load("made_c2st", index).table
    assert table.groupby("group")["fold"].nunique().max() == 1 and set(table["group"]) <= {
        f"p{n:02d}" for n in range(12)
    }
    result = find_result("made_c2st")
    assert result.record.settings["average_last"] == 1, "the last epoch, not the one that scored best"
    before = result.folder.stat().st_mtime_ns, (result.folder / "fold0" / "manifest.json").stat().st_mtime_ns
    assert c2st.classifier_test("made", 1).score("at_half", "auc") == result.score("at_half", "auc")
    assert (result.folder / "fold0" / "manifest.json").stat().st_mtime_ns == before[1], "trained once"


def test_a_test_of_another_set_is_refused(made):
    c2st.write_data(open_blended_set("made"), "made_c2st", False)
    shutil.rmtree(made.input / "made")
    blend(BlendRequest("made", "patches", "patches", count=20))
    with pytest.raises(InputError, match="was made of another made"):
        c2st.write_data(open_blended_set("made"), "made_c2st", False)


def test_without_a_place_there_is_nothing_to_compare_with(made):
    blended_set = open_blended_set("made")
    blended_set.real["box"] = ""
    with pytest.raises(InputError, match="no real nodule whose place is known"):
        c2st.write_data(blended_set, "other_c2st", False)


@pytest.mark.parametrize("place", [(60, 60), (3, 3), (118, 90)])
def test_a_crop_holds_the_nodule_and_stays_in_the_image(place):
    mask = np.zeros((120, 128), bool)
    mask[place[0] : place[0] + 2, place[1] : place[1] + 3] = True
    cropped = c2st.crop(Sample("a", "real", mask.astype(np.uint8), mask))
    assert cropped.shape == (50, 50) and cropped.sum() == 6


def test_the_control_hides_all_that_was_changed_in_real_and_blended_ones_alike(made):
    blended_set = open_blended_set("made")
    for image_id, truth in (("s00000", "synthetic"), ("r00000", "real")):
        sample = blended_set.sample(image_id, truth)
        black = c2st.hide_changes(sample).image == 0
        assert black[sample.mask].all() and 0.02 < black.mean() < 0.5
        if truth == "synthetic":
            changed = (
                cv2.imread(str(blended_set.folder / "masks/changed" / f"{image_id}.png"), cv2.IMREAD_GRAYSCALE) > 0
            )
            assert np.array_equal(black & ~changed, (sample.image == 0) & ~changed) and black[changed].all()
    c2st.write_data(blended_set, "made_surroundings", True)
    assert len(open_index("made_surroundings").train) == 48
