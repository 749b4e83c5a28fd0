"""Bug: the same image was in training and in validation under two names, and the score rewarded its recognition.

Here exact and near duplicates become one group before the split, and a fold file can be searched for them again.
"""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey

from chestfold.cli import main
from chestfold.core.files import read_json
from chestfold.data import folds
from chestfold.data.cache import content_hashes
from chestfold.data.catalogue import open_index
from chestfold.data.duplicates import exact_groups

CHECKOUT = Path(__file__).resolve().parents[2]
EXACT, NEAR = ("t000", "t031"), ("t006", "t045")
"""Images of two patients each, of one label."""


@pytest.fixture
def doubled(project):
    """`tiny` with a copy of one image under another patient, and a re-encoded, slightly brighter one of another."""
    images = project.input / "tiny" / "images"
    shutil.copy(images / f"{EXACT[0]}.png", images / f"{EXACT[1]}.png")
    image = read_grey(images / f"{NEAR[0]}.png")
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    brighter = cv2.add(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), 3)
    cv2.imwrite(str(images / f"{NEAR[1]}.png"), brighter)
    return open_index("tiny")


@pytest.mark.parametrize("pair", [EXACT, NEAR], ids=["exact", "near"])
def test_duplicates_of_different_patients_are_in_one_fold(doubled, pair):
    patients = doubled.train.set_index("id")["group"]
    assert patients[pair[0]] != patients[pair[1]]
    for seed in range(6):
        table = folds.split(doubled, 3, seed).table.set_index("id")
        assert len(set(table.loc[list(pair), "group"])) == 1
        of_both = table[patients.reindex(table.index).isin(patients[list(pair)])]
        assert set(of_both["fold"]) == {table.loc[pair[0], "fold"]}, "with all images of both patients"


def test_the_report_counts_them(doubled):
    report = folds.split(doubled, 3, seed=0).leaks
    assert report["found"] == {"exact duplicates": 1, "near duplicates": 2, "groups": 18}
    assert not any(report["straddling"].values())


def test_a_copy_that_came_after_the_fold_file_is_reported(project, capsys):
    """It changes no id, label or patient: only a comparison of the images finds it."""
    table = folds.load("tiny", open_index("tiny")).table
    ill = table[table["label"] == "ill"].groupby("fold")["id"].first()
    images = project.input / "tiny" / "images"
    shutil.copy(images / f"{ill[0]}.png", images / f"{ill[1]}.png")
    with pytest.raises(SystemExit) as stop:
        main.main(["folds", "check", "tiny"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert "exact duplicates of the training images: 1 found, 1 in more than one fold" in printed.out
    assert "folds/tiny.csv leaks" in printed.err


# The committed fold files


@pytest.fixture
def checkout(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CHESTFOLD_PROJECT", str(CHECKOUT))
    monkeypatch.setenv("CHESTFOLD_INPUT", str(real_data))
    monkeypatch.setenv("CHESTFOLD_CACHE", str(tmp_path))


def test_the_known_duplicates_of_the_chest_x_rays_are_found(checkout):
    index = open_index("chest_xray")
    digests = dict(zip(index.table["id"], content_hashes(index), strict=True))
    groups = exact_groups([digests[i] for i in index.train["id"]])
    assert (len(groups), sum(map(len, groups))) == (24, 50)
    for column in ("label", "group"):
        values = index.train[column].to_numpy()
        assert all(len(set(values[members])) == 1 for members in groups), column


@pytest.mark.parametrize("name", ["chest_xray", "luna16_patches"])
def test_no_duplicate_straddles_a_committed_fold_file(checkout, name):
    report = folds.check(name, open_index(name))
    assert report == read_json(CHECKOUT / "folds" / f"{name}.json")["leaks"]
    assert report["straddling"] == {"exact duplicates": 0, "near duplicates": 0, "groups": 0}
    assert report["found"]["groups"] > 100


def test_images_of_different_patients_are_not_joined(project):
    index = open_index("tiny")
    assert folds.linked_duplicates(index) == ([], [])
    assert np.array_equal(folds.load("tiny", index).table["group"], index.train["group"])
