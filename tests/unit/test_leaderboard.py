"""The board shows results from files alone, with "-" where a result has no such figure."""

import shutil
import statistics

import pytest
from conftest import tiny_experiment

from chestfold.cli import main
from chestfold.core.files import read_json, write_json
from chestfold.evaluate import leaderboard, results
from chestfold.evaluate.metrics import BOARD, METRICS, Metric
from chestfold.report import terminal
from chestfold.report.publish import publish


def rows_of(name: str) -> dict[str, str]:
    """Column of the board -> text, for one result."""
    tables = leaderboard.rows_by_folds(results.all_results()).values()
    (row,) = (r for rows in tables for r in rows if r.result.name == name)
    values = leaderboard.terminal_values(row)
    return {column: leaderboard.format_cell(column, value) for column, value in values.items()}


def test_a_row_shows_the_scores_with_their_intervals(trained):
    result, row = results.find_result("exp100"), rows_of("exp100")
    assert row["AUC"] == str(result.score("at_half", "auc"))
    assert row["AUC, shifted"] == str(result.score("corrupted", "auc"))
    assert "[" in row["F1"] and "[" in row["F1 tuned"]
    assert row["what"] == "test_resnet 32 px" and row["test AUC"] == row["AUC against parent"] == "-"


def test_the_best_result_comes_first(trained):
    rows = next(iter(leaderboard.rows_by_folds(results.all_results()).values()))
    assert {r.result.name for r in rows} == {"exp100", "exp101"}
    assert rows[0].scores["auc"].value >= rows[1].scores["auc"].value


def declare(project, name: str, **changes) -> None:
    """Change what a result says of itself."""
    path = project.runs / name / "scores.json"
    write_json(path, read_json(path) | {"parent": "exp100", "changed": {"seed": [0, 1]}} | changes)


def test_a_child_is_compared_with_its_parent(trained):
    declare(trained, "exp101")
    row = rows_of("exp101")
    gain = (
        results.find_result("exp101").score("at_half", "auc").value
        - results.find_result("exp100").score("at_half", "auc").value
    )
    assert row["AUC against parent"].startswith(f"{gain:+.4f} [") and row["what"] == "exp100 but seed 1"


OTHER_FOLDS = {"count": 3, "sha256": "another", "file": "other", "trained": [0, 1, 2]}


@pytest.mark.parametrize("changes", [{"parent": "exp099"}, {"folds": OTHER_FOLDS}], ids=["missing", "other folds"])
def test_there_is_no_comparison_with_a_parent_that_is_missing_or_of_other_folds(trained, changes):
    declare(trained, "exp101", **changes)
    assert rows_of("exp101")["AUC against parent"] == "-"


def test_an_ensemble_names_its_members(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    assert rows_of("both")["what"] == "mean of exp100 + exp101"


def test_the_command_shows_the_board_and_what_is_not_collected_yet(trained, capsys):
    trained.run(tiny_experiment(epochs=1), "--fold", "1", name="exp102")
    (trained.runs / "exp102" / "scores.json").unlink()
    capsys.readouterr()
    main.main(["board"])
    shown = capsys.readouterr().out
    assert "tiny (folds/tiny.csv" in shown and "3 folds): out-of-fold" in shown and shown.count("exp10") >= 3
    assert "not collected yet: exp102: fold1 finished (best epoch 1)" in shown


def test_an_empty_board_says_how_to_begin(project, capsys):
    main.main(["board"])
    assert "no finished result yet" in capsys.readouterr().out


def test_a_board_that_goes_into_another_program_has_every_column(trained, capsys):
    main.main(["board"])
    printed = capsys.readouterr().out
    assert all(f"  {terminal.TITLES.get(name, name)}" in printed for name in leaderboard.HEADER[1:])
    assert leaderboard.OF_FOLDS in printed and leaderboard.PARENT in printed


def test_the_mean_of_the_folds_and_its_deviation_are_beside_the_pooled_figure(trained):
    scores = results.find_result("exp100").record.scores
    mean, deviation = statistics.mean(scores.per_fold_auc), statistics.stdev(scores.per_fold_auc)
    assert rows_of("exp100")["AUC of folds"] == f"{mean:.4f} ± {deviation:.4f}"


def test_the_summary_of_a_run_has_the_mean_of_the_folds_too(trained, capsys):
    trained.run(tiny_experiment())
    scores = results.find_result("exp100").record.scores
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "auc of folds" in line)
    assert line.split()[-3:] == scores.auc_of_folds.split()


def test_a_single_fold_has_no_mean_of_folds(project, monkeypatch, capsys):
    project.run(tiny_experiment(epochs=1, max_steps=1), "--fold", "0")
    assert rows_of("exp100")["AUC of folds"] == "-"
    assert "auc of folds" not in capsys.readouterr().out


# A metric that came later


@pytest.fixture
def with_a_new_metric(monkeypatch):
    """`hits`: a metric that was added to the registry after the results were scored."""
    monkeypatch.setitem(METRICS, "hits", Metric("hits", lambda e: float(e.hits.sum())))
    for module in (leaderboard, results):
        monkeypatch.setattr(module, "BOARD", (*BOARD, "hits"))
    end = leaderboard.HEADER.index("F1 tuned")
    header = (*leaderboard.HEADER[:end], "hits", *leaderboard.HEADER[end:])
    monkeypatch.setattr(leaderboard, "HEADER", header)


def test_the_header_names_every_metric_that_results_are_scored_by():
    titles = [METRICS[name].title for name in BOARD]
    assert [name for name in leaderboard.HEADER if name in titles] == titles


def test_a_result_that_lacks_a_metric_has_a_dash(trained, with_a_new_metric, capsys):
    assert rows_of("exp100")["hits"] == "-"
    assert rows_of("exp100")["ECE"] != "-"
    main.main(["board"])
    assert "hits" in capsys.readouterr().out


def test_a_result_that_is_scored_anew_has_the_new_metric(trained, with_a_new_metric):
    trained.run(tiny_experiment())
    assert rows_of("exp100")["hits"].startswith(f"{round(60 * accuracy('exp100'))}.0000 [")
    assert rows_of("exp101")["hits"] == "-"


def accuracy(name: str) -> float:
    score = results.find_result(name).score("at_half", "accuracy")
    assert score is not None
    return score.value


# A run in the place of a published result


def test_a_run_with_fewer_folds_than_its_published_result_is_said(trained, capsys):
    publish("exp100")
    shutil.rmtree(trained.runs / "exp100")
    trained.run(tiny_experiment(epochs=1), "--fold", "0")
    capsys.readouterr()
    main.main(["board"])
    assert "exp100: shown is fold 0 of 3 of runs/ in the place of the published 3 folds" in capsys.readouterr().out


def test_a_run_with_as_many_folds_displaces_its_published_result_without_a_word(trained, capsys):
    publish("exp100")
    main.main(["board"])
    assert "in the place of" not in capsys.readouterr().out and leaderboard.displaced() == []


def test_members_of_which_one_was_displaced_say_where_they_are_from(trained, capsys):
    for name in ("exp100", "exp101"):
        publish(name)
        shutil.rmtree(trained.runs / name)
    trained.run(tiny_experiment(epochs=1), "--fold", "0")
    with pytest.raises(SystemExit):
        main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    refusal = capsys.readouterr().err
    assert "exp101 (published) holds 3 folds and exp100 (runs/) fold 0 of 3; train the missing ones first" in refusal


# A part of the board


def test_the_board_of_one_data_set_leaves_the_others_out(trained, capsys):
    declare(trained, "exp101", data="other", parent="")
    capsys.readouterr()
    main.main(["board", "--data", "other"])
    printed = capsys.readouterr().out
    assert "\nexp101 " in printed and "\nexp100 " not in printed


def test_a_part_of_the_board_compares_with_parents_that_are_not_shown(trained):
    declare(trained, "exp101")
    chosen = leaderboard.Selection(names=["exp101"])
    (rows,) = leaderboard.rows_by_folds(results.all_results(), chosen.has).values()
    assert [row.result.name for row in rows] == ["exp101"] and rows[0].gain is not None
