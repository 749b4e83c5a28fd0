"""Finished folds are a result at once; it says which ones it holds, and only equals are compared and blended."""

import shutil
from dataclasses import replace

import pytest
from conftest import Project, enter, make_project, make_tiny_folds, tiny_experiment

from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import leaderboard, results
from chestfold.evaluate.ensemble import ensemble
from chestfold.integrations.kaggle.submission import write_submission

SHORT = {"epochs": 1, "max_steps": 2}


@pytest.fixture(scope="module")
def _partly_trained(tmp_path_factory) -> Project:
    made = make_project(tmp_path_factory.mktemp("partly") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
        made.run(tiny_experiment(**SHORT), "--fold", "0", name="exp100")
        made.run(tiny_experiment(**SHORT, seed=1), "--fold", "0", name="exp101")
        made.run(tiny_experiment(**SHORT, seed=2), name="exp102")
    return made


@pytest.fixture
def partly(_partly_trained, tmp_path, monkeypatch) -> Project:
    """exp100 and exp101 hold fold 0, exp102 all three."""
    shutil.copytree(_partly_trained.root, tmp_path / "project")
    made = Project(tmp_path / "project")
    enter(monkeypatch, made)
    return made


def test_one_fold_is_a_result_that_says_so(partly):
    result = results.find_result("exp100")
    assert result.record.folds.trained == (0,) and str(result.record.folds) == "fold 0 of 3"
    chosen = folds.load("tiny", open_index("tiny"))
    assert sorted(result.oof()[0]["id"]) == sorted(chosen.ids(0))
    assert len(result.test()[0]) == 12 and len(result.record.best_epochs) == 1


def test_thresholds_are_not_tuned_on_a_single_fold(partly):
    result = results.find_result("exp100")
    assert result.score("cross_fitted", "f1") is None
    assert result.score("corrupted", "auc") is not None


def test_one_fold_is_submitted_only_when_that_is_meant(partly):
    with pytest.raises(InputError, match="^exp100 holds fold 0 of 3; train the others, or add --partial to submit the"):
        write_submission("exp100")
    assert not list(partly.root.glob("submissions/*"))
    path, new = write_submission("exp100", partial=True)
    assert new and len(path.read_text().splitlines()) == 13


def test_the_board_sets_only_equal_folds_side_by_side(partly):
    tables = leaderboard.rows_by_folds(results.all_results())
    named = {title.rpartition(", ")[2]: {r.result.name for r in rows} for title, rows in tables.items()}
    assert named == {"fold 0 of 3)": {"exp100", "exp101"}, "3 folds)": {"exp102"}}


def test_a_run_whose_begun_folds_are_collected_is_not_unfinished(partly):
    assert leaderboard.unfinished() == []
    (partly.runs / "exp100" / "fold1").mkdir()
    shutil.copy(partly.runs / "exp100" / "fold0" / "config.json", partly.runs / "exp100" / "fold1")
    assert leaderboard.unfinished() == ["not collected yet: exp100: fold0 finished (best epoch 1), fold1 0 of 1 epoch"]


def test_the_other_folds_make_the_result_whole(partly):
    partly.run(tiny_experiment(**SHORT, seed=2), "--fold", "2", "0", name="exp103")
    about = results.find_result("exp103").record
    assert about.folds.trained == (0, 2) and str(about.folds) == "folds 0, 2 of 3"
    partly.run(tiny_experiment(**SHORT, seed=2), name="exp103")
    parts, at_once = (results.find_result(name) for name in ("exp103", "exp102"))
    assert parts.record.folds.trained == (0, 1, 2) and str(parts.record.folds) == "3 folds"
    assert parts.record.scores == at_once.record.scores
    for one, other in zip((parts.oof(), parts.test()), (at_once.oof(), at_once.test()), strict=True):
        assert one[0].equals(other[0])


def test_a_part_and_a_whole_are_not_blended(partly):
    sentence = r"^exp102 \(runs/\) holds 3 folds and exp100 \(runs/\) fold 0 of 3; train the missing ones first$"
    with pytest.raises(InputError, match=sentence):
        ensemble(["exp100", "exp102"], "blend", "mean")
    assert not (partly.runs / "blend" / "scores.json").exists()


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("method", ["mean", "rank"])
def test_single_folds_are_blended_by_what_fits_nothing(partly, method):
    result, rows = ensemble(["exp100", "exp101"], "blend", method)
    assert list(rows) == ["mean", "rank"]
    assert result.record.folds.trained == (0,) and set(result.oof()[0]["fold"]) == {0}
    if method == "mean":
        tables = [results.find_result(name).oof()[0].set_index("id") for name in ("exp100", "exp101")]
        mean = (tables[0]["ill"] + tables[1]["ill"]) / 2
        assert result.oof()[0].set_index("id")["ill"].to_dict() == pytest.approx(mean.to_dict())


@pytest.mark.parametrize("method", ["greedy", "stack"])
def test_weights_are_not_fitted_on_a_single_fold(partly, method):
    with pytest.raises(
        InputError, match=rf"^--method {method} fits weights on other folds, and exp100 holds one; take"
    ):
        ensemble(["exp100", "exp101"], "blend", method)
    assert not (partly.runs / "blend" / "scores.json").exists()


def test_a_child_of_one_fold_is_compared_with_a_parent_of_three_on_its_own_images(partly):
    every = {r.name: r for r in results.all_results()}
    child = every["exp100"].record.model_copy(update={"parent": "exp102"})
    every["exp100"] = replace(every["exp100"], record=child)
    rows = [row for rows in leaderboard.rows_by_folds(list(every.values())).values() for row in rows]
    (row,) = (row for row in rows if row.result.name == "exp100")
    assert row.comparison is not None
    assert (row.comparison.folds, row.comparison.images) == (child.folds.trained, len(every["exp100"].oof()[0]))


def test_a_fold_that_was_finished_is_in_the_result_of_the_next(partly):
    (partly.runs / "exp100" / "scores.json").unlink()
    partly.run(tiny_experiment(**SHORT), "--fold", "1")
    result = results.find_result("exp100")
    assert result.record.folds.trained == (0, 1)
    assert all(set(table["fold"]) == {0, 1} for table in (result.oof()[0], *result.corrupted().values()))
