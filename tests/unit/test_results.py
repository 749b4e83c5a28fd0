"""A result: what its record says in words, which figures it has, and where it is looked for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import enter, make_project, record_of, tiny_experiment
from drawn_results import rows_of, store, with_probs
from sklearn.metrics import roc_auc_score
from tasks import drawn, drawn_labels, exclusive, graded, labelled

from chestfold.core import hooks
from chestfold.core.config import Request
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256, write_json
from chestfold.core.run_folder import RunFolder
from chestfold.data.dataset import Dataset
from chestfold.evaluate import metrics, predictions, results
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS
from chestfold.evaluate.results import FoldsOfResult, NotRun, Result, ResultRecord, Scores, find_result

HALF = Score(0.5, 0.4, 0.6)
MORE = Score(0.7, 0.6, 0.8)


def folds(count: int = 3, trained: tuple[int, ...] = (0, 1, 2), **fields) -> FoldsOfResult:
    return FoldsOfResult(file="tiny", count=count, sha256="f" * 64, trained=trained, **fields)


def result(name: str = "net", **fields) -> Result:
    """One that is of no files."""
    return Result(Path(name), record_of(name, **fields))


# In words


@pytest.mark.parametrize(
    ("count", "trained", "words", "missing"),
    [
        (3, (0, 1, 2), "3 folds", []),
        (1, (0,), "1 fold", []),
        (3, (0,), "fold 0 of 3", [1, 2]),
        (3, (2, 1), "folds 2, 1 of 3", [0]),
        (4, (), "folds  of 4", [0, 1, 2, 3]),
    ],
)
def test_folds_in_words(count, trained, words, missing):
    found = folds(count, trained)
    assert str(found) == words and found.missing == missing and found.leaky is False


@pytest.mark.parametrize(
    ("aucs", "words"), [([0.9, 0.92], "0.9100 ± 0.0141"), ([0.9], "-"), ([0.9, np.nan], "-"), ([], "-"), (None, "-")]
)
def test_the_mean_of_two_folds_is_one(aucs, words):
    assert Scores(at_half={}, confusion=[], per_fold_auc=aucs).auc_of_folds == words


@pytest.mark.parametrize(
    ("fields", "measures"),
    [
        ({}, False),
        ({"folds": folds(leaky=True)}, True),
        ({"settings": {"frame": "lungs_black"}}, True),
        ({"settings": {"frame": "centre"}}, False),
    ],
)
def test_leaky_folds_and_images_without_lungs_measure_the_data(fields, measures):
    assert record_of("net", **fields).measures_the_data is measures


def test_a_record_of_before_something_was_kept_has_the_usual_value():
    made = record_of("net")
    assert (made.task, made.metric, made.higher_is_better, made.images, made.patients) == (
        "multiclass",
        "auc",
        True,
        0,
        0,
    )
    assert made.all_settings["epochs"] > 0 and record_of("net", settings={"epochs": 7}).all_settings["epochs"] == 7
    assert record_of("net", settings={"epochs": 7}).setting("epochs") == 7
    with pytest.raises(InputError, match="scores.json of net: settings.epochs: field required; restore the file"):
        made.setting("epochs")


def test_a_metric_of_hooks_that_were_not_run_orders_and_is_not_computed():
    made = record_of("net", metric="mine", higher_is_better=False, settings={"hooks": "mine.py"})
    metric = made.competition_metric
    assert metric.title == "mine" and metric.worth(2.0) < metric.worth(1.0)
    with pytest.raises(InputError, match="a metric of hooks that came with a result is needed.*--trust-hooks"):
        metrics.value_of(metric, metrics.Predicted(exclusive(), *drawn(exclusive())))
    known = record_of("net", metric="log_loss", settings={"hooks": "mine.py"})
    assert known.competition_metric.title == METRICS["log_loss"].title
    assert record_of("net").competition_metric.title == "AUC"


@pytest.mark.parametrize(("name", "is_debug"), [("exp100", False), ("exp100-debug", True), ("debug", False)])
def test_a_debug_run_is_known_by_its_name(name, is_debug):
    assert result(name).is_debug is is_debug


# Figures


def test_each_kind_of_figure_or_none():
    corrupted = results.CorruptionScores(auc=HALF, per_corruption={})
    test = Scores(at_half={"auc": MORE}, confusion=[])
    half = {"auc": HALF, "f1": MORE}
    scores = Scores(at_half=half, confusion=[], cross_fitted={"f1": HALF}, corrupted=corrupted, test=test)
    full, empty = result(scores=scores), result(scores=Scores(at_half={"auc": HALF}, confusion=[]))
    found = {kind: full.score(kind, "auc") for kind in ("at_half", "cross_fitted", "corrupted", "test")}
    assert found == {"at_half": HALF, "cross_fitted": None, "corrupted": HALF, "test": MORE}
    assert full.score("cross_fitted", "f1") == HALF
    assert full.score("corrupted", "f1") is full.score("test", "f1") is None
    assert [empty.score(kind, "auc") for kind in ("cross_fitted", "in_sample", "corrupted", "test")] == [None] * 4
    assert full.value("f1") == 0.7 and full.competition_score == HALF
    with pytest.raises(InputError, match="metric = 'brier' is not one of auc, f1"):
        full.value("brier")


def test_the_metrics_of_a_result_are_those_of_the_board_and_the_competition_s():
    assert list(results.metrics_of("auc", {})) == list(metrics.BOARD)
    assert list(results.metrics_of("quadratic_kappa", {})) == [*metrics.BOARD, "quadratic_kappa"]


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A project that the tests of this file leave as it is."""
    made = make_project(tmp_path_factory.mktemp("results") / "project")
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        yield made


def test_the_scores_of_two_classes(at):
    task = exclusive()
    labels = drawn_labels(task, 60)
    made = store(at, "two", task, rows_of(task, labels), rows_of(task, labels).assign(fold=-1))
    table, scores = made.oof()[0], made.record.scores
    ill = (table["label"] == "ill").to_numpy()
    assert scores.at_half["auc"].value == pytest.approx(roc_auc_score(ill, table["ill"]))
    each = [roc_auc_score(ill[table["fold"] == n], table["ill"][table["fold"] == n]) for n in range(3)]
    assert scores.per_fold_auc == pytest.approx(each) and scores.per_fold is None
    assert scores.folds_minus_pooled is not None
    assert scores.folds_minus_pooled.value == pytest.approx(np.mean(each) - scores.at_half["auc"].value)
    called = (table["ill"] >= 0.5).to_numpy()
    assert scores.confusion == [[int((ill == a)[called == b].sum()) for b in (False, True)] for a in (False, True)]
    assert scores.threshold is not None and 0 < scores.threshold < 1 and scores.thresholds is None
    assert scores.in_sample is not None and scores.cross_fitted is not None and scores.by_label is None
    assert scores.in_sample["f1"].value >= scores.at_half["f1"].value
    decided = (table["ill"] >= scores.threshold).to_numpy()
    assert scores.in_sample["accuracy"].value == pytest.approx((decided == ill).mean())
    assert scores.test is not None and scores.test.threshold is None, "it has one fold"
    assert (made.record.images, made.record.patients, made.images, made.patients) == (60, 30, 60, 30)
    assert made.record.files["corrupted.parquet"] is None is made.corrupted()


def test_one_fold_has_no_thresholds_and_nothing_to_compare_it_with(at):
    task = exclusive()
    scores = store(at, "one", task, rows_of(task, drawn_labels(task, 60)), trained=(1,)).record.scores
    assert scores.cross_fitted is scores.in_sample is scores.threshold is scores.folds_minus_pooled is None
    assert scores.per_fold_auc is not None and len(scores.per_fold_auc) == 1


def test_the_scores_of_several_labels(at):
    task = labelled()
    scores = store(at, "labels", task, rows_of(task, drawn_labels(task, 60)), metric="log_loss").record.scores
    assert scores.threshold is None and list(scores.thresholds or {}) == list(task.classes) == list(
        scores.by_label or {}
    )
    assert scores.per_fold is not None and len(scores.per_fold) == 3 and scores.per_fold != scores.per_fold_auc
    assert scores.at_half["log_loss"].value == pytest.approx(np.mean(scores.per_fold), rel=0.2)


def test_the_mean_over_corruptions_and_each_of_them():
    task = exclusive()
    labels, probs = drawn(task, 40)
    rows = rows_of(task, labels)
    tables = {"blur": predictions.predictions(rows, 0, task.classes, probs)}
    tables["zoom"] = predictions.predictions(rows, 0, task.classes, probs[:, ::-1]).iloc[::-1]
    found = results.score_corrupted(tables, task)
    auc = roc_auc_score(labels, probs[:, 1])
    assert found.per_corruption == pytest.approx({"blur": auc, "zoom": 1 - auc}) and found.auc.value == pytest.approx(
        0.5
    )


@pytest.mark.parametrize(
    ("texts", "has_each"),
    [(["ill", "healthy"], True), (["ill", "ill"], False), (["ill", "healthy", ""], False), (["", ""], False)],
)
def test_a_test_split_is_scored_where_it_has_every_class_and_no_secret(texts, has_each):
    assert results._has_every_class(pd.DataFrame({"label": texts}), exclusive()) is has_each


@pytest.mark.parametrize(
    ("texts", "has_each"),
    [(["nodule|effusion|fracture", "-"], True), (["nodule|effusion|fracture"], False), (["nodule", "-"], False)],
)
def test_and_of_labels_where_each_is_there_and_is_not(texts, has_each):
    assert results._has_every_class(pd.DataFrame({"label": texts}), labelled()) is has_each


# Files


def test_a_table_that_is_not_the_one_that_was_scored_is_refused(at):
    task = exclusive()
    made = store(at, "changed", task, rows_of(task, drawn_labels(task, 30)))
    path = made.folder / "oof.parquet"
    predictions.write(path, made.oof()[0].iloc[1:], made.oof()[1])
    with pytest.raises(InputError, match=r"oof.parquet is not the file that scores.json is about \(hash differs\)"):
        made.oof()
    path.unlink()
    with pytest.raises(InputError, match="oof.parquet does not exist"):
        made.oof()


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [("experiment", "net: the data set tiny has no test split"), ("imported", "imported without test predictions")],
)
def test_a_result_without_test_predictions_says_why(kind, complaint):
    with pytest.raises(InputError, match=complaint):
        result(kind=kind).test()


def test_fields_are_written_again_and_the_others_stay(tmp_path):
    leave(tmp_path, "again", parent="other", warning="read it", weights=(0.25, 0.75))
    path = tmp_path / "again" / "scores.json"
    made = Result(path.parent, ResultRecord.from_json(path))
    write_json(path, read_json(path) | {"of_later": 1})
    changed = made.rewritten(warning="read this", weights=None)
    assert changed.record.warning == "read this" and changed.record.weights is None
    written = read_json(path)
    assert (written["warning"], written["parent"], written["of_later"]) == ("read this", "other", 1)
    assert "weights" not in written


def test_scored_again_it_has_the_same_scores_and_keeps_parts_that_ids_do_not_tell(at):
    task = exclusive()
    made = store(at, "rescored", task, rows_of(task, drawn_labels(task, 60)), metric="f1")
    part = results.subgroups.SubgroupScores(images=3, patients=2, positives=1)
    kept = made.record.scores.model_copy(update={"by_subgroup": {"ward": {"a": part}}})
    spoilt = made.rewritten(scores=kept.model_copy(update={"per_fold": None, "at_half": {"auc": HALF}}))
    again = results.rescored(spoilt).record.scores
    assert again == kept and find_result("rescored").record.scores == kept
    assert results.rescored(made).record.scores.by_subgroup is None


def test_hooks_are_run_before_anything_is_scored_with_them(at):
    task = exclusive()
    made = store(at, "hooked", task, rows_of(task, drawn_labels(task, 30)))
    files = made.record.files | {hooks.FILE: sha256(b"x = 1")}
    strange = Result(made.folder, made.record.model_copy(update={"files": files, "settings": {"hooks": "mine.py"}}))
    for ask in (Result.load_hooks, results.rescored):
        with pytest.raises(InputError, match=r"hooks.py does not exist; the run was trained with hooks \(mine.py\)"):
            ask(strange)
    assert made.load_hooks() is None


def test_what_is_made_of_others_takes_after_the_first_of_them():
    first = result("a", minutes=1.26, date="2026-01-01", machine="this", settings={"hooks": "mine.py", "lr": 1.0})
    second = result("b", minutes=2.1, date="2026-02-01", machine="that", data="other")
    about = results.about_members([first, second])
    assert (about["data"], about["machine"], about["minutes"], about["date"]) == ("tiny", "this", 3.4, "2026-02-01")
    assert about["members"] == ["a", "b"] and about["settings"] == {"hooks": "mine.py"}
    assert results.about_members([second])["settings"] == {}


def test_what_was_not_counted_is_counted_from_the_predictions(at):
    task = exclusive()
    made = store(at, "uncounted", task, rows_of(task, drawn_labels(task, 30)))
    before = made.rewritten(images=0, patients=0)
    assert (before.images, before.patients) == (30, 15)
    assert (made.rewritten(images=7, patients=5).images, before.rewritten(patients=5).patients) == (7, 5)


def test_a_result_of_all_that_there_may_be(at):
    """Corrupted images, hooks, and parts that somebody else knows."""
    task = exclusive()
    rows = rows_of(task, drawn_labels(task, 30), folds=2)
    oof = with_probs(rows, task, "all")
    tables = {"blur": with_probs(rows, task, "blur"), "zoom": with_probs(rows, task, "zoom")}
    about = record_of("all", folds=folds(2, (0, 1))).model_dump(
        exclude={"name", "scores", "files", "images", "patients"}
    )
    used = hooks.Hooks(Path("mine.py"), b"x = 1", {})
    values = {"half": np.array(["a", "b", ""] * 10)}
    stack = predictions.stacked(tables)
    made = results.write_result(at.runs / "all", oof, None, stack, {"folds": "tiny"}, about, used, values)
    files = {"oof.parquet", "corrupted.parquet", hooks.FILE}
    assert {name for name, digest in made.record.files.items() if digest} == files
    assert all(made.record.files[name] == sha256((made.folder / name).read_bytes()) for name in files)
    found = made.corrupted()
    assert found is not None and list(found) == ["blur", "zoom"]
    np.testing.assert_allclose(found["zoom"]["ill"], tables["zoom"]["ill"], rtol=1e-6)
    scores = made.record.scores
    assert scores.corrupted is not None and list(scores.corrupted.per_corruption) == ["blur", "zoom"]
    assert scores.by_subgroup is not None and {
        value: part.images for value, part in scores.by_subgroup["half"].items()
    } == {
        "a": 10,
        "b": 10,
    }
    assert scores.folds_minus_pooled is not None and scores.threshold is not None, "of two folds"
    assert made.by_subgroup() == scores.by_subgroup and scores.test is None


def test_parts_that_ids_tell_are_scored_for_results_of_before(at, monkeypatch):
    task = exclusive()
    made = store(at, "parts", task, rows_of(task, drawn_labels(task, 30)))
    assert made.by_subgroup() == {}
    monkeypatch.setattr(results.subgroups, "values_of", lambda data, ids: {"tens": ids.str[:3].to_numpy(str)})
    assert made.by_subgroup() == {}, "its ids tell nothing"
    monkeypatch.setattr(results.subgroups, "are_in_ids", lambda data: True)
    found = made.by_subgroup()["tens"]
    assert {value: part.images for value, part in found.items()} == {"t00": 10, "t01": 10, "t02": 10}


@pytest.mark.parametrize(
    ("fields", "task", "metric", "more_is_better"),
    [
        ({}, exclusive(), "auc", True),
        ({"metric": "log_loss", "metric_weights": {}}, exclusive(), "log_loss", False),
        ({"task": "ordinal", "classes": ("a", "b", "c"), "positive": "c"}, graded(3), "quadratic_kappa", True),
    ],
)
def test_what_a_data_set_decides(fields, task, metric, more_is_better):
    about = {"name": "made", "classes": ("healthy", "ill"), "positive": "ill", "reader": "csv", "warning": "Read it"}
    found = results.about_dataset(Dataset(**(about | fields)), task)
    assert (found["data"], found["warning"], found["task"], found["classes"]) == (
        "made",
        "Read it",
        task.name,
        task.classes,
    )
    assert (found["metric"], found["higher_is_better"]) == (metric, more_is_better)


# Where it is


def leave(base: Path, name: str, **fields) -> None:
    """A result that is a record alone."""
    record_of(name, **fields).write(base / name / "scores.json")


def test_a_run_goes_before_what_was_published_under_its_name(at):
    published = at.root / "exps" / "results"
    for name in ("here", "both"):
        leave(at.runs, name)
    for name in ("there", "both"):
        leave(published, name, machine="elsewhere")
    assert find_result("both").record.machine == "here" and not find_result("both").is_published
    assert find_result("there").record.machine == "elsewhere" and find_result("there").is_published
    found = [(made.name, made.is_published) for made in results.all_results()]
    expected = [("both", False), ("here", False), ("there", True)]
    assert [each for each in found if each in expected] == expected and len(set(dict(found))) == len(found)
    assert list(results.published_results()) == ["both", "there"]
    assert results.known_result("") is results.known_result("nothing") is None


def test_a_result_that_is_not_there_is_one_sentence(at):
    leave(at.runs, "exp777")
    with pytest.raises(InputError, match="no finished result called 'exp778'; did you mean exp777?"):
        find_result("exp778")
    with pytest.raises(InputError, match="no finished result called 'q'; chestfold board lists the finished ones"):
        find_result("q")
    with pytest.raises(InputError, match="plain name"):
        find_result("../exp777")


def test_a_run_that_is_not_finished_says_so(at):
    (at.runs / "begun" / "fold0").mkdir(parents=True)
    (at.runs / "begun" / "fold0" / "config.json").write_text("{}")
    assert RunFolder("begun").begun_folds()
    with pytest.raises(
        InputError, match="begun is not finished: run its experiment again, it trains the missing folds"
    ):
        find_result("begun")


def test_what_could_not_be_run_is_kept_until_there_is_a_result(at):
    results.write_not_run(Request("later", tiny_experiment(epochs=3)), "weights", "2026-01-01")
    (found,) = results.not_run(at.runs).values()
    assert isinstance(found, NotRun) and (found.name, found.why, found.data) == ("later", "weights", "tiny")
    assert found.settings["epochs"] == 3 and found.date == "2026-01-01"
    leave(at.runs, "later")
    assert results.not_run(at.runs) == {}


def test_grades_have_a_competition_metric_of_each_fold(at):
    task = graded()
    scores = store(at, "grades", task, rows_of(task, drawn_labels(task, 60)), metric="quadratic_kappa").record.scores
    assert scores.per_fold is not None and len(scores.per_fold) == 3
    assert "quadratic_kappa" in scores.at_half and "threshold" not in scores.to_dict()
