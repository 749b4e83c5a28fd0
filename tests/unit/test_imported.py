"""chestfold import: a stranger's out-of-fold CSV as a result, after the proofs that ours pass."""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment

from chestfold.cli.main import main
from chestfold.core.errors import InputError
from chestfold.core.files import sha256_file
from chestfold.core.task import create_task
from chestfold.data import folds
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.evaluate import imported, predictions
from chestfold.evaluate.ensemble import ensemble
from chestfold.evaluate.imported import Source, import_result
from chestfold.evaluate.leaderboard import describe, rows_by_folds
from chestfold.evaluate.results import all_results, find_result
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.predict.predictor import Predictor
from chestfold.report.page import write_report
from chestfold.report.publish import publish


def frame() -> pd.DataFrame:
    """id, label, fold and two probabilities of every training image, in an order of its own."""
    table = folds.load("tiny", open_index("tiny")).table
    ill = np.where(table["label"] == "ill", 0.7, 0.2) + np.arange(len(table)) / 1000
    made = table[["id", "label", "fold"]].assign(healthy=1 - ill, ill=ill)
    return made.sample(frac=1, random_state=0).reset_index(drop=True)


def answers() -> pd.DataFrame:
    ids = open_index("tiny").test["id"]
    return pd.DataFrame({"id": ids, "ill": np.linspace(0.1, 0.9, len(ids))})


def take(tmp_path: Path, table: pd.DataFrame, tests: pd.DataFrame | None = None, **options):
    """Import a table as the result `theirs`."""
    paths = [tmp_path / "their_oof.csv", tmp_path / "their_test.csv"]
    table.to_csv(paths[0], index=False)
    if tests is not None:
        tests.to_csv(paths[1], index=False)
    id_column = options.pop("id_column", "")
    source = Source(paths[0], paths[1] if tests is not None else None, id_column)
    return import_result(options.pop("name", "theirs"), "tiny", options.pop("folds", ""), source, **options)


def test_it_is_scored_by_us_and_carries_where_it_comes_from(project, tmp_path):
    made = take(tmp_path, frame(), answers())
    assert made.is_new and made.notes == ()
    record = made.result.record
    assert (record.kind, record.source, record.folds.trained) == ("imported", "their_oof.csv", (0, 1, 2))
    assert made.result.score("at_half", "auc").value == 1 and made.result.score("cross_fitted", "f1")
    table, origin = made.result.oof()
    expected = frame().set_index("id")
    np.testing.assert_allclose(table["ill"], expected.loc[table["id"], "ill"])
    assert (table["fold"].to_numpy() == expected.loc[table["id"], "fold"].to_numpy()).all()
    chosen = folds.load("tiny", open_index("tiny"))
    assert origin["oof_source_sha256"] == sha256_file(tmp_path / "their_oof.csv")
    assert origin["test_source_sha256"] == sha256_file(tmp_path / "their_test.csv")
    assert origin["folds_sha256"] == chosen.sha256 and origin["index_sha256"] == open_index("tiny").sha256()
    tests = made.result.test()[0]
    np.testing.assert_allclose(tests["ill"], answers()["ill"])
    np.testing.assert_allclose(tests["healthy"] + tests["ill"], 1)


def as_png(table):
    return table.assign(id=table["id"] + ".png")


def decomposed(table):
    return table.assign(id=[f" {unicodedata.normalize('NFD', i)} " for i in table["id"]])


def as_numbers(table):
    return table.assign(label=table["label"].map({"ill": "1", "healthy": "0"}))


def as_floats(table):
    return table.assign(fold=table["fold"].astype(float))


def rounded(table):
    return table.assign(healthy=table["healthy"].round(3) + 0.0004)


SAME = {
    "as it is": (lambda table: table, ()),
    "suffix": (as_png, ()),
    "spaces": (decomposed, ()),
    "without label and fold": (lambda table: table.drop(columns=["label", "fold"]), ()),
    "the positive class alone": (lambda table: table.drop(columns="healthy"), ()),
    "another name": (
        lambda table: table.drop(columns=["healthy", "label", "fold"]).rename(columns={"ill": "target"}),
        ("their_oof.csv: 'target' is taken as the probability of 'ill'",),
    ),
    "other columns": (
        lambda table: table.assign(path="x", group="p"),
        ("their_oof.csv: left out 2 columns (path, group)",),
    ),
    "folds as floats": (as_floats, ()),
    "classes in another order": (lambda table: table[["ill", "healthy", "id"]], ()),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_predictions_in_another_form(project, tmp_path, name):
    change, notes = SAME[name]
    made = take(tmp_path, change(frame()))
    table = made.result.oof()[0]
    np.testing.assert_allclose(table["ill"], frame().set_index("id").loc[table["id"], "ill"])
    assert made.notes == notes


def test_labels_in_the_words_of_the_data_set_s_table_are_the_same(project, tmp_path):
    declaration = project.input / "tiny" / "dataset.toml"
    declaration.write_text(declaration.read_text() + '[labels]\n0 = "healthy"\n1 = "ill"\n')
    table = project.input / "tiny" / "train.csv"
    table.write_text(table.read_text().replace(",ill,", ",1,").replace(",healthy,", ",0,"))
    assert take(tmp_path, as_numbers(frame())).is_new


def test_rounded_rows_are_scaled_and_counted(project, tmp_path):
    made = take(tmp_path, rounded(frame()))
    assert made.notes == ("their_oof.csv: 60 rows sum to 1 but for rounding, and are scaled",)
    table = made.result.oof()[0]
    np.testing.assert_allclose(table["healthy"] + table["ill"], 1, atol=1e-9)


def first(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    """With another value in the first row, line 2 of the file."""
    changed = table.astype({column: object})
    changed.loc[0, column] = value
    return changed


def other_label(table):
    return first(table, "label", "ill" if table["label"][0] == "healthy" else "healthy")


WRONG = {
    "a foreign id": (lambda t: first(t, "id", "t999"), r"line 2: 't999' is not one of folds/tiny\.csv"),
    "a missing id": (lambda t: t.drop(index=3), r"lacks 1 of the 60 images of folds/tiny\.csv, the first is 't\d+'"),
    "an id twice": (lambda t: pd.concat([t, t.head(1)]), r"line 62: 't\d+' occurs twice, first in line 2"),
    "an id twice, once with suffix": (lambda t: pd.concat([t, as_png(t.head(1))]), r"line 62: .* occurs twice"),
    "another label": (other_label, r"line 2: label '\w+', and '\w+' in folds/tiny\.csv"),
    "an unknown label": (lambda t: first(t, "label", "sick"), r"line 2: label 'sick', and '\w+' in folds/tiny"),
    "another fold": (lambda t: first(t, "fold", 7), r"line 2: fold '7', and \d in folds/tiny\.csv"),
    "no fold": (lambda t: first(t, "fold", "one"), r"line 2: fold 'one', and \d in folds/tiny\.csv"),
    "a word": (lambda t: first(t, "ill", "high"), r"line 2: ill 'high' is not a probability, a number from 0 to 1"),
    "an empty cell": (lambda t: first(t, "ill", None), r"line 2: ill '' is not a probability"),
    "nan": (lambda t: first(t, "ill", "nan"), r"line 2: ill 'nan' is not a probability"),
    "infinity": (lambda t: first(t, "ill", "inf"), r"line 2: ill 'inf' is not a probability"),
    "above 1": (lambda t: first(t, "ill", 1.2), r"line 2: ill '1\.2' is not a probability"),
    "below 0": (lambda t: first(t, "ill", -0.1), r"line 2: ill '-0\.1' is not a probability"),
    "a sum of 1.1": (lambda t: t.assign(ill=t["ill"] + 0.1), r"line 2: the probabilities sum to 1\.1000, not to 1"),
    "no class": (lambda t: t[["id", "label"]], r"has no column 'healthy'; it needs one for each class"),
    "the negative class alone": (lambda t: t[["id", "healthy"]], r"has no column 'ill'; .* and has healthy"),
    "two columns of other names": (
        lambda t: t.rename(columns={"ill": "a", "healthy": "b"}),
        r"has no column 'healthy'; it needs one for each class \(healthy, ill\), and has b, a",
    ),
    "no id": (lambda t: t.rename(columns={"id": "image"}), r"has no column 'id' .*; name the right one in --id-column"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_proven_is_refused_and_leaves_nothing(project, tmp_path, name):
    change, complaint = WRONG[name]
    with pytest.raises(InputError, match=complaint):
        take(tmp_path, change(frame()))
    assert not (project.runs / "theirs" / "scores.json").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda t: t.iloc[1:], "lacks 1 of the 12 images of the test images of tiny, the first is 'x000'"),
        (lambda t: first(t, "id", "t000"), "line 2: 't000' is not one of the test images of tiny"),
        (lambda t: first(t, "ill", 2), "line 2: ill '2' is not a probability"),
    ],
)
def test_test_predictions_are_proven_too(project, tmp_path, change, complaint):
    with pytest.raises(InputError, match=complaint):
        take(tmp_path, frame(), change(answers()))
    assert not (project.runs / "theirs" / "scores.json").exists()


def test_a_file_that_is_not_there_is_one_sentence(project):
    with pytest.raises(InputError, match=r"nowhere\.csv does not exist; name the CSV"):
        import_result("theirs", "tiny", "", Source(Path("nowhere.csv")))
    frame().to_csv(project.root / "oof.csv", index=False)
    with pytest.raises(InputError, match=r"tests\.csv does not exist; name the CSV"):
        import_result("theirs", "tiny", "", Source(project.root / "oof.csv", Path("tests.csv")))


def test_the_column_of_the_images_may_have_another_name(project, tmp_path):
    assert take(tmp_path, frame().rename(columns={"id": "image"}), id_column="image").is_new


def test_two_images_of_one_name_are_told_apart_by_their_suffix():
    known = imported._by_name(["a.png", "a.jpg", "b.png"])
    assert known == {"a.png": "a.png", "a.jpg": "a.jpg", "b.png": "b.png", "b": "b.png"}


# Beside what is there


def test_importing_again_does_nothing(project, tmp_path):
    before = take(tmp_path, frame()).result.record
    again = take(tmp_path, frame())
    assert not again.is_new and again.result.record == before


def test_another_import_does_not_overwrite(project, tmp_path):
    take(tmp_path, frame())
    other = frame().assign(ill=lambda t: t["ill"] / 2, healthy=lambda t: 1 - t["ill"])
    with pytest.raises(InputError, match="holds another result; choose another name or add --overwrite"):
        take(tmp_path, other)
    assert take(tmp_path, other, overwrite=True).is_new
    with pytest.raises(InputError, match="holds another result"):
        take(tmp_path, other, answers())


def test_the_name_of_a_run_is_taken(trained, tmp_path):
    for overwrite in (False, True):
        with pytest.raises(InputError, match="exp100 is the name of an experiment's run"):
            take(tmp_path, frame(), name="exp100", overwrite=overwrite)


def test_another_fold_file_is_named(project, tmp_path):
    folds.make(open_index("tiny"), "other", 3, seed=1)
    with pytest.raises(InputError, match=r"fold '\d', and \d in folds/other\.csv"):
        take(tmp_path, frame(), folds="other")
    assert take(tmp_path, frame().drop(columns="fold"), folds="other").result.record.folds.file == "other"


# Like any other result


def test_it_is_blended_submitted_published_and_shown(trained, tmp_path):
    take(tmp_path, frame(), answers())
    assert [row.result.name for rows in rows_by_folds(all_results()).values() for row in rows].count("theirs") == 1
    assert describe(find_result("theirs").record) == "imported from their_oof.csv"
    blend, compared = ensemble(["theirs", "exp100"], "both", "greedy")
    assert set(compared) == {"mean", "rank", "greedy", "stack"} and len(blend.test()[0]) == 12
    assert write_submission("theirs")[0].name == "001_theirs.csv"
    publish("theirs")
    assert "`chestfold import " in (trained.root / "RESULTS.md").read_text()
    assert write_report(trained.runs / "report.html") == 4


def test_without_test_predictions_it_is_not_submitted(project, tmp_path):
    take(tmp_path, frame())
    with pytest.raises(InputError, match="theirs was imported without test predictions; import it again with --test"):
        write_submission("theirs")


@pytest.mark.parametrize("setting", ["start_from", "pseudo"])
def test_there_are_no_networks_behind_it(project, tmp_path, setting):
    take(tmp_path, frame())
    with pytest.raises(InputError, match="theirs was imported: it has predictions and no networks"):
        Predictor("theirs")
    with pytest.raises(InputError, match=r"theirs.: it was imported from their_oof\.csv, without networks"):
        project.run(tiny_experiment(**{setting: "theirs"}), "--fold", "0")


def test_the_command(project, tmp_path, capsys):
    frame().to_csv(tmp_path / "oof.csv", index=False)
    main(["import", "theirs", "--data", "tiny", "--oof", str(tmp_path / "oof.csv")])
    said = capsys.readouterr().out
    assert "theirs is in" in said and "AUC 1.0000" in said


# Other tasks


def read(tmp_path, task: str, classes: tuple[str, ...], table: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """What is read of a CSV for images of another task."""
    dataset = find_dataset("phantom").model_copy(update={"task": task, "classes": classes, "labels": {}})
    reader = imported._Reader(dataset, create_task(task, classes, "" if task == "multilabel" else classes[-1]), "")
    table.to_csv(tmp_path / "oof.csv", index=False)
    truth = pd.DataFrame({"id": table["id"], "group": "", "fold": 0, "label": labels})
    return predictions.probabilities(reader.read(tmp_path / "oof.csv", truth, "folds/x.csv"))


def test_several_labels_need_not_sum_to_one(tmp_path):
    table = pd.DataFrame({"id": ["i", "j"], "label": ["A|B", "-"], "B": [0.9, 0.1], "A": [0.8, 0.0]})
    probs = read(tmp_path, "multilabel", ("A", "B"), table, ["A|B", "-"])
    np.testing.assert_allclose(probs, [[0.8, 0.9], [0.0, 0.1]])


@pytest.mark.parametrize("task", ["multilabel", "ordinal", "multiclass"])
def test_each_class_has_a_column(tmp_path, task):
    table = pd.DataFrame({"id": ["i"], "A": [0.4], "B": [0.6]})
    with pytest.raises(InputError, match=r"has no column 'C'; it needs one for each class \(A, B, C\)"):
        read(tmp_path, task, ("A", "B", "C"), table, ["A"])


def test_of_two_labels_one_column_is_not_enough(tmp_path):
    table = pd.DataFrame({"id": ["i"], "B": [0.6]})
    with pytest.raises(InputError, match=r"has no column 'A'; it needs one for each class \(A, B\), and has B"):
        read(tmp_path, "multilabel", ("A", "B"), table, ["A"])


@pytest.mark.parametrize("positive", [0, 1])
def test_one_column_is_the_probability_of_the_positive_class(tmp_path, positive):
    dataset = find_dataset("phantom").model_copy(update={"classes": ("A", "B"), "labels": {}})
    reader = imported._Reader(dataset, create_task("multiclass", ("A", "B"), "AB"[positive]), "")
    pd.DataFrame({"id": ["i", "j"], "p": [0.9, 0.0]}).to_csv(tmp_path / "oof.csv", index=False)
    truth = pd.DataFrame({"id": ["j", "i"], "group": "", "fold": 0, "label": "A"})
    probs = predictions.probabilities(reader.read(tmp_path / "oof.csv", truth, "folds/x.csv"))
    np.testing.assert_allclose(probs[:, positive], [0.0, 0.9])
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert reader.notes == [f"oof.csv: 'p' is taken as the probability of '{'AB'[positive]}'"]


@pytest.mark.parametrize(
    ("away", "note"),
    [
        (0.0, 0),
        (1e-9, 0),
        (0.0009, 1),
        (-0.0009, 1),
        (0.0011, None),
        (-0.0011, None),
    ],
)
def test_a_thousandth_is_rounding_and_more_is_not(tmp_path, away, note):
    table = pd.DataFrame({"id": ["i", "j"], "A": [0.4, 0.3], "B": [0.6, 0.7 + away]})
    dataset = find_dataset("phantom").model_copy(update={"classes": ("A", "B"), "labels": {}})
    reader = imported._Reader(dataset, create_task("multiclass", ("A", "B"), "B"), "")
    table.to_csv(tmp_path / "oof.csv", index=False)
    truth = pd.DataFrame({"id": ["i", "j"], "group": "", "fold": 0, "label": "A"})
    if note is None:
        with pytest.raises(InputError, match=f"line 3: the probabilities sum to {1 + away:.4f}, not to 1"):
            reader.read(tmp_path / "oof.csv", truth, "folds/x.csv")
        return
    probs = predictions.probabilities(reader.read(tmp_path / "oof.csv", truth, "folds/x.csv"))
    np.testing.assert_allclose(probs, [[0.4, 0.6], [0.3 / (1 + away), (0.7 + away) / (1 + away)]])
    assert reader.notes == (["oof.csv: 1 row sum to 1 but for rounding, and are scaled"] if note else [])


@pytest.mark.parametrize("task", ["multilabel", "multiclass"])
def test_a_probability_may_be_0_or_1(tmp_path, task):
    table = pd.DataFrame({"id": ["i", "j"], "A": [0, 1], "B": [1, 0]})
    assert read(tmp_path, task, ("A", "B"), table, ["A", "B"]).tolist() == [[0, 1], [1, 0]]


def test_folds_of_images_that_are_in_none_are_not_compared(project, tmp_path):
    made = take(tmp_path, frame(), answers().assign(fold=3, label=""), name="with_folds")
    assert set(made.result.test()[0]["fold"]) == {-1}


def test_what_it_says_of_its_making(project, tmp_path):
    record = take(tmp_path, frame()).result.record
    assert (record.minutes, record.machine, record.images, record.patients) == (0.0, "elsewhere", 60, 20)
    assert (record.folds.file, record.folds.count, record.folds.leaky) == ("tiny", 3, False)
    with pytest.raises(InputError, match="theirs was imported without test predictions"):
        find_result("theirs").test()


@pytest.mark.parametrize(
    ("cell", "labels", "is_same"),
    [("A", {}, True), (" A ", {}, True), ("B", {}, False), ("0", {"0": "A"}, True), ("1", {"0": "A", "1": "B"}, False)],
)
def test_a_label_in_other_words_is_the_same(cell, labels, is_same):
    dataset = find_dataset("phantom").model_copy(update={"classes": ("A", "B"), "labels": labels})
    reader = imported._Reader(dataset, create_task("multiclass", ("A", "B"), "B"), "")
    assert reader._is_label(cell, "A") is is_same


@pytest.mark.parametrize(("cell", "is_same"), [("2", True), ("2.0", True), ("3", False), ("", False), ("two", False)])
def test_a_fold_may_be_written_as_any_number(cell, is_same):
    assert imported._is_fold(cell, 2) is is_same
