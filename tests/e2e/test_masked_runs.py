"""A run with its lungs masked: trained, corrupted, tested and used on a single image, each masked in the same way."""

import cv2
import numpy as np
import pytest
from conftest import Project, enter, read_grey, tiny_experiment
from signed_config import sign_config

from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.evaluate import predictions
from chestfold.predict.predictor import Predictor

NO_SLICE = "p000_s0"
EXP = tiny_experiment(data="phantom", image_size=64, lung_mask="zero", augment="d4", precision="fp32")


@pytest.fixture(scope="module")
def _masked(tmp_path_factory) -> Project:
    made = Project(tmp_path_factory.mktemp("masked"))
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        write_phantom(made.input / "phantom", patients=12, slices=2)
        cv2.imwrite(str(made.input / "phantom" / "images" / f"{NO_SLICE}.png"), np.full((128, 128), 90, np.uint8))
        folds.make(open_index("phantom"), "phantom", 2)
        made.run(EXP, "--fold", "0")
        made.run(EXP.but(lung_mask="channel"), "--fold", "0", name="exp101")
    return made


@pytest.fixture
def masked(_masked, monkeypatch) -> Project:
    enter(monkeypatch, _masked)
    return _masked


@pytest.mark.parametrize("name", ["exp100", "exp101"])
def test_a_single_image_is_seen_as_the_test_images_were(masked, name):
    table = predictions.read(masked.runs / name / "fold0" / "test.parquet")[0]
    model = Predictor(name)
    for row in table.head(3).to_dict("records"):
        path = masked.input / "phantom" / "images" / f"{row['id']}.png"
        assert model(path).probabilities["nodule"] == pytest.approx(row["nodule"], abs=1e-5)


def test_what_lies_outside_the_lungs_changes_no_prediction(masked):
    name = predictions.read(masked.runs / "exp100" / "fold0" / "test.parquet")[0]["id"].iloc[0]
    image = read_grey(masked.input / "phantom" / "images" / f"{name}.png")
    marked = image.copy()
    marked[4:12, 4:10] = 255
    zero, channel = Predictor("exp100"), Predictor("exp101")
    assert zero(marked).probabilities == pytest.approx(zero(image).probabilities, abs=1e-6)
    assert channel(marked).probabilities != pytest.approx(channel(image).probabilities, abs=1e-6)


def test_a_slice_without_lungs_is_logged_and_counted(masked):
    folder = masked.runs / "exp100" / "fold0"
    counts = read_json(folder / "manifest.json")["lungs_not_found"]
    assert set(counts) == {"training", "validation", "test"}
    assert counts["training"] + counts["validation"] >= 1
    assert "which stay unmasked (" in (folder / "log.txt").read_text()
    assert "a blank image" in (folder / "log.txt").read_text()


def test_another_way_of_finding_lungs_is_another_run(masked, monkeypatch):
    monkeypatch.setattr("chestfold.data.transforms.preprocess.METHOD", "axial-2")
    with pytest.raises(InputError, match="lungs: axial-1 -> axial-2"):
        masked.run(EXP, "--fold", "0")


def test_a_fold_from_before_there_were_masks_is_finished(project, monkeypatch):
    plain = tiny_experiment(epochs=1)
    project.run(plain, "--fold", "0")
    path = project.runs / "exp100" / "fold0" / "config.json"
    config = read_json(path)
    assert config["settings"].pop("lung_mask") == config["settings"].pop("frame") == "none"
    assert "lungs" not in config["fingerprint"]
    sign_config(path.parent, config)
    before = (path.parent / "best.ckpt").stat().st_mtime_ns
    project.run(plain, "--fold", "0")
    assert (path.parent / "best.ckpt").stat().st_mtime_ns == before
