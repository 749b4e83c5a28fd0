"""Bug: predictions were blended row by row, and a member whose rows or columns were in another order ruined the blend.

Here rows are matched by id and columns by class wherever two tables meet: ensembles, means over folds, submissions.
"""

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.evaluate import predictions, results
from chestfold.evaluate.ensemble import ensemble
from chestfold.integrations.kaggle.submission import write_submission


def other_order(table: pd.DataFrame) -> pd.DataFrame:
    """The same content: rows backwards, classes too."""
    classes = predictions.class_columns(table)
    return table.iloc[::-1].reset_index(drop=True)[[*predictions.KEYS, *reversed(classes)]]


def turn_around(folder) -> None:
    """Write a result's tables in another order, as another program might have."""
    about = read_json(folder / "scores.json")
    for name in ("oof.parquet", "test.parquet"):
        table, origin = predictions.read(folder / name)
        stored = pa.Table.from_pandas(other_order(table), preserve_index=False)
        pq.write_table(stored.replace_schema_metadata({b"chestfold": json.dumps(origin).encode()}), folder / name)
        about["files"][name] = sha256_file(folder / name)
    write_json(folder / "scores.json", about)


def tables(name: str) -> list[pd.DataFrame]:
    result = results.find_result(name)
    return [t.set_index("id").sort_index()[["healthy", "ill"]] for t in (result.oof()[0], result.test()[0])]


@pytest.mark.parametrize(("member", "method"), [("exp100", "mean"), ("exp101", "stack")])
def test_a_member_in_another_order_gives_the_same_blend(trained, member, method):
    ensemble(["exp100", "exp101"], "before", method)
    turn_around(trained.runs / member)
    ensemble(["exp100", "exp101"], "after", method)
    for before, after in zip(tables("before"), tables("after"), strict=True):
        pd.testing.assert_frame_equal(before, after, rtol=1e-4 if method == "stack" else 1e-9)


def test_the_mean_over_folds_matches_ids(trained):
    parts = [predictions.read(trained.runs / "exp100" / f"fold{f}" / "test.parquet")[0] for f in range(3)]
    expected = predictions.mean_predictions(parts)
    pd.testing.assert_frame_equal(predictions.mean_predictions([parts[0], other_order(parts[1]), parts[2]]), expected)


def test_the_mean_over_folds_is_of_no_fold(trained):
    parts = [predictions.read(trained.runs / "exp100" / f"fold{f}" / "test.parquet")[0] for f in range(3)]
    assert (predictions.mean_predictions(parts)["fold"] == -1).all()


def test_a_submission_in_the_samples_order_keeps_each_ids_prediction(trained):
    path = trained.input / "tiny" / "sample_submission.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *reversed(lines)]) + "\n")
    written, _ = write_submission("exp100")
    submitted = pd.read_csv(written, index_col="id")["ill"]
    assert submitted.index.tolist() == [line.split(",")[0] for line in reversed(lines)]
    expected = results.find_result("exp100").test()[0].set_index("id")["ill"]
    pd.testing.assert_series_equal(submitted.sort_index(), expected.sort_index(), atol=1e-6)
