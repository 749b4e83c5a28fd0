"""Rows of the board, of results that are no files: texts, order and what is left out."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import enter, make_project, record_of

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.evaluate import leaderboard
from chestfold.evaluate.attention import Attention
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.claims import Comparison
from chestfold.evaluate.leaderboard import OfFolds, Row, Selection
from chestfold.evaluate.metrics import BOARD, METRICS
from chestfold.evaluate.results import FoldsOfResult, Result, Scores

HALF = Score(0.5, 0.4, 0.6)
NAN = float("nan")


def result(name: str = "net", at_half: dict[str, Score] | None = None, **fields) -> Result:
    """One that is of no files. `fields`: of the record, those of its scores among them."""
    of_scores = {name: fields.pop(name) for name in list(fields) if name in Scores.model_fields}
    scores = Scores(at_half={"auc": HALF} if at_half is None else at_half, confusion=[], **of_scores)
    about: dict[str, Any] = {"settings": {"backbone": "test_resnet", "image_size": 32}}
    return Result(Path(name), record_of(name, scores=scores, **(about | fields)))


def row(made: Result | None = None, **fields) -> Row:
    made = made or result()
    about: dict[str, Any] = dict.fromkeys(("corrupted", "tuned_f1", "comparison", "test_auc", "in_lungs"))
    about |= {"result": made, "what": "a net", "scores": dict.fromkeys(BOARD) | made.record.scores.at_half}
    return Row(**(about | fields))


def comparison(folds: tuple[int, ...] = (0, 1, 2), **fields) -> Comparison:
    gain = Score(0.01, -0.02, 0.04)
    about: dict[str, Any] = {"other": "one", "sha256": "", "folds": folds, "images": 9, "patients": 3, "metric": "auc"}
    return Comparison(**(about | {"gain": gain, "p_false": 0.25} | fields))


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A project without runs."""
    made = make_project(tmp_path / "project")
    enter(monkeypatch, made)
    return made


# Texts


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "test_resnet 32 px"),
        (
            {"parent": "one", "changed": {"lr": (1.0, 0.5), "randaugment": ([], [2, 9])}},
            "one but lr 0.5, randaugment 2x9",
        ),
        ({"kind": "imported", "source": "theirs.csv"}, "imported from theirs.csv"),
        ({"kind": "calibrated", "members": ("one",)}, "one, calibrated"),
        ({"kind": "ensemble", "method": "rank", "members": ("one", "two")}, "rank of one + two"),
    ],
)
def test_what_a_result_is(fields, text):
    assert leaderboard.describe(result(**fields).record) == text


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("AUC", None, "-"),
        ("AUC", HALF, "0.5000 [0.4000, 0.6000]"),
        ("AUC", Score(NAN, NAN, NAN), "-"),
        (leaderboard.GAIN, HALF, "+0.5000 [+0.4000, +0.6000]"),
        (leaderboard.GAIN, None, "-"),
        ("minutes", 12.34, "12.3"),
        (leaderboard.FALSE, 0.25, "0.250"),
        (leaderboard.OF_FOLDS, OfFolds(0.9, 0.0123), "0.9000 ± 0.0123"),
        ("what", "a net", "a net"),
    ],
)
def test_a_cell_of_each_kind(column, value, text):
    assert leaderboard.format_cell(column, value) == text


def test_a_figure_with_and_without_its_interval():
    assert leaderboard.format_score(HALF) == "0.5000 [0.4000, 0.6000]" and leaderboard.format_point(HALF) == "0.5000"
    assert leaderboard.format_score(None) == leaderboard.format_point(None) == "-"


def test_each_column_holds_its_own_figure():
    scores = {name: Score(0.1 * n, 0.0, 1.0) for n, name in enumerate(BOARD, start=1)}
    marked = {name: Score(value, 0.0, 1.0) for name, value in (("corrupted", 0.91), ("tuned_f1", 0.92))}
    marked |= {name: Score(value, 0.0, 1.0) for name, value in (("test_auc", 0.93), ("in_lungs", 0.94))}
    shown = leaderboard.texts_of(row(result(minutes=7.0), scores=scores, comparison=comparison(), **marked))
    for name in BOARD:
        assert shown["AUC" if name == "auc" else METRICS[name].title] == str(scores[name])
    named = ("AUC, shifted", "F1 tuned", "test AUC", "in lungs")
    assert [shown[name][:4] for name in named] == ["0.91", "0.92", "0.93", "0.94"]
    assert shown["AUC against parent"] == "+0.0100 [-0.0200, +0.0400]"
    assert (shown["result"], shown["minutes"], shown["what"]) == ("net", "7.0", "a net")
    assert list(shown) == list(leaderboard.HEADER)


def test_the_competition_s_metric_stands_behind_the_name_and_those_of_hooks_at_the_end():
    made = result(at_half={"auc": HALF, "quadratic_kappa": Score(0.7, 0.6, 0.8)}, metric="quadratic_kappa")
    mine = row(made).scores | {"mine": Score(0.3, 0.2, 0.4), "weighted_kappa": None}
    values = leaderboard.values_of(row(made, scores=mine))
    assert list(values)[:3] == ["result", "quadratic kappa (competition)", "AUC"]
    assert values["quadratic kappa (competition)"] == Score(0.7, 0.6, 0.8)
    assert list(values)[-2:] == [
        "mine",
        METRICS["weighted_kappa"].title if "weighted_kappa" in METRICS else "weighted_kappa",
    ]
    assert leaderboard.competition_column(result().record) == ""


@pytest.mark.parametrize(
    ("aucs", "text"), [(None, "-"), ([0.9], "-"), ([0.9, NAN], "-"), ([0.9, 0.92], "0.9100 ± 0.0141")]
)
def test_the_deviation_of_two_folds_and_more(aucs, text):
    found = leaderboard.terminal_values(row(result(per_fold_auc=aucs)))[leaderboard.OF_FOLDS]
    assert leaderboard.format_cell(leaderboard.OF_FOLDS, found) == text


@pytest.mark.parametrize(
    ("parent", "compared", "text", "false"),
    [
        ("", None, None, None),
        ("one", None, "one", None),
        ("one", comparison(), "one", 0.25),
        ("one", comparison((0, 2)), "one, on fold 0, 2", 0.25),
    ],
)
def test_the_parent_and_the_folds_of_the_comparison(parent, compared, text, false):
    values = leaderboard.terminal_values(row(result(parent=parent, changed={"lr": (1, 2)}), comparison=compared))
    assert values[leaderboard.PARENT] == text and values[leaderboard.FALSE] == false


# Tables


def test_results_on_other_folds_or_by_another_metric_have_tables_of_their_own(empty):
    other = FoldsOfResult(file="again", count=3, sha256="0123456789", trained=(0,))
    made = [
        result("one"),
        result("two", folds=other),
        result("three", {"auc": HALF, "f1": HALF}, metric="f1"),
        result("four-debug"),
        result("five", warning="Read it first"),
    ]
    tables = leaderboard.rows_by_folds(made)
    assert {title: [found.result.name for found in rows] for title, rows in tables.items()} == {
        "tiny (folds/again.csv 01234567, fold 0 of 3)": ["two"],
        "tiny (folds/tiny.csv ffffffff, 3 folds)": ["one"],
        "tiny (folds/tiny.csv ffffffff, 3 folds), sorted by F1": ["three"],
        "tiny (folds/tiny.csv ffffffff, 3 folds). Read it first": ["five"],
    }
    assert list(tables) == sorted(tables)


@pytest.mark.parametrize(("metric", "order"), [("auc", ["b", "c", "a"]), ("log_loss", ["a", "c", "b"])])
def test_the_best_is_first_whether_more_or_less_is_better(empty, metric, order):
    made = []
    for name, value in (("a", 0.3), ("b", 0.9), ("c", 0.5)):
        score = Score(value, 0.0, 1.0)
        about = {"metric": metric, "higher_is_better": metric == "auc"}
        made.append(result(name, {"auc": score, "log_loss": score}, **about))
    (rows,) = leaderboard.rows_by_folds(made).values()
    assert [found.result.name for found in rows] == order


def test_rows_of_a_table_have_the_same_metrics(empty):
    made = [result("a", {"auc": HALF, "mine": HALF}), result("b", {"auc": HALF})]
    (rows,) = leaderboard.rows_by_folds(made).values()
    assert [list(found.scores) for found in rows] == [[*BOARD, "mine"]] * 2
    assert [found.scores["mine"] for found in rows] == [HALF, None]


def test_a_row_has_the_figures_of_its_result_and_of_its_explanation(empty, monkeypatch):
    test = Scores(at_half={"auc": Score(0.7, 0.6, 0.8)}, confusion=[])
    made = result(cross_fitted={"f1": HALF, "auc": HALF}, test=test)
    (rows,) = leaderboard.rows_by_folds([made]).values()
    assert (rows[0].tuned_f1, rows[0].corrupted, rows[0].in_lungs, rows[0].gain) == (HALF, None, None, None)
    assert rows[0].test_auc == Score(0.7, 0.6, 0.8) and rows[0].marks == ()
    explained = Attention.model_construct(measures={"predicted": {"in_lungs": {"all": HALF}}})
    monkeypatch.setattr(Result, "attention", lambda self: explained)
    (rows,) = leaderboard.rows_by_folds([made]).values()
    assert rows[0].in_lungs == HALF


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        ({}, ["one", "two", "three"]),
        ({"names": ["one", "three"]}, ["one", "three"]),
        ({"data": "other"}, ["two"]),
        ({"own": True}, ["one", "two"]),
        ({"own": True, "names": ["three"]}, []),
    ],
)
def test_a_selection_shows_what_was_asked_for(empty, chosen, shown):
    published = result("three")
    published = Result(empty.root / "exps" / "results" / "three", published.record)
    every = [result("one"), result("two", data="other"), published]
    selection = Selection(**chosen)
    assert [made.name for made in every if selection.has(made)] == shown
    selection.require_known(every)


def test_what_is_asked_for_and_not_there_is_one_sentence(empty):
    every = [result("exp100"), result("exp200", data="other")]
    (empty.runs / "begun" / "fold0").mkdir(parents=True)
    (empty.runs / "begun" / "fold0" / "config.json").write_text("{}")
    for chosen, complaint in (
        ({"names": ["exp100", "exp101"]}, "no result 'exp101' in runs/ or exps/results/; did you mean exp100?"),
        ({"names": ["begun"]}, "begun is not finished: run its experiment again, it trains the missing folds"),
        ({"data": "third"}, "no result on the data set 'third'; there are some on other, tiny"),
    ):
        with pytest.raises(InputError, match=complaint):
            Selection(**chosen).require_known(every)
    Selection(names=["begun"]).require_known([*every, result("begun")])


@pytest.mark.parametrize(
    ("here", "there", "is_said"), [((0,), (0, 1, 2), True), ((0, 1, 2), (0, 1, 2), False), ((0, 1), (2,), False)]
)
def test_a_published_result_of_more_folds_that_is_hidden_is_said(empty, here, there, is_said):
    for folder, trained in ((empty.runs, here), (empty.root / "exps" / "results", there)):
        folds = FoldsOfResult(file="tiny", count=3, sha256="f" * 64, trained=trained)
        record_of("net", folds=folds).write(folder / "net" / "scores.json")
    expected = "net: shown is fold 0 of 3 of runs/ in the place of the published 3 folds"
    assert leaderboard.displaced() == ([expected] if is_said else [])


# Runs that are not collected


def fold(tmp_path: Path, name: str, finished: bool, epochs: int | None = None, trained: int = 0) -> Any:
    """What a run folder knows of a fold that was begun."""
    manifest = tmp_path / f"{name}.json"
    if finished:
        manifest.write_text("{}")
    return SimpleNamespace(
        path=Path("runs") / name,
        manifest_path=manifest,
        manifest=lambda: SimpleNamespace(best_epoch=3),
        history=lambda: [{}] * trained,
        config=lambda: SimpleNamespace(settings={} if epochs is None else {"epochs": epochs}),
    )


def test_a_run_is_unfinished_until_its_folds_are_finished_and_collected(tmp_path, monkeypatch):
    runs = []
    for name, finished, is_collected in (
        ("a", True, True),
        ("b", True, False),
        ("c", False, True),
        ("d", False, False),
    ):
        path = tmp_path / name
        path.mkdir()
        if is_collected:
            (path / "scores.json").write_text("{}")
        folds = [fold(path, "fold0", True), fold(path, "fold1", finished, 5, trained=2)]
        runs.append(SimpleNamespace(name=name, path=path, begun_folds=lambda folds=folds: folds))
    monkeypatch.setattr(leaderboard, "run_folders", lambda: runs)
    assert leaderboard.unfinished() == [
        "not collected yet: b: fold0 finished (best epoch 3), fold1 finished (best epoch 3)",
        "not collected yet: c: fold0 finished (best epoch 3), fold1 2 of 5 epochs",
        "not collected yet: d: fold0 finished (best epoch 3), fold1 2 of 5 epochs",
    ]


def test_a_fold_of_before_epochs_were_kept_has_the_usual_number(tmp_path):
    assert leaderboard.epochs_of(fold(tmp_path, "fold0", False, 1)) == 1
    assert leaderboard.epochs_of(fold(tmp_path, "fold0", False)) == Experiment().epochs
