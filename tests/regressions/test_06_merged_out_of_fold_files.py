"""Bug: out-of-fold files were concatenated as they were found, with a fold missing, an id twice, rows in another order
or of another fold file, and the score was computed all the same.

Here a merge proves every id once, in its own fold, with the fold file's label and group, and files carry the hash of
the fold file that they belong to.
"""

import shutil

import numpy as np
import pytest
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate import predictions, results
from chestfold.evaluate.ensemble import ensemble

ALL = range(3)


@pytest.fixture
def parts(trained) -> dict:
    return {f: predictions.read(trained.runs / "exp100" / f"fold{f}" / "oof.parquet")[0] for f in range(3)}


@pytest.fixture
def fold_file(trained) -> folds.Folds:
    return folds.load("tiny", open_index("tiny"))


def test_whole_parts_merge(parts, fold_file):
    merged = predictions.merge_oof(parts, fold_file, ALL, exclusive())
    assert sorted(merged["id"]) == sorted(fold_file.table["id"])


def test_a_missing_fold_is_refused(parts, fold_file):
    del parts[1]
    with pytest.raises(InputError, match=r"of fold \[1\] are missing"):
        predictions.merge_oof(parts, fold_file, ALL, exclusive())


def test_the_wanted_folds_alone_merge(parts, fold_file):
    del parts[1]
    merged = predictions.merge_oof(parts, fold_file, [0, 2], exclusive())
    assert sorted(merged["id"]) == sorted([*fold_file.ids(0), *fold_file.ids(2)])


def test_a_fold_that_is_not_wanted_does_not_slip_in(parts, fold_file):
    with pytest.raises(InputError, match=r"merged OOF: \d+ ids missing from or foreign to fold \[0, 2\]"):
        predictions.merge_oof(parts, fold_file, [0, 2], exclusive())


def test_a_missing_row_is_refused(parts, fold_file):
    lost = parts[2]["id"].iloc[0]
    parts[2] = parts[2].iloc[1:].reset_index(drop=True)
    with pytest.raises(InputError, match=rf"OOF of fold 2: 1 ids missing.*{lost}"):
        predictions.merge_oof(parts, fold_file, ALL, exclusive())


def test_a_doubled_id_is_refused(parts, fold_file):
    parts[0] = parts[0].iloc[[0, *range(len(parts[0]))]].reset_index(drop=True)
    with pytest.raises(InputError, match=rf"'{parts[0]['id'][0]}' occurs twice"):
        predictions.merge_oof(parts, fold_file, ALL, exclusive())


def test_two_folds_in_each_others_place_are_refused(parts, fold_file):
    with pytest.raises(InputError, match="OOF of fold 0"):
        predictions.merge_oof({0: parts[1], 1: parts[0], 2: parts[2]}, fold_file, ALL, exclusive())


@pytest.mark.parametrize("column", ["label", "group"])
def test_a_column_in_another_order_than_its_ids_is_refused(parts, fold_file, column):
    parts[1][column] = np.roll(parts[1][column].to_numpy(), 3)
    with pytest.raises(InputError, match=f"the {column} of '.*' is not that of folds/tiny.csv"):
        predictions.merge_oof(parts, fold_file, ALL, exclusive())


def test_whole_rows_in_another_order_give_the_same_table(parts, fold_file):
    shuffled = {f: t.sample(frac=1, random_state=f).reset_index(drop=True) for f, t in reversed(parts.items())}
    expected, merged = (
        predictions.merge_oof(p, fold_file, ALL, exclusive()).set_index("id").sort_index() for p in (parts, shuffled)
    )
    assert merged.equals(expected)


def test_parts_of_another_fold_file_are_refused(parts, fold_file):
    other, _ = folds.make(open_index("tiny"), "other", 3, seed=1)
    with pytest.raises(InputError, match="OOF of fold 0"):
        predictions.merge_oof(parts, other, ALL, exclusive())


def test_a_run_with_a_foreign_file_is_not_collected(trained):
    run = trained.runs / "exp100"
    shutil.copy(trained.runs / "exp101" / "fold1" / "oof.parquet", run / "fold1" / "oof.parquet")
    with pytest.raises(InputError, match=r"fold1/oof\.parquet is not the file that the training finished with"):
        trained.run(tiny_experiment())


@pytest.mark.parametrize(
    ("differs", "method", "complaint"),
    [
        (["folds_sha256", "index_sha256"], "mean", r"exp102 .* and exp100 .* were trained on different folds of diff"),
        (["folds_sha256"], "greedy", "--method greedy fits weights on other folds, and the members were trained on"),
        (["folds_sha256"], "stack", "--method stack fits weights on other folds, and the members were trained on diff"),
    ],
)
def test_results_of_different_fold_files_are_not_blended(trained, differs, method, complaint):
    member = results.find_result("exp101")
    table, origin = member.oof()
    other = origin | dict.fromkeys(differs, "0" * 64)
    about = member.record.model_dump(exclude={"name", "scores", "files"})
    results.write_result(trained.runs / "exp102", table, member.test()[0], None, other, about)
    with pytest.raises(InputError, match=complaint):
        ensemble(["exp100", "exp102"], "blend", method)
    assert not (trained.runs / "blend" / "scores.json").exists()
