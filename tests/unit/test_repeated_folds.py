"""Results of several splits of the same images are blended by what fits nothing, and by nothing else."""

import numpy as np
import pytest
from conftest import record_of
from test_ensemble import NAMES, predicted, table

from chestfold.core.errors import InputError
from chestfold.core.files import runs_dir
from chestfold.evaluate import predictions, results
from chestfold.evaluate.ensemble import ensemble, gather
from chestfold.evaluate.results import FoldsOfResult, find_result
from chestfold.integrations.kaggle.submission import write_submission

IMAGES = {"a": "a" * 64, "b": "b" * 64}


def write(name: str, split: str, count: int, images: str = "a", trained: int | None = None) -> None:
    """A finished result on the split `split` of `count` folds, of which `trained` were trained."""
    rows = table()
    rows["fold"] = np.arange(len(rows)) // 2 % count
    test = rows.head(30).assign(id=[f"x{n:03d}" for n in range(30)], fold=-1, label="")
    held = rows[rows["fold"] < (trained or count)].reset_index(drop=True)
    sha = split * 64
    origin = {"folds_sha256": sha, "folds": f"tiny-{split}", "index_sha256": IMAGES[images]}
    folds = FoldsOfResult(file=f"tiny-{split}", count=count, sha256=sha, trained=tuple(range(trained or count)))
    about = record_of(name, classes=NAMES[2], folds=folds).model_dump(exclude={"name", "files", "scores"})
    oof, tests = predicted(held, 2, 1.0, name, "oof"), predicted(test, 2, 1.0, name, "test")
    results.write_result(runs_dir() / name, oof, tests, None, origin, about)


@pytest.mark.parametrize("count", [4, 3])
@pytest.mark.parametrize("method", ["mean", "rank"])
def test_several_splits_of_the_same_images_are_averaged(project, method, count):
    write("exp1", "1", 4)
    write("exp2", "2", count)
    result, compared = ensemble(["exp1", "exp2"], "both", method)
    assert set(compared) == {"mean", "rank"}
    one, two = (predictions.probabilities(find_result(name).oof()[0]) for name in ("exp1", "exp2"))
    blended, origin = result.oof()
    assert origin["folds_sha256"] == "1" * 64 and origin["other_folds"] == ["2" * 64]
    assert result.record.folds.file == "tiny-1" and result.record.members == ("exp1", "exp2")
    if method == "mean":
        np.testing.assert_allclose(predictions.probabilities(blended), (one + two) / 2)
    assert result.score("at_half", "auc").value > max(
        find_result(name).score("at_half", "auc").value for name in ("exp1", "exp2")
    )


@pytest.mark.parametrize("method", ["greedy", "stack"])
def test_no_weights_are_fitted(project, method):
    write("exp1", "1", 4)
    write("exp2", "2", 4)
    with pytest.raises(InputError, match=f"--method {method} fits weights .*, and the members were trained on diff"):
        ensemble(["exp1", "exp2"], "both", method)
    assert not (runs_dir() / "both" / "scores.json").exists()


@pytest.mark.parametrize("order", [("both", "exp3"), ("exp3", "both")])
@pytest.mark.parametrize("folds", ["1", "2", "3"])
def test_a_blend_of_several_splits_stays_one_in_the_next_blend(project, order, folds):
    """Whatever the split of the other member: models that saw the fold would have a say in its weights."""
    write("exp1", "1", 4)
    write("exp2", "2", 4)
    write("exp3", folds, 4)
    ensemble(["exp1", "exp2"], "both", "mean")
    with pytest.raises(InputError, match="--method greedy fits weights"):
        ensemble(list(order), "all", "greedy")
    result, _ = ensemble(list(order), "all", "mean")
    origin = result.oof()[1]
    assert {origin["folds_sha256"], *origin["other_folds"]} == {"1" * 64, "2" * 64, folds * 64}


def test_results_on_different_images_are_refused(project):
    write("exp1", "1", 4)
    write("exp2", "2", 4, images="b")
    with pytest.raises(InputError, match="exp2 .* and exp1 .* were trained on different folds of different images"):
        ensemble(["exp1", "exp2"], "both", "mean")


@pytest.mark.parametrize("partial", ["exp1", "exp2"])
def test_every_fold_of_each_split_is_needed(project, partial):
    for number, name in enumerate(("exp1", "exp2"), start=1):
        write(name, str(number), 4, trained=3 if name == partial else None)
    with pytest.raises(InputError, match=rf"{partial} \(runs/\) holds folds 0, 1, 2 of 4; train the missing ones"):
        ensemble(["exp1", "exp2"], "both", "mean")


def test_results_of_one_split_are_what_they_were(project):
    for name in ("exp1", "exp2"):
        write(name, "1", 4)
    members = gather([find_result(name) for name in ("exp1", "exp2")])
    assert members.are_of_one_split and "other_folds" not in members.origin
    assert len(ensemble(["exp1", "exp2"], "both", "greedy")[1]) == 4


def test_real_runs_of_two_splits_are_submitted_as_one(trained):
    from conftest import tiny_experiment

    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    folds.make(open_index("tiny"), "other", 2, seed=1)
    trained.run(tiny_experiment(folds="other", epochs=1, max_steps=1), name="exp102")
    result, _ = ensemble(["exp100", "exp102"], "both", "mean")
    assert len(result.oof()[0]) == 60
    assert write_submission("both")[0].name == "001_both.csv"
