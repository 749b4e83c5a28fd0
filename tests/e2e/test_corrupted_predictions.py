"""Every fold predicts its validation images under every corruption; the board's column is their mean AUC."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment
from tasks import auc

from chestfold.core import checkpoint
from chestfold.core.files import read_json, write_json
from chestfold.data.transforms.corruptions import CORRUPTIONS
from chestfold.evaluate import leaderboard, predictions, results
from chestfold.evaluate.ensemble import ensemble
from chestfold.models import rebuild
from chestfold.models.runner import make_runner, predict
from chestfold.train.prepare import corrupted_images, prepare


def by_id(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("id").sort_index()


def corrupted_cell(name: str) -> str:
    (rows,) = leaderboard.rows_by_folds(results.all_results()).values()
    (row,) = (r for r in rows if r.result.name == name)
    return leaderboard.texts_of(row)["AUC, shifted"]


def remove_corrupted(folder) -> None:
    """Make a result one without predictions of corrupted images."""
    about = read_json(folder / "scores.json")
    about["files"]["corrupted.parquet"] = None
    del about["scores"]["corrupted"]
    write_json(folder / "scores.json", about)
    (folder / "corrupted.parquet").unlink()


def test_a_fold_holds_each_of_its_images_once_under_each_corruption(trained):
    folder = trained.runs / "exp100" / "fold1"
    tables = predictions.unstacked(predictions.read(folder / "corrupted.parquet")[0])
    assert set(tables) == set(CORRUPTIONS)
    plain = predictions.read(folder / "oof.parquet")[0]
    for table in tables.values():
        assert sorted(table["id"]) == sorted(plain["id"]) and table["id"].is_unique
        pd.testing.assert_frame_equal(by_id(table)[predictions.KEYS[1:]], by_id(plain)[predictions.KEYS[1:]])
        assert np.abs(by_id(table)["ill"] - by_id(plain)["ill"]).max() > 1e-4


@pytest.mark.parametrize(("name", "changes"), [("exp100", {}), ("exp101", {"seed": 1, "augment": "plain"})])
def test_every_experiment_sees_the_same_corrupted_images(trained, name, changes):
    exp = tiny_experiment(**changes)
    ready = prepare(trained.run(exp, "--fold", "0", name=name))
    folder = trained.runs / name / "fold0"
    tables = predictions.unstacked(predictions.read(folder / "corrupted.parquet")[0])
    runner = make_runner(rebuild(checkpoint.load(folder / "best.ckpt")), exp, ready.task)
    for corruption in ("zoom 1.25", "contrast 1.6"):
        images = ready.images(ready.rows(tables[corruption]["id"].tolist()))
        expected = predict(runner, corrupted_images(corruption, images))
        np.testing.assert_allclose(predictions.probabilities(tables[corruption]), expected, atol=1e-5)


def test_corrupted_images_are_predicted_from_one_view(project):
    exp = tiny_experiment(epochs=1, max_steps=2, tta="crops")
    ready = prepare(project.run(exp, "--fold", "0"))
    folder = project.runs / "exp100" / "fold0"
    table = predictions.unstacked(predictions.read(folder / "corrupted.parquet")[0])["blur 0.01"]
    runner = make_runner(rebuild(checkpoint.load(folder / "best.ckpt")), exp, ready.task)
    images = corrupted_images("blur 0.01", ready.images(ready.rows(table["id"].tolist())))
    np.testing.assert_allclose(predictions.probabilities(table), predict(runner, images), atol=1e-5)


def test_the_score_is_the_mean_auc_over_the_corruptions(trained):
    result = results.find_result("exp100")
    score, each = result.score("corrupted", "auc"), result.record.scores.corrupted.per_corruption
    assert set(each) == set(CORRUPTIONS)
    assert score.value == pytest.approx(np.mean(list(each.values())))
    assert score.low <= score.value <= score.high
    zoomed = result.corrupted()["zoom 1.1"]
    assert len(zoomed) == 60
    labels = result.record.create_task().labels(zoomed["label"].tolist())
    assert each["zoom 1.1"] == pytest.approx(auc(labels, predictions.probabilities(zoomed)))


def test_a_mean_of_two_runs_is_corrupted_as_its_members_are(trained):
    result, _ = ensemble(["exp100", "exp101"], "both", "mean")
    members = [results.find_result(name).corrupted() for name in ("exp100", "exp101")]
    blended = result.corrupted()
    assert set(blended) == set(CORRUPTIONS)
    for corruption, table in blended.items():
        mean = sum(by_id(member[corruption])["ill"] for member in members) / 2
        np.testing.assert_allclose(by_id(table)["ill"], mean, atol=1e-6)
    score = result.score("corrupted", "auc")
    assert score.low <= score.value <= score.high and corrupted_cell("both") == str(score)


def test_an_ensemble_with_a_member_without_corruptions_has_none(trained):
    remove_corrupted(trained.runs / "exp101")
    result, _ = ensemble(["exp100", "exp101"], "both", "mean")
    assert result.record.files["corrupted.parquet"] is None and result.corrupted() is None
    assert result.record.scores.corrupted is None
    assert corrupted_cell("exp100") != "-" and corrupted_cell("exp101") == corrupted_cell("both") == "-"
