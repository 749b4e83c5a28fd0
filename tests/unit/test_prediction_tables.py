"""Prediction tables of every task: read back as they were written, and refused where they say two things."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import tiny_experiment
from tasks import FINDINGS, drawn, exclusive, graded, labelled

from chestfold.core.errors import InputError
from chestfold.core.task import Task
from chestfold.core.task.multilabel import label_text
from chestfold.data.folds import Folds
from chestfold.evaluate import predictions

TASKS = [exclusive(3), labelled(), graded(4)]
ROWS = 12


def name_of(task: Task) -> str:
    return f"{task.name} of {len(task.classes)}"


def table(task: Task) -> pd.DataFrame:
    """Some predictions, the last ones of withheld labels."""
    labels, probs = drawn(task, ROWS)
    if task.sums_to_one:
        texts = [task.classes[number] for number in labels]
    else:
        texts = [label_text(task.classes, row) for row in labels]
    texts[-2:] = ["", ""]
    number = np.arange(ROWS)
    rows = pd.DataFrame({"id": [f"i{n:02d}" for n in number], "group": [f"p{n // 2}" for n in number], "label": texts})
    return predictions.predictions(rows, 1, task.classes, probs)


def origin(task: Task) -> dict:
    return {"folds": "tiny", "task": task.name}


def stored(path: Path, task: Task) -> Path:
    predictions.write(path, table(task), origin(task))
    return path


def rewrite(path: Path, columns: pd.DataFrame) -> None:
    """Put other columns into a file, and leave its provenance."""
    metadata = pq.read_table(path).schema.metadata
    changed = pa.Table.from_pandas(columns, preserve_index=False)
    pq.write_table(changed.replace_schema_metadata(metadata), path)


# There and back


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_table_is_read_back_as_it_was_written(tmp_path, task):
    shuffled = table(task).sample(frac=1, random_state=0)
    predictions.write(tmp_path / "oof.parquet", shuffled, origin(task))
    again, about = predictions.read(tmp_path / "oof.parquet")
    pd.testing.assert_frame_equal(again, table(task))
    assert about == origin(task)
    assert predictions.task_of(again, about) == type(task)(task.classes)
    labels = task.labels(table(task)["label"].tolist())
    np.testing.assert_array_equal(task.labels(again["label"].tolist()), labels)


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_the_same_rows_are_the_same_bytes(tmp_path, task):
    for name, rows in (("one", table(task)), ("two", table(task).iloc[::-1])):
        predictions.write(tmp_path / name, rows, origin(task))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_of_labels_holds_the_truth_of_each_beside_its_probability(tmp_path):
    """1, 0, or empty where it is not known: for people, and for programs that cannot read the texts."""
    columns = pq.read_table(stored(tmp_path / "oof.parquet", labelled())).to_pandas()
    assert list(columns) == [*predictions.KEYS, *(f"true:{name}" for name in FINDINGS), *FINDINGS]
    truth = columns[[f"true:{name}" for name in FINDINGS]].to_numpy()
    np.testing.assert_array_equal(truth, labelled().labels(columns["label"].tolist()))
    assert np.isnan(truth[-2:]).all() and np.isnan(truth[:-2]).any() and {0, 1} <= set(truth[:-2].ravel())


@pytest.mark.parametrize("task", [exclusive(3), graded(4)], ids=name_of)
def test_a_file_of_exclusive_classes_has_no_more_columns_than_before(tmp_path, task):
    assert pq.read_table(stored(tmp_path / "oof.parquet", task)).column_names == [*predictions.KEYS, *task.classes]


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_corrupted_images_are_stored_once_under_each_corruption(tmp_path, task):
    tables = {"blur": table(task), "zoom": table(task)}
    predictions.write(tmp_path / "corrupted.parquet", predictions.stacked(tables), origin(task))
    assert not [name for name in pq.read_table(tmp_path / "corrupted.parquet").column_names if name.startswith("true:")]
    again = predictions.unstacked(predictions.read(tmp_path / "corrupted.parquet")[0])
    for name, rows in tables.items():
        pd.testing.assert_frame_equal(again[name], rows, check_dtype=False, rtol=1e-6)


def test_a_file_of_before_there_were_tasks_is_of_exclusive_classes(tmp_path):
    predictions.write(tmp_path / "oof.parquet", table(exclusive(3)), {"folds": "tiny"})
    again, about = predictions.read(tmp_path / "oof.parquet")
    assert predictions.task_of(again, about).name == "multiclass"


# Refused


@pytest.mark.parametrize(("value", "other"), [(1.0, 0.0), (0.0, 1.0), (np.nan, 1.0), (1.0, np.nan)], ids=str)
def test_a_changed_column_of_truth_is_refused(tmp_path, value, other):
    path = stored(tmp_path / "oof.parquet", labelled())
    columns = pq.read_table(path).to_pandas()
    row = int(np.isclose(columns["true:effusion"], value, equal_nan=True).argmax())
    columns.loc[row, "true:effusion"] = other
    rewrite(path, columns)
    with pytest.raises(InputError, match=f"oof.parquet: 'true:effusion' of 'i{row:02d}' is not what its label says"):
        predictions.read(path)


def test_a_changed_label_is_refused(tmp_path):
    path = stored(tmp_path / "oof.parquet", labelled())
    columns = pq.read_table(path).to_pandas()
    columns.loc[3, "label"] = "nodule|effusion|fracture"
    assert table(labelled())["label"][3] != columns["label"][3]
    rewrite(path, columns)
    with pytest.raises(InputError, match="'true:.*' of 'i03' is not what its label says"):
        predictions.read(path)


def test_a_label_that_there_is_not_is_refused(tmp_path):
    path = stored(tmp_path / "oof.parquet", labelled())
    columns = pq.read_table(path).to_pandas()
    columns.loc[3, "label"] = "nodule|mass"
    rewrite(path, columns)
    with pytest.raises(InputError, match="oof.parquet: 'mass' in its column label is none of the labels"):
        predictions.read(path)


@pytest.mark.parametrize("change", ["dropped", "added"])
def test_a_column_of_truth_too_few_or_too_many_is_refused(tmp_path, change):
    path = stored(tmp_path / "oof.parquet", labelled())
    columns = pq.read_table(path).to_pandas()
    if change == "dropped":
        columns = columns.drop(columns="true:nodule")
    else:
        columns["true:mass"] = 1.0
    rewrite(path, columns)
    with pytest.raises(InputError, match="its columns of truth are .*, and not true:nodule, true:effusion, true:fract"):
        predictions.read(path)


@pytest.mark.parametrize("task", TASKS, ids=name_of)
@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_what_is_no_prediction_is_neither_written_nor_read(tmp_path, task, value):
    path, rows = stored(tmp_path / "oof.parquet", task), table(task)
    rows.loc[4, task.classes[0]] = value
    with pytest.raises(InputError, match="new.parquet: .*'i04'"):
        predictions.write(tmp_path / "new.parquet", rows, origin(task))
    assert not (tmp_path / "new.parquet").exists()
    columns = pq.read_table(path).to_pandas()
    columns.loc[4, task.classes[0]] = value
    rewrite(path, columns)
    with pytest.raises(InputError, match="oof.parquet: .*'i04'"):
        predictions.read(path)


def test_probabilities_need_not_sum_to_1_where_an_image_has_several_labels(tmp_path):
    rows = table(labelled())
    rows[list(FINDINGS)] = [[0.9, 0.9, 0.9]] * ROWS
    predictions.write(tmp_path / "oof.parquet", rows, origin(labelled()))
    with pytest.raises(InputError, match="the probabilities of 'i00' do not sum to 1"):
        predictions.write(tmp_path / "oof.parquet", rows, {"folds": "tiny"})


@pytest.mark.parametrize(
    ("column", "value", "fits"),
    [
        ("id", 3, False),
        ("group", 3, True),
        ("group", 3.5, False),
        ("label", 1, False),
        ("fold", 1, True),
        ("fold", 1.0, False),
        ("fold", "1", False),
        ("class0", 1, False),
        ("class0", "1", False),
    ],
)
def test_a_column_holds_what_it_is_called(tmp_path, column, value, fits):
    """Patients may be numbered; nothing else is of two types."""
    task = exclusive(3)
    name = task.classes[0] if column == "class0" else column
    path = stored(tmp_path / "oof.parquet", task)
    rewrite(path, pq.read_table(path).to_pandas().assign(**{name: [value] * ROWS}))
    if fits:
        assert predictions.read(path)[0][name].tolist() == [value] * ROWS
        return
    with pytest.raises(InputError, match=f"its column '{name}' holds .*; it is no prediction table"):
        predictions.read(path)


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_a_doubled_id_is_refused(tmp_path, task):
    rows = pd.concat([table(task), table(task).head(1)], ignore_index=True)
    with pytest.raises(InputError, match="id 'i00' occurs twice"):
        predictions.write(tmp_path / "oof.parquet", rows, origin(task))


@pytest.mark.parametrize("name", ["label", "id", "group", "fold", "corruption", "true:nodule"])
def test_a_class_called_like_a_column_stops_the_run_before_it_begins(project, name):
    path = project.input / "tiny" / "dataset.toml"
    path.write_text(path.read_text().replace('"ill"', f'"{name}"'))
    rows = project.input / "tiny" / "train.csv"
    rows.write_text(rows.read_text().replace(",ill,", f",{name},"))
    with pytest.raises(InputError, match=f"a class cannot be called '{name}'"):
        project.run(tiny_experiment())
    assert not project.runs.exists()


# Against the fold file


@pytest.mark.parametrize("task", TASKS, ids=name_of)
def test_parts_are_merged_and_proven_by_the_labels_of_the_fold_file(task):
    whole = table(task).assign(fold=np.arange(ROWS) % 3)
    file = Folds("tiny", whole[["id", "group", "label", "fold"]], "0" * 64, 3)
    parts = {fold: part.reset_index(drop=True) for fold, part in whole.groupby("fold")}
    merged = predictions.merge_oof(parts, file, range(3), task)
    pd.testing.assert_frame_equal(merged.sort_values("id", ignore_index=True), whole)
    parts[1].loc[2, "label"] = "fracture" if task == labelled() else "dying"
    assert parts[1]["label"][2] != whole["label"][7]
    with pytest.raises(InputError, match="OOF of fold 1: the label of 'i07' is not that of folds/tiny.csv"):
        predictions.merge_oof(parts, file, range(3), task)


def in_thirds():
    """A fold file, and predictions of its rows."""
    whole = table(exclusive(3)).assign(fold=np.arange(ROWS) % 3)
    return Folds("tiny", whole[["id", "group", "label", "fold"]], "0" * 64, 3), whole


def test_a_fold_that_is_missing_is_named_and_none_other_is_needed():
    file, whole = in_thirds()
    parts = {fold: part for fold, part in whole.groupby("fold") if fold != 1}
    with pytest.raises(InputError, match=r"the out-of-fold predictions of fold \[1\] are missing; train them first"):
        predictions.merge_oof(parts, file, range(3), exclusive(3))
    assert len(predictions.merge_oof(parts, file, [2, 0], exclusive(3))) == 8


@pytest.mark.parametrize(("column", "value"), [("fold", 2), ("group", "p9"), ("label", "ill")])
def test_a_row_of_another_fold_patient_or_label_is_named(column, value):
    file, whole = in_thirds()
    assert whole.loc[6, column] != value
    whole.loc[6, column] = value
    complaint = f"oof: the {column} of 'i06' is not that of folds/tiny.csv"
    with pytest.raises(InputError, match=complaint):
        predictions.check_against_folds(whole, file, range(3), "oof", exclusive(3))


@pytest.mark.parametrize(("rows", "count"), [(slice(1, None), 1), (slice(3, None), 3)])
def test_ids_that_are_missing_or_foreign_are_counted(rows, count):
    file, whole = in_thirds()
    complaint = f"oof: {count} ids missing from or foreign to fold .*, e.g. 'i00'"
    with pytest.raises(InputError, match=complaint):
        predictions.check_against_folds(whole.iloc[rows], file, range(3), "oof", exclusive(3))
    few = Folds("tiny", file.table.iloc[rows], "0" * 64, 3)
    with pytest.raises(InputError, match=complaint):
        predictions.check_against_folds(whole, few, range(3), "oof", exclusive(3))


# Several tables


def test_the_mean_of_several_models_is_by_id_and_of_no_fold():
    one = table(exclusive(2))
    other = one.assign(healthy=one["ill"], ill=one["healthy"]).iloc[::-1]
    mean = predictions.mean_predictions([one, other, one])
    assert mean["id"].tolist() == one["id"].tolist() and set(mean["fold"]) == {-1} and mean["fold"].dtype == np.int64
    np.testing.assert_allclose(mean["ill"], (2 * one["ill"] + one["healthy"]) / 3)
    assert set(one["fold"]) == {1}, "a copy"


def test_tables_of_other_ids_or_classes_are_not_matched():
    rows = table(exclusive(2))
    with pytest.raises(InputError, match=r"classes differ: \['healthy', 'ill'\] and \['ill', 'dead'\]"):
        predictions.aligned(rows, rows["id"], ["ill", "dead"])
    with pytest.raises(InputError, match="the tables differ in 2 ids, the first is 'i00'"):
        predictions.aligned(rows.iloc[1:], rows["id"].iloc[:-1], ["ill", "healthy"])
    found = predictions.aligned(rows, rows["id"].iloc[::-1], ["ill", "healthy"])
    assert list(found) == [*predictions.KEYS, "ill", "healthy"]
    pd.testing.assert_frame_equal(found[list(rows)], rows.iloc[::-1].reset_index(drop=True))


def test_other_probabilities_are_those_of_a_copy():
    rows = table(exclusive(2))
    before = rows.copy()
    changed = predictions.with_probabilities(rows, np.tile([0.25, 0.75], (ROWS, 1)))
    assert set(changed["healthy"]) == {0.25} and set(changed["ill"]) == {0.75}
    probs = predictions.probabilities(rows)
    probs[:] = 0
    pd.testing.assert_frame_equal(rows, before)


def test_a_table_has_its_columns_in_order_whatever_the_rows_have():
    rows = pd.DataFrame({"label": ["ill"], "path": ["x"], "group": ["p"], "id": ["i"]}, index=[7])
    made = predictions.predictions(rows, 2, ["b", "a"], np.array([[0.25, 0.75]], np.float32))
    assert made.to_dict("records") == [{"id": "i", "group": "p", "fold": 2, "label": "ill", "b": 0.25, "a": 0.75}]
    assert made["fold"].dtype == np.int64 and made["a"].dtype == np.float64


def test_only_tasks_of_other_than_exclusive_classes_are_named():
    assert predictions.task_identity(exclusive(3)) == {}
    assert predictions.task_identity(labelled()) == {"task": "multilabel"}


def test_the_same_provenance_in_another_order_is_the_same_bytes(tmp_path):
    about = origin(exclusive(3)) | {"seed": 1, "data": "tiny"}
    for name, given in (("one", about), ("two", dict(reversed(about.items())))):
        predictions.write(tmp_path / name, table(exclusive(3)), given)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# Files


def test_a_file_that_is_not_there_and_one_of_others_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="oof.parquet does not exist; train the missing fold first"):
        predictions.read(tmp_path / "oof.parquet")
    path = stored(tmp_path / "oof.parquet", exclusive(3))
    columns = pq.read_table(path)
    pq.write_table(columns.replace_schema_metadata({}), path)
    with pytest.raises(InputError, match="was not written by chestfold: it carries no provenance"):
        predictions.read(path)


@pytest.mark.parametrize("name", predictions.KEYS)
def test_a_key_that_is_left_out_or_empty_is_refused(tmp_path, name):
    path = stored(tmp_path / "oof.parquet", exclusive(3))
    whole = pq.read_table(path)
    rewrite(path, whole.to_pandas().drop(columns=name))
    with pytest.raises(InputError, match="was not written by chestfold"):
        predictions.read(path)
    place = whole.column_names.index(name)
    cells = pa.array([None, None, *whole[name].to_pylist()[2:]], whole.schema.field(name).type)
    pq.write_table(whole.set_column(place, name, cells), path)
    with pytest.raises(InputError, match=f"its column '{name}' is empty in 2 rows; restore it"):
        predictions.read(path)


@pytest.mark.parametrize("task", [exclusive(3), graded(4)], ids=name_of)
def test_a_label_that_is_none_of_the_classes_is_refused(tmp_path, task):
    path = stored(tmp_path / "oof.parquet", task)
    rewrite(path, pq.read_table(path).to_pandas().replace({"label": {"ill": "sick"}}))
    with pytest.raises(InputError, match="'sick' in its column label is none of its classes; restore it"):
        predictions.read(path)


@pytest.mark.parametrize("over", [0, 1])
def test_a_table_of_as_many_cells_as_may_be_is_read(tmp_path, monkeypatch, over):
    path = stored(tmp_path / "oof.parquet", exclusive(3))
    monkeypatch.setattr(predictions, "MOST_CELLS", ROWS * 7 - over)
    if not over:
        predictions.read(path)
        return
    with pytest.raises(InputError, match="announces 12 rows of 7 columns, .* has at most 83 cells"):
        predictions.read(path)


def test_texts_that_are_stored_once_are_counted_in_each_row(tmp_path, monkeypatch):
    path = tmp_path / "oof.parquet"
    predictions.write(path, table(exclusive(3)).assign(group="p" * 10_000), origin(exclusive(3)))
    about = pq.read_metadata(path)
    stored_bytes = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
    texts = ROWS * 10_000 + ROWS * 3 + sum(map(len, table(exclusive(3))["label"]))
    assert stored_bytes < texts
    for most, complaint in (
        (texts, ""),
        (texts - 1, "holds texts of more than"),
        (stored_bytes - 1, "announces 12 rows"),
    ):
        monkeypatch.setattr(predictions, "MOST_BYTES", most)
        if not complaint:
            predictions.read(path)
            continue
        with pytest.raises(InputError, match=complaint):
            predictions.read(path)


def test_the_largest_table_that_is_thought_of_is_read():
    """Eight corruptions of 400,000 images with 14 labels: keys, the corruption and probabilities."""
    assert 8 * 400_000 * (len(predictions.KEYS) + 1 + 14) < predictions.MOST_CELLS < 100_000_000
    assert predictions.MOST_BYTES == 512 * 2**20
