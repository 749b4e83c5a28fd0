"""One image through the finished folds of a run: the same probabilities as its prediction files."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import tiny_experiment
from signed_config import sign_config

from chestfold import Predictor
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.evaluate import predictions, results
from chestfold.evaluate.calibrated import calibrate


def place(project, image_id: str) -> Path:
    return project.input / "tiny" / "images" / f"{image_id}.png"


@pytest.mark.parametrize("name", ["exp100", "exp100-calibrated"])
def test_an_image_is_predicted_as_in_the_test_file(trained, name):
    calibrate("exp100")
    model = Predictor(name)
    table = results.find_result(name).test()[0]
    for row in table.head(4).to_dict("records"):
        said = model(place(trained, row["id"])).probabilities
        assert list(said) == ["healthy", "ill"]
        assert said == pytest.approx({name: row[name] for name in said}, abs=1e-5)


def test_a_run_that_was_trained_again_is_not_calibrated_by_its_old_predictions(trained):
    calibrate("exp100")
    shutil.copytree(trained.runs / "exp101", trained.runs / "exp100", dirs_exist_ok=True)
    with pytest.raises(
        InputError, match="exp100 was trained again after exp100-calibrated .* chestfold calibrate exp100"
    ):
        Predictor("exp100-calibrated")


def test_a_path_a_text_and_pixels_are_the_same_image(trained):
    model, path = Predictor("exp100"), place(trained, "x001")
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert model(path) == model(str(path)) == model(pixels)
    assert sum(model(pixels).probabilities.values()) == pytest.approx(1)


def test_an_image_of_another_size_is_resized(trained, tmp_path):
    wide = np.random.default_rng(0).integers(0, 256, (48, 90), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "wide.png"), wide)
    model = Predictor("exp100")
    assert model(wide) == model(tmp_path / "wide.png")


def test_the_finished_folds_alone_are_the_model(trained):
    shutil.rmtree(trained.runs / "exp100" / "fold1")
    (trained.runs / "exp100" / "fold2" / "manifest.json").unlink()
    table = predictions.read(trained.runs / "exp100" / "fold0" / "test.parquet")[0].set_index("id")
    assert Predictor("exp100")(place(trained, "x003")).probabilities["ill"] == pytest.approx(
        table["ill"]["x003"], abs=1e-5
    )


def test_views_and_averaged_epochs_count_as_in_training(project):
    settings = {"tta": "d4", "average_last": 2, "head_width": 8, "freeze": True, "ema_decay": 0.5, "max_steps": 2}
    project.run(tiny_experiment(**settings), "--fold", "0")
    table = results.find_result("exp100").test()[0].set_index("id")
    assert Predictor("exp100")(place(project, "x003")).probabilities["ill"] == pytest.approx(
        table["ill"]["x003"], abs=1e-5
    )


def test_a_run_from_before_a_setting_was_added_is_loaded(trained):
    path = trained.runs / "exp100" / "fold0" / "config.json"
    config = read_json(path)
    for name in ("average_last", "head_width"):
        del config["settings"][name]
    sign_config(path.parent, config)
    assert set(Predictor("exp100")(place(trained, "x000")).probabilities) == {"healthy", "ill"}


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (np.zeros((32, 32)), r"an image as an array is uint8 \(H, W\), not float64 \(32, 32\); convert it first"),
        (np.zeros((32, 32, 3), np.uint8), r"not uint8 \(32, 32, 3\)"),
        ("nowhere.png", r"nowhere\.png cannot be read \(No such file or directory\)"),
        (Path(), "is no file"),
    ],
    ids=["floats", "colours", "missing file", "folder"],
)
def test_what_is_no_image_is_refused(trained, image, complaint):
    with pytest.raises(InputError, match=complaint) as refusal:
        Predictor("exp100")(image)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_no_image_is_refused(trained, tmp_path):
    (tmp_path / "text.png").write_text("id,label")
    with pytest.raises(InputError, match=r"text\.png is not an image that can be read"):
        Predictor("exp100")(tmp_path / "text.png")


def test_an_unknown_name_is_refused(trained):
    with pytest.raises(InputError, match="exp900 holds no finished fold; train it first"):
        Predictor("exp900")


@pytest.mark.parametrize("name", ["../runs/exp100", "", "exp100/fold0"])
def test_what_is_no_name_is_refused(trained, name):
    with pytest.raises(InputError, match=f"^run '{name}': a plain name is needed, without folders or a dot in front$"):
        Predictor(name)


def test_a_damaged_checkpoint_is_refused(trained):
    path = trained.runs / "exp100" / "fold1" / "best.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"fold1/best\.ckpt is damaged"):
        Predictor("exp100")


PIXELS = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)


def settled(project, lines: str, **settings) -> Predictor:
    path = project.input / "tiny" / "dataset.toml"
    path.write_text(path.read_text() + lines + "\n")
    project.run(tiny_experiment(epochs=1, max_steps=1, **settings), "--fold", "0")
    return Predictor("exp100")


def test_pixels_of_three_channels_and_of_16_bits(project):
    model = settled(project, 'three_channels = "rgb"', channels=3, depth=16)
    colours = np.dstack([PIXELS] * 3)
    expected = model(colours).probabilities
    for same in (PIXELS, colours.astype(np.uint16) * 257, PIXELS.astype(np.uint16) * 257):
        assert model(same).probabilities == pytest.approx(expected)
    with pytest.raises(InputError, match=r"is uint8 or uint16 \(H, W, 3\), not uint8 \(32, 32, 4\); convert it first"):
        model(np.dstack([PIXELS] * 4))


def test_pixels_and_levels_of_three_windows(project):
    windows = 'three_channels = "windows"\nwindows = [[0, 100], [0, 200], [0, 4000]]'
    model = settled(project, windows, channels=3)
    assert model(np.dstack([PIXELS] * 3)).probabilities
    with pytest.raises(InputError, match=r"is uint8 \(H, W, 3\), not uint8 \(32, 32\); convert it first"):
        model(PIXELS)
    for given in ({"value_range": (0, 5)}, {"window": "lung"}):
        with pytest.raises(InputError, match="exp100 sees three windows that its data set declares; give no window"):
            Predictor("exp100", **given)(place(project, "x000"))
