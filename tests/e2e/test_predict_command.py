"""`chestfold predict`: a folder of everything that a disc may hold, and what is said of each file."""

import csv
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import tiny_experiment
from PIL import Image
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file

from chestfold import Predictor
from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file
from chestfold.evaluate import results
from chestfold.evaluate.ensemble import ensemble
from chestfold.models import ood
from chestfold.predict.inputs import find_images

PATIENT = "Nobody^Planted"


def place(project, image_id: str) -> Path:
    return project.input / "tiny" / "images" / f"{image_id}.png"


def dicom(path: Path, name: str = "MR_small.dcm", **changes) -> None:
    """One of pydicom's examples with a patient's name planted in it."""
    header = dcmread(str(get_testdata_file(name, download=False)))
    for tag, value in ({"PatientName": PATIENT, "PatientID": "planted-1234"} | changes).items():
        setattr(header, tag, value)
    dcmwrite(path, header)


@pytest.fixture
def odd(tmp_path: Path, trained) -> Path:
    """Eleven files that can be read, seven that cannot, and three that are no images."""
    folder, rng = tmp_path / "scans", np.random.default_rng(0)
    (folder / "disc" / "PAT0").mkdir(parents=True)
    grey = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    for name in ("a.png", "b.bmp", "c.tif", "d.jpg", "e.JPEG"):
        Image.fromarray(grey).save(folder / name)
    Image.fromarray(np.dstack([grey, 255 - grey, grey])).save(folder / "colour.png")
    Image.fromarray(np.full((1, 1), 9, np.uint8)).save(folder / "tiny.png")
    Image.fromarray(np.full((2, 500), 9, np.uint8)).save(folder / "thin.png")
    shutil.copy(place(trained, "x001"), folder / "known.png")
    dicom(folder / "disc" / "PAT0" / "IM0001")
    dicom(folder / "disc" / "slice.dcm", "CT_small.dcm", WindowCenter=40, WindowWidth=400)
    (folder / "empty.png").write_bytes(b"")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "text.jpeg").write_text("no image")
    Image.fromarray(grey.astype(np.uint16) * 99).save(folder / "deep.png")
    dicom(folder / "disc" / "nowindow.dcm", "CT_small.dcm")
    shutil.copy(str(get_testdata_file("examples_ybr_color.dcm", download=False)), folder / "disc" / "film.dcm")
    shutil.copy(str(get_testdata_file("rtplan.dcm", download=False)), folder / "disc" / "plan.dcm")
    (folder / "notes.txt").write_text("x")
    (folder / "disc" / "README").write_text("x")
    shutil.copy(str(get_testdata_file("dicomdirtests/DICOMDIR", download=False)), folder / "disc" / "DICOMDIR")
    return folder


READ = ["a.png", "b.bmp", "c.tif", "colour.png", "d.jpg", "disc/PAT0/IM0001", "disc/slice.dcm", "e.JPEG", "known.png"]
READ += ["thin.png", "tiny.png"]
COMPLAINTS = {
    "broken.png": "is truncated",
    "deep.png": "is a 16-bit image; declare its value_range",
    "disc/film.dcm": "holds 30 frames",
    "disc/nowindow.dcm": "does not say which of its values are black and white",
    "disc/plan.dcm": "without an image",
    "empty.png": "is empty",
    "text.jpeg": "is not an image",
}


def refused(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main.main(["predict", *map(str, words)])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def predicted(odd, trained, capsys) -> tuple[dict, str]:
    """The JSON of the whole folder, with a CSV beside it; and what stood on stderr."""
    capsys.readouterr()
    assert refused("exp100", odd, "--json", "--layer", "layer3", "--csv", trained.root / "predictions.csv") == 2
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_every_file_of_a_folder_gets_its_line(predicted, odd, trained):
    said, err = predicted
    names = [str(Path(image["file"]).relative_to(odd)) for image in said["images"]]
    assert names == sorted([*READ, *COMPLAINTS], key=lambda name: odd / name)
    for image, name in zip(said["images"], names, strict=True):
        if name in COMPLAINTS:
            assert COMPLAINTS[name] in image["error"] and name in image["error"] and "class" not in image
        else:
            assert image["error"] is None and sum(image["probabilities"].values()) == pytest.approx(1)
            low, high = image["spread"][image["class"]]
            assert low <= image["probability"] <= high and len(image["folds"]) == 3
            assert cv2.imread(image["heatmap"]) is not None
    assert "error: 7 of 18 files could not be read; the others are predicted" in err
    assert "ignored: 1 file(s) .txt" in err and "DICOMDIR" in err


def test_the_notice_stands_in_every_output(predicted, trained):
    said, _ = predicted
    assert said["notice"] == "Not for clinical use"
    rows = list(csv.DictReader(io.StringIO((trained.root / "predictions.csv").read_text("utf-8-sig"))))
    assert {row["notice"] for row in rows} == {"Not for clinical use"}


def test_the_csv_holds_what_the_json_holds(predicted, trained):
    said, _ = predicted
    rows = list(csv.DictReader(io.StringIO((trained.root / "predictions.csv").read_text("utf-8-sig"))))
    assert [row["file"] for row in rows] == [image["file"] for image in said["images"]]
    for row, image in zip(rows, said["images"], strict=True):
        assert row["error"] == (image["error"] or "")
        if not image["error"]:
            assert row["class"] == image["class"] and float(row["p_ill"]) == image["probabilities"]["ill"]
            assert [float(row["low_ill"]), float(row["high_ill"])] == image["spread"]["ill"]
            assert float(row["ood_score"]) == image["ood_score"] and row["heatmap"] == image["heatmap"]


def test_a_prediction_is_that_of_the_prediction_file(predicted, trained):
    said, _ = predicted
    known = next(image for image in said["images"] if image["file"].endswith("known.png"))
    row = results.find_result("exp100").test()[0].set_index("id").loc["x001"]
    assert known["probabilities"] == pytest.approx({name: row[name] for name in ("healthy", "ill")}, abs=1e-5)


def test_no_tag_of_a_patient_is_in_any_output(predicted, trained, odd):
    written = [path for path in trained.root.rglob("*") if path.is_file() and trained.input not in path.parents]
    assert any("IM0001" in path.name for path in written)
    said = [json.dumps(predicted[0]).encode(), predicted[1].encode(), *(path.read_bytes() for path in written)]
    for data in said:
        assert b"Planted" not in data and b"planted-1234" not in data
    assert sorted(odd.rglob("*.png")) == sorted(odd / n for n in [*READ, *COMPLAINTS] if n.endswith(".png"))


def test_the_table_is_readable_at_80_columns(odd, trained, capsys, monkeypatch):
    monkeypatch.setattr("chestfold.core.console.terminal_width", lambda: 80)
    assert refused("exp100", odd, "--no-overlay") == 2
    out = capsys.readouterr().out
    assert "exp100 (3 folds): healthy, ill. Not for clinical use." in out
    shown = [line for line in out.splitlines() if line.startswith("│")]
    assert all(len(line) <= 80 for line in shown) and any("not read" in line for line in shown)
    assert sum(line.startswith("not read: ") for line in out.splitlines()) == 7
    assert not (trained.runs / "exp100" / "predicted").exists()


def test_ct_windows_and_ranges_are_options(odd, trained, capsys):
    slices = [odd / "disc" / "nowindow.dcm"]
    capsys.readouterr()

    def answer(*options: str) -> dict:
        main.main(["predict", "exp100", *map(str, slices), "--no-overlay", "--json", *options])
        return json.loads(capsys.readouterr().out)["images"][0]["probabilities"]

    lung, mediastinum, ranged = (
        answer("--window", "lung"),
        answer("--window", "mediastinum"),
        answer("--range", "0", "9"),
    )
    assert lung != mediastinum != ranged
    main.main(["predict", "exp100", str(odd / "deep.png"), "--no-overlay", "--range", "0", "25245"])
    assert refused("exp100", odd / "a.png", "--window", "brain") == 2
    assert "unknown CT window 'brain'; there are lung (level -600, width 1500), mediastinum" in capsys.readouterr().err
    assert refused("exp100", odd / "a.png", "--window", "lung", "--range", "0", "9") == 2
    assert refused("exp100", odd / "a.png", "--range", "9", "9") == 2


def test_nothing_is_overwritten(odd, trained, capsys):
    table, one = trained.root / "a.csv", odd / "a.png"
    table.write_text("mine")
    maps = ["--layer", "layer3", "--out", str(trained.root / "maps")]
    assert refused("exp100", one, "--no-overlay", "--csv", table) == 2 and table.read_text() == "mine"
    assert "is there already; choose another --csv or add --overwrite" in capsys.readouterr().err
    assert refused("exp100", one, "--out", table) == 2 and table.read_text() == "mine"
    assert "a.csv is a file, not a folder, and nothing can be written into it" in capsys.readouterr().err
    main.main(["predict", "exp100", str(one), "--csv", str(table), "--overwrite", *maps])
    assert table.read_text() != "mine"
    (drawn,) = (trained.root / "maps").iterdir()
    before = drawn.stat().st_mtime_ns
    main.main(["predict", "exp100", str(one), *maps])
    assert drawn.stat().st_mtime_ns == before, "the same image has its heat map already"
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(one)
    main.main(["predict", "exp100", str(one), *maps])
    assert len(list((trained.root / "maps").iterdir())) == 2, "another image of the same name"


def test_a_layer_that_there_is_not_is_refused_before_any_work(odd, trained, capsys):
    assert refused("exp100", odd / "a.png", "--layer", "nowhere") == 2
    said = capsys.readouterr().err
    assert "nowhere" in said and "layer3" in said and "or add --no-overlay" in said


@pytest.mark.parametrize(
    ("words", "complaint"), [(["nowhere"], "nowhere does not exist"), (["."], "there is no image in it")]
)
def test_places_without_an_image(trained, tmp_path, monkeypatch, capsys, words, complaint):
    (tmp_path / "void").mkdir()
    monkeypatch.chdir(tmp_path / "void")
    assert refused("exp100", *words) == 2 and complaint in capsys.readouterr().err


def test_folders_are_searched_in_sorted_order_whatever_the_listing(odd, monkeypatch):
    found, _ = find_images([odd, odd / "a.png"])
    assert found == sorted(found) and len(found) == len(set(found)) == 18


# Ensembles


@pytest.mark.parametrize("method", ["mean", "greedy", "stack"])
def test_an_ensemble_predicts_with_its_own_blend(trained, monkeypatch, method):
    ensemble(["exp100", "exp101"], "both", method)
    table = results.find_result("both").test()[0].set_index("id")
    predictor, single = Predictor("both"), [Predictor("exp100"), Predictor("exp101")]
    for image_id in ("x000", "x003", "x007"):
        said = predictor(place(trained, image_id))
        assert said.probabilities["ill"] == pytest.approx(table["ill"][image_id], abs=1e-4)
        assert len(said.folds) == 3
        if method == "mean":
            alone = [one(place(trained, image_id)).probabilities["ill"] for one in single]
            assert said.probabilities["ill"] == pytest.approx(np.mean(alone), abs=1e-6)


def test_an_ensemble_that_cannot_predict_single_images_says_so(trained, monkeypatch):
    ensemble(["exp100", "exp101"], "ranked", "rank")
    with pytest.raises(InputError, match="ranked averages ranks within a whole test set, which one image has not"):
        Predictor("ranked")
    ensemble(["exp100", "exp101"], "both", "mean")
    shutil.rmtree(trained.runs / "exp101" / "fold2")
    with pytest.raises(InputError, match=r"exp101 has the folds \[0, 1\] in runs/ and exp100 \[0, 1, 2\]"):
        Predictor("both")
    trained.run(tiny_experiment(seed=5), "--overwrite", name="exp101")
    with pytest.raises(InputError, match="exp101 was trained again after both was made from it; blend them again"):
        Predictor("both")


# Out of distribution


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Smooth shapes with sharp edges, as no slice of `tiny` has."""
    wide = cv2.resize(rng.normal(128, 60, (4, 4)), (32, 32), interpolation=cv2.INTER_CUBIC)
    return np.clip(cv2.rectangle(wide, (5, 5), (20, 14), 250, -1), 0, 255).astype(np.uint8)


def test_what_is_out_of_distribution_gets_a_remark(trained):
    predictor, rng = Predictor("exp100"), np.random.default_rng(0)
    strange = [np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8), photograph(rng), photograph(rng)]
    strange += [np.kron(rng.integers(0, 2, (32, 32)), np.ones((1, 1))).astype(np.uint8) * 255]
    assert all(predictor(image).out_of_distribution for image in strange)
    usual = [predictor(place(trained, f"t{n:03d}")).out_of_distribution for n in range(0, 60)]
    assert np.mean(usual) <= 0.1


def test_without_a_detector_it_is_said_that_it_cannot_be_told(trained, capsys):
    for file in trained.runs.glob("exp100/fold*/ood.npz"):
        file.unlink()
    prediction = Predictor("exp100")(place(trained, "x000"))
    assert prediction.ood_score is None and prediction.out_of_distribution is None
    main.main(["predict", "exp100", str(place(trained, "x000")), "--no-overlay"])
    assert "whether it is unlike the training data cannot be told" in capsys.readouterr().out
    assert not list(trained.runs.glob("exp100/fold*/ood.npz")), "predicting trains nothing"


def test_a_detector_of_other_weights_is_not_used(trained):
    before = Predictor("exp100")(place(trained, "x000"))
    assert before.out_of_distribution is not None
    for fold in range(3):
        other = trained.runs / "exp101" / f"fold{fold}"
        assert ood.read(other / "ood.npz").checkpoint == sha256_file(other / "best.ckpt")
        shutil.copy(other / "ood.npz", trained.runs / "exp100" / f"fold{fold}")
    after = Predictor("exp100")(place(trained, "x000"))
    assert after.out_of_distribution is None and after.probabilities == before.probabilities


def test_a_damaged_detector_is_named(trained):
    path = trained.runs / "exp100" / "fold1" / "ood.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"^{path} is damaged; restore it, or delete it and predict without"):
        Predictor("exp100")


def test_calibrated_probabilities_have_a_name_of_their_own(trained, capsys):
    image = str(place(trained, "x000"))
    said = []
    for options in ([], ["--calibrate"], ["--calibrate"]):
        capsys.readouterr()
        main.main(["predict", "exp100", image, "--no-overlay", "--json", *options])
        said.append(json.loads(capsys.readouterr().out))
    names = [model["model"]["name"] for model in said]
    assert names == ["exp100", "exp100-calibrated", "exp100-calibrated"] and said[1] == said[2]
    assert said[0]["model"]["members"] == said[1]["model"]["members"] == ["exp100"]
    assert said[0]["images"][0]["probability"] != said[1]["images"][0]["probability"]
