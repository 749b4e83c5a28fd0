"""`chestfold explain` on trained runs: the files, what is refused, and the page with the maps."""

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Project, enter
from page_data import data_of, decoded, runs_of
from signed_config import sign_config

from chestfold.cli import main
from chestfold.core.files import read_json, write_json
from chestfold.evaluate import leaderboard, results
from chestfold.evaluate.attention import ATTENTION, Attention
from chestfold.report.attention import read_maps, read_outlines


@pytest.fixture(scope="module")
def explained(_trained_once: Project, tmp_path_factory) -> Project:
    """exp100 with its maps; the discs of `tiny` have no masks, so one lung and one lesion mask are drawn for each."""
    project = Project(tmp_path_factory.mktemp("explained") / "project")
    shutil.copytree(_trained_once.root, project.root)
    for kind, part in (("lung", np.s_[8:24, 4:28]), ("nodule", np.s_[12:16, 12:16])):
        folder = project.input / "tiny" / "masks" / kind
        folder.mkdir(parents=True)
        mask = np.zeros((32, 32), np.uint8)
        mask[part] = 255
        for image in (project.input / "tiny" / "images").glob("t*.png"):
            cv2.imwrite(str(folder / image.name), mask if kind == "lung" or int(image.stem[1:]) % 6 >= 3 else mask * 0)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, project)
        main.main(["explain", "exp100", "--count", "8"])
    return project


@pytest.fixture
def at_home(explained: Project, monkeypatch) -> Project:
    enter(monkeypatch, explained)
    return explained


def test_each_image_is_explained_by_the_fold_that_validated_it(at_home):
    folder = at_home.runs / "exp100" / "explain" / "gradcam"
    rows = pd.read_csv(folder / "images.csv")
    home = pd.read_csv(at_home.root / "folds" / "tiny.csv").set_index("id")["fold"]
    assert (home.loc[rows["id"]].to_numpy() == rows["fold"]).all()
    assert rows.groupby(["fold", "label"]).size().tolist() == [4] * 6
    oof, _ = results.find_result("exp100").oof()
    np.testing.assert_allclose(
        rows["p_predicted"], oof.set_index("id").loc[rows["id"], ["healthy", "ill"]].max(axis=1), 1e-4
    )
    for fold in range(3):
        stored = np.load(folder / f"maps-fold{fold}.npz")
        assert stored["maps"].shape == (8, 2, 8, 8) and stored["maps"].dtype == np.float32
        assert stored["ids"].tolist() == rows.loc[rows["fold"] == fold, "id"].tolist()
        assert stored["lungs"][:, 14:42, 7:49].all() and stored["lungs"].sum() == 8 * 28 * 42
        assert stored["lesion"].any(axis=(1, 2)).tolist() == (rows.loc[rows["fold"] == fold, "label"] == "ill").tolist()
        assert stored["lungs_by"].tolist() == ["truth"] * 8
        assert str(stored["layer"]) == "layer1" and len(str(stored["networks_sha256"][0])) == 64


def test_attention_json_has_every_measure_with_an_interval(at_home):
    about = read_json(at_home.runs / "exp100" / "explain" / "gradcam" / "attention.json")
    for target in ("predicted", "positive"):
        found = about["measures"][target]
        assert set(found) == {
            "in_lungs", "outside_lungs", "border", "chest_box", "lesion_energy", "pointing", "pointing_strict",
        }  # fmt: skip
        inside, outside = found["in_lungs"]["all"], found["outside_lungs"]["all"]
        assert inside["value"] + outside["value"] == pytest.approx(1) and inside["low"] < inside["high"]
    assert set(about["measures"]["predicted"]["pointing"]) == {"all", "ill"}  # the healthy have no lesion
    assert about["measures"]["even"]["in_lungs"]["all"]["value"] == pytest.approx(16 * 24 / 1024)
    assert set(about["checks"]) >= {"deletion", "insertion", "similarity, classifier", "similarity, all"}
    assert about["lungs"] == {"truth": 24} and about["images"] == {"healthy": 12, "ill": 12}


def test_maps_of_an_older_version_have_no_outlines(at_home, tmp_path):
    shutil.copytree(at_home.runs / "exp100" / "explain" / "gradcam", tmp_path / "old")
    for path in (tmp_path / "old").glob("*.npz"):
        with np.load(path) as stored:
            np.savez(path, **{name: stored[name] for name in ("ids", "maps")})
    about = read_json(tmp_path / "old" / "attention.json")
    write_json(tmp_path / "old" / "attention.json", {name: about[name] for name in about if name != "files"})
    assert len(read_maps(tmp_path / "old")) == 24
    assert read_outlines(tmp_path / "old", "lungs") == {}


def test_the_board_the_page_and_the_published_copy_show_it(at_home, tmp_path):
    row = next(
        r
        for rows in leaderboard.rows_by_folds(results.all_results()).values()
        for r in rows
        if r.result.name == "exp100"
    )
    texts = leaderboard.texts_of(row)
    about = read_json(at_home.runs / "exp100" / "explain" / "gradcam" / "attention.json")
    assert texts["in lungs"].startswith(f"{about['measures']['predicted']['in_lungs']['all']['value']:.4f} [")
    main.main(["report", "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    first = runs_of(data_of(page))["exp100"]["attention"][0]
    assert first["note"].startswith("gradcam of layer1, 8 x 8 cells, 12 healthy, 12 ill.")
    assert ["attention in the lungs", texts["in lungs"]] in [row[:2] for row in first["rows"]]
    assert runs_of(data_of(page))["exp101"]["attention"] is None
    [cases] = data_of(page)["cases"].values()
    outlines = [image["outlines"] for image in cases["shown"] if image["outlines"]]
    assert len(outlines) == 24 and sum("lesion" in known for known in outlines) == 12
    main.main(["publish", "exp100"])
    assert read_json(at_home.root / "exps" / "results" / "exp100" / ATTENTION) == about


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["exp100"], "is there already; add --overwrite"),
        (["exp999"], "holds no finished fold"),
        (["exp100", "--ids", "x000"], "is a test image, which no fold validates"),
        (["exp100", "--ids", "t00"], "is no image of this data set; did you mean t0"),
        (["exp101", "--fold", "7"], "fold 7"),
        (["exp100", "--method", "scorecam"], "one of gradcam, gradcam"),
        (["exp100", "--layer", "layer9"], r"no layer 'layer9' with maps; give --layer one of: .*layer1 \(8 x 8\)"),
        (["exp100", "--count", "-1"], "a number of images a fold"),
    ],
)
def test_what_is_refused(at_home, capsys, words, sentence):
    before = sorted(at_home.runs.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main.main(["explain", *words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and error.count("\n") == 1
    assert sorted(at_home.runs.rglob("*")) == before


def test_an_image_of_the_training_part_is_refused_and_without_fold_its_own_model_is_taken(at_home, capsys, monkeypatch):
    home = pd.read_csv(at_home.root / "folds" / "tiny.csv")
    image = home.loc[home["fold"] == 2, "id"].iloc[0]
    with pytest.raises(SystemExit):
        main.main(["explain", "exp100", "--ids", image, "--fold", "0"])
    assert (
        f"{image}: it is a validation image of fold 2, and the model of fold 0 was trained on it"
        in capsys.readouterr().err
    )
    main.main(["explain", "exp100", "--ids", image, "--method", "layercam"])
    folder = at_home.runs / "exp100" / "explain" / "layercam-ids"
    assert pd.read_csv(folder / "images.csv")[["id", "fold"]].values.tolist() == [[image, 2]]
    assert "Not for clinical use" in capsys.readouterr().out


def test_the_page_of_the_run_shows_the_maps_of_what_was_drawn(at_home):
    """Each map by its own maximum, at the row of its image; the images beside the hardest ones."""
    folder = at_home.runs / "exp100" / "explain" / "gradcam"
    found = data_of((folder / "report.html").read_text())
    run, (cases,) = runs_of(found)["exp100"], found["cases"].values()
    maps = run["maps"]
    assert list(runs_of(found)) == ["exp100"] and (maps["rows"], maps["cols"], maps["positive"]) == (8, 8, "ill")
    row_of = {shown["id"]: str(shown["row"]) for shown in cases["shown"]}
    drawn = pd.read_csv(folder / "images.csv")["id"]
    assert set(drawn) <= set(row_of) and {row_of[image] for image in drawn} == set(maps["of"])
    for fold in range(3):
        stored = np.load(folder / f"maps-fold{fold}.npz")
        for image, both in zip(stored["ids"].tolist(), stored["maps"], strict=True):
            small = decoded(maps["of"][row_of[image]], "uint8").reshape(2, 8, 8)
            for one, raw in zip(small, both, strict=True):
                expected = raw / raw.max() if raw.max() > 0 else raw * 0
                np.testing.assert_allclose(one / 255, expected, atol=0.5 / 255 + 1e-6)


def test_the_page_of_another_method_shows_its_maps(at_home, monkeypatch):
    main.main(["explain", "exp100", "--fold", "1", "--count", "4", "--method", "eigencam"])
    folder = at_home.runs / "exp100" / "explain" / "eigencam"
    run = runs_of(data_of((folder / "report.html").read_text()))["exp100"]
    assert len(run["maps"]["of"]) == 4 and run["attention"][0]["note"].startswith("eigencam of layer1")


def test_a_run_that_is_not_collected_has_its_maps_and_a_word_about_the_page(at_home, capsys):
    run = copied(at_home, "exp100", "exp178", "")
    (run / "scores.json").unlink()
    main.main(["explain", "exp178", "--fold", "0", "--count", "4"])
    assert not (run / "explain" / "gradcam" / "report.html").exists()
    assert "exp178 is not collected yet; when it is, its pictures are shown by: chestfold report exp178" in (
        capsys.readouterr().out
    )
    shutil.rmtree(run)


def copied(project: Project, source: str, name: str, parent: str) -> Path:
    """A copy of a run under another name, with another parent and without its maps."""
    run = project.runs / name
    shutil.copytree(project.runs / source, run, ignore=shutil.ignore_patterns("explain"))
    for config in run.glob("fold*/config.json"):
        sign_config(config.parent, read_json(config) | {"experiment": name, "parent": parent})
    return run


def test_the_difference_to_the_parent_is_paired(at_home, capsys):
    """The parent's maps are the child's, moved by a known share; its rows are shuffled, and some are missing."""
    parent = copied(at_home, "exp100", "exp176", "")
    child = copied(at_home, "exp100", "exp177", "exp176")
    maps = parent / "explain" / "gradcam"
    maps.mkdir(parents=True)
    rows = pd.read_csv(at_home.runs / "exp100" / "explain" / "gradcam" / "images.csv")
    rows["predicted in_lungs"] -= 0.125
    main.main(["explain", "exp177", "--count", "4"])
    missing = pd.read_csv(child / "explain" / "gradcam" / "images.csv")["id"].iloc[:2]
    rows[~rows["id"].isin(missing)].sample(frac=1, random_state=1).to_csv(maps / "images.csv", index=False)
    main.main(["explain", "exp177", "--count", "4", "--overwrite"])

    against = Attention.from_json(child / "explain" / "gradcam" / "attention.json").against
    assert against is not None and (against.parent, against.images) == ("exp176", 10)
    for score in against.measures["predicted in_lungs"].values():
        assert (score.value, score.low, score.high) == pytest.approx((0.125, 0.125, 0.125), abs=1e-5)
    border = against.measures["predicted border"]
    assert set(border) == {"all", "healthy", "ill"} and border["all"].value == pytest.approx(0, abs=1e-5)
    assert "against exp176, paired" in capsys.readouterr().out
    page = (child / "explain" / "gradcam" / "report.html").read_text()
    titles = [grid["title"] for grid in runs_of(data_of(page))["exp177"]["attention"]]
    assert titles[2] == "Minus exp176, on the same 10 images"
