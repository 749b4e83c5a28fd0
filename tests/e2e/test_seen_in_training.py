"""What a prediction says of the model and of the image: debug run, missing folds, seen in training, folds disagree."""

import csv
import io
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import read_grey, tiny_experiment
from PIL import Image
from signed_config import sign_config

from chestfold import Predictor
from chestfold.cli import main
from chestfold.core.files import read_json
from chestfold.data.catalogue import open_index
from chestfold.data.extra import open_extra
from chestfold.evaluate import predictions, results
from chestfold.evaluate.ensemble import ensemble
from chestfold.predict.prediction import Prediction
from chestfold.predict.remarks import FOUND, TEXTS, Kind

FOLDS = range(3)


def place(project, image_id: str) -> Path:
    return project.input / "tiny" / "images" / f"{image_id}.png"


def held_out(project, fold: int, run: str = "exp100"):
    """The fold's own predictions of its first validation images, by id."""
    return predictions.read(project.runs / run / f"fold{fold}" / "oof.parquet")[0].set_index("id").head(3)


def kinds(prediction: Prediction) -> list[Kind]:
    return [remark.kind for remark in prediction.remarks if remark.kind != Kind.UNLIKE]


def forget(project, *folds: int) -> None:
    for fold in folds:
        shutil.rmtree(project.runs / "exp100" / f"fold{fold}")


# Seen in training


@pytest.mark.parametrize("fold", FOLDS)
def test_a_training_image_is_answered_by_the_fold_that_has_not_seen_it(trained, tmp_path, fold):
    model = Predictor("exp100")
    for image_id, row in held_out(trained, fold).iterrows():
        copy = shutil.copy(place(trained, str(image_id)), tmp_path / "renamed.png")
        said = model(copy)
        assert said.probabilities["ill"] == pytest.approx(row["ill"], abs=1e-5), "its out-of-fold prediction"
        assert len(said.folds) == 1 and said.seen and said.seen.unseen_by == (fold,)
        expected = f"in the training data: answered by fold {fold}, which has not seen it"
        assert said.remarks[0].text() == expected


def test_a_copy_that_was_saved_anew_is_known_where_the_images_are_in_the_cache(trained, tmp_path):
    image_id = str(held_out(trained, 1).index[0])
    grey = read_grey(place(trained, image_id))
    copies = {"larger.bmp": cv2.resize(grey, (64, 64), interpolation=cv2.INTER_NEAREST), "brighter.tif": grey // 2 + 90}
    for name, pixels in copies.items():
        Image.fromarray(pixels).save(tmp_path / name)
        said = Predictor("exp100")(tmp_path / name)
        assert said.seen and (said.seen.image, said.seen.same_file, said.seen.unseen_by) == (image_id, False, (1,))
        assert said.remarks[0].text().startswith(f"nearly {image_id} of the training data: answered by fold 1")
    assert Predictor("exp100")(grey).seen is not None, "pixels that are handed over"
    shutil.rmtree(trained.input / ".cache")
    assert Predictor("exp100")(tmp_path / "larger.bmp").seen is None
    assert Predictor("exp100")(place(trained, image_id)).seen is not None


def test_an_image_that_no_fold_here_holds_out_was_trained_on(trained):
    forget(trained, 1)
    model = Predictor("exp100")
    for image_id in map(str, held_out(trained, 1, "exp101").index):
        said = model(place(trained, image_id))
        assert len(said.folds) == 2 and kinds(said)[:2] == [Kind.PARTIAL, Kind.TRAINED_ON]
    assert model(place(trained, str(held_out(trained, 2).index[0]))).seen.unseen_by == (2,)


def test_what_nobody_has_trained_on_is_answered_by_all(trained):
    rng = np.random.default_rng(5)
    model = Predictor("exp100")
    for image in (place(trained, "x000"), rng.integers(0, 256, (32, 32), dtype=np.uint8)):
        assert model(image).seen is None and len(model(image).folds) == 3


def test_where_the_images_are_not_here_nothing_is_said(trained, tmp_path):
    image = shutil.copy(place(trained, "t000"), tmp_path / "t000.png")
    for path in (trained.input / "tiny").iterdir():
        if path.name != "dataset.toml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    model = Predictor("exp100")
    assert model(image).seen is None and "cannot be told" in model.seen_images.note
    (trained.input / "tiny").rename(trained.input / "elsewhere")
    assert Predictor("exp100").seen_images == type(model.seen_images)()


@pytest.mark.parametrize("method", ["mean", "stack"])
def test_an_ensemble_asks_the_same_fold_of_each_member(trained, method):
    ensemble(["exp100", "exp101"], "both", method)
    table = results.find_result("both").oof()[0].set_index("id")
    for image_id in map(str, held_out(trained, 2).index):
        said = Predictor("both")(place(trained, image_id))
        assert said.seen and said.seen.unseen_by == (2, 2) and "fold 2, which" in said.remarks[0].text()
        if method == "mean":  # a stack's own out-of-fold prediction is cross-fitted
            assert said.probabilities["ill"] == pytest.approx(table["ill"][image_id], abs=1e-5)


def extra_set(project) -> Path:
    """Another data set, `more`, with images of its own."""
    shutil.copytree(project.input / "tiny", project.input / "more")
    rng = np.random.default_rng(9)
    for path in (project.input / "more" / "images").iterdir():
        Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(path)
    return project.input / "more" / "images" / "t001.png"


@pytest.mark.parametrize("setting", ["extra", "pseudo"])
def test_images_that_joined_training_were_trained_on(trained, setting):
    image = extra_set(trained) if setting == "extra" else place(trained, "x002")
    value = "more" if setting == "extra" else "exp100"
    trained.run(tiny_experiment(epochs=1, max_steps=1, **{setting: value}), "--fold", "0", name="exp102")
    said = Predictor("exp102")(image)
    assert kinds(said)[:2] == [Kind.PARTIAL, Kind.TRAINED_ON] and Predictor("exp100")(image).seen is None
    if setting == "extra":
        assert said.seen and said.seen.image in open_extra("more", Predictor("exp102").task).ids
    assert open_index("tiny").test["id"].str.startswith("x").all()


# Debug runs and missing folds


def as_debug(project) -> str:
    """exp100 as if it had been a debug run."""
    folder = (project.runs / "exp100").rename(project.runs / "exp100-debug")
    for path in folder.glob("fold*/config.json"):
        sign_config(path.parent, read_json(path) | {"experiment": "exp100-debug"})
    return "exp100-debug"


def outputs(project, name: str, capsys, *images: str) -> tuple[str, dict, list[dict[str, str]]]:
    """The table, the JSON and the CSV of some images."""
    paths = [str(place(project, image_id)) for image_id in images]
    table = project.root / "answers.csv"
    capsys.readouterr()
    main.main(["predict", name, *paths, "--no-overlay", "--csv", str(table), "--overwrite"])
    shown = capsys.readouterr().out
    main.main(["predict", name, *paths, "--no-overlay", "--json"])
    rows = list(csv.DictReader(io.StringIO(table.read_bytes().decode("utf-8-sig"))))
    return shown, json.loads(capsys.readouterr().out), rows


@pytest.mark.parametrize("case", ["debug", "renamed debug", "partial", "partial without its fold file"])
def test_a_model_that_is_less_than_it_seems_says_so_on_every_line(trained, capsys, case):
    name = "exp100"
    if "debug" in case:
        name = as_debug(trained)
    if case == "renamed debug":
        (trained.runs / name).rename(trained.runs / "exp300")
        name = "exp300"
    if "partial" in case:
        forget(trained, 0)
    if "without" in case:
        shutil.rmtree(trained.root / "folds")
    words = "debug run: not trained" if "debug" in case else "2 of 3 folds"
    shown, said, rows = outputs(trained, name, capsys, "x000", "x001", "t000")
    assert shown.count(words) == 4, "the heading and three lines"
    assert words in said["model"]["remarks"] and all(words in image["remarks"] for image in said["images"])
    assert all(words in row["remarks"] for row in rows) and len(rows) == 3
    assert said["model"]["folds_of_run"] == 3


def test_the_csv_opens_in_excel_of_any_language(trained, capsys):
    outputs(trained, "exp100", capsys, "t000")
    assert (trained.root / "answers.csv").read_bytes().startswith(b"\xef\xbb\xbffile,class,")


def test_a_training_image_is_marked_in_every_output(trained, capsys):
    fold = next(fold for fold in FOLDS if "t000" in held_out(trained, fold).index)
    shown, said, rows = outputs(trained, "exp100", capsys, "t000", "x000")
    assert f"answered by fold {fold}" in shown
    first, other = said["images"]
    assert (first["in_training_data"], first["answered_by"], other["in_training_data"]) == ("t000", [fold], None)
    assert [row["in_training_data"] for row in rows] == ["t000", ""]


# Folds that disagree, and colours


def spread(*ill: float, decisions: tuple[str, ...] | None = None) -> Prediction:
    folds = tuple({"healthy": 1 - p, "ill": p} for p in ill)
    mean = sum(ill) / len(ill)
    decided = tuple("ill" if p >= 0.5 else "healthy" for p in ill)
    return Prediction({"healthy": 1 - mean, "ill": mean}, folds, 0.5, fold_decisions=decisions or decided)


@pytest.mark.parametrize(
    ("prediction", "disagree"),
    [
        (spread(0.016, 0.966, 0.7), True),
        (spread(0.45, 0.60, 0.6), True),
        (spread(0.55, 0.95), False),
        (spread(0.1, 0.2), False),
        (spread(0.9), False),
    ],
)
def test_folds_disagree_where_one_would_decide_otherwise(prediction, disagree):
    assert prediction.folds_disagree == disagree
    assert (Kind.DISAGREE in kinds(prediction)) == disagree


def test_of_several_labels_each_decision_counts(trained):
    folds = ({"a": 0.9, "b": 0.6}, {"a": 0.9, "b": 0.4})
    said = Prediction({"a": 0.9, "b": 0.5}, folds, 0.5, decided="a|b", fold_decisions=("a|b", "a"))
    assert said.remarks[0].text() == "folds disagree: 1 of 2 say a|b"


def test_colours_are_for_a_terminal_that_wants_them(trained, tmp_path, monkeypatch, capsys):
    from chestfold.predict import output

    (tmp_path / "text.png").write_text("no image")
    lines = [
        output.Line(Path("a.png"), spread(0.1, 0.9)),
        output.Line(Path("b.png"), Prediction({"healthy": 0.1, "ill": 0.9}, (), 4.0)),
        output.Line(Path("c.png"), None, error="c.png is empty"),
        output.Line(Path("d.png"), Predictor("exp100")(place(trained, "t000"))),
    ]

    def drawn(**options) -> str:
        from rich.console import Console

        stream = io.StringIO()
        Console(file=stream, width=120, **options).print(output.table(lines))
        return stream.getvalue()

    coloured = drawn(force_terminal=True, color_system="standard")
    for code in ("\x1b[35m", "\x1b[33m", "\x1b[31m", "\x1b[90m"):
        assert code in coloured, "magenta, yellow, red and grey"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any(f"\x1b[{n}m" in drawn(force_terminal=True, color_system="standard") for n in (31, 33, 35, 90))
    assert "\x1b" not in drawn()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_remark_is_said_in_both_languages_with_the_same_values(kind):
    fields = []
    for language in ("en", "ja"):
        text = TEXTS[language][kind]
        fields.append({part.partition("}")[0] for part in text.split("{")[1:]})
    assert fields[0] == fields[1]
    assert {True, False} == set(FOUND["en"]) == set(FOUND["ja"])
