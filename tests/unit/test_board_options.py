"""`chestfold board`: which rows and columns are shown, in which order, and what programs get."""

import codecs
import csv
import io
import json
import re
import shutil

import pytest
from conftest import tiny_experiment

from chestfold.cli.main import main
from chestfold.core.files import read_json, write_json
from chestfold.evaluate.results import find_result


def shown(capsys, *options: str) -> str:
    capsys.readouterr()
    main(["board", *options])
    return capsys.readouterr().out


def names(text: str) -> list[str]:
    return re.findall(r"^[* ]*(exp[^\s:,]+)(?=\s)", text, re.MULTILINE)


def test_names_choose_rows(trained, capsys):
    assert sorted(names(shown(capsys))) == ["exp100", "exp101"]
    assert names(shown(capsys, "exp101")) == ["exp101"]


def test_own_leaves_published_results_out(trained, capsys):
    main(["publish", "exp100"])
    (trained.runs / "exp100").rename(trained.root / "elsewhere")
    assert sorted(names(shown(capsys, "--all"))) == ["exp100", "exp101"]
    assert names(shown(capsys, "--own")) == ["exp101"]


def test_published_results_are_one_line_where_there_are_own_ones(trained, capsys):
    main(["publish", "exp100"])
    shutil.rmtree(trained.runs / "exp100")
    text = shown(capsys)
    assert names(text) == ["exp101"]
    assert "tiny, 3 folds: 1 published result: chestfold board --all --data tiny" in text
    assert names(shown(capsys, "exp100")) == ["exp100"]
    shutil.rmtree(trained.runs / "exp101")
    assert names(shown(capsys)) == ["exp100"]


def test_own_results_have_a_star_beside_published_ones_and_their_table_comes_first(trained, capsys):
    main(["publish", "exp100"])
    shutil.rmtree(trained.runs / "exp100")
    published = trained.root / "exps" / "results" / "a-copy"
    shutil.copytree(published.with_name("exp100"), published)
    write_json(published / "scores.json", read_json(published / "scores.json") | {"data": "another"})
    text = shown(capsys, "--all")
    assert re.findall(r"^\* (\S+)", text, re.MULTILINE) == ["exp101", "your"]
    assert text.startswith("tiny ") and "another (folds" in text


def test_top_shows_the_first_rows(trained, capsys):
    assert names(shown(capsys, "--top", "1")) == names(shown(capsys))[:1]


def test_data_chooses_tables(trained, capsys):
    assert len(names(shown(capsys, "--data", "tiny"))) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [(["exp10"], "no result 'exp10'.*did you mean exp10"), (["--data", "other"], "no result on the data set 'other'")],
)
def test_an_unknown_name_is_said(trained, capsys, options, sentence):
    with pytest.raises(SystemExit):
        main(["board", *options])
    assert re.search(sentence, capsys.readouterr().err)


def begin(trained, name: str) -> None:
    """A run of which nothing is collected."""
    shutil.copytree(trained.runs / "exp100", trained.runs / name)
    (trained.runs / name / "scores.json").unlink()


def test_a_run_that_is_not_shown_is_said_to_be_why(trained, capsys):
    begin(trained, "exp102")
    shutil.copytree(trained.runs / "exp100", trained.runs / "exp100-debug")
    for name, reason in (("exp102", "exp102 is not finished"), ("exp100-debug", "exp100-debug is a debug run")):
        with pytest.raises(SystemExit):
            main(["board", name])
        assert reason in capsys.readouterr().err


# Columns and order


def test_columns_are_chosen(trained, capsys):
    header = shown(capsys, "--columns", "auc-shifted,F1 tuned,minutes").splitlines()[2]
    assert re.split(r"  +", header.strip()) == ["result", "AUC shifted", "F1 tuned", "minutes"]


@pytest.mark.parametrize(("column", "best_first"), [("f1", max), ("ece", min), ("minutes", min)])
def test_rows_are_sorted_by_a_column_the_best_first(trained, capsys, column, best_first):
    scores = {"exp100": (0.7, 3.0), "exp101": (0.9, 2.0)}
    for name, (figure, minutes) in scores.items():
        path = trained.runs / name / "scores.json"
        about = read_json(path)
        figures = {"value": figure, "low": 0.1, "high": 1.0}
        about["scores"]["at_half"] |= {"f1": figures, "ece": figures}
        write_json(path, about | {"minutes": minutes})
    number = 1 if column == "minutes" else 0
    first = best_first(scores, key=lambda name: scores[name][number])
    assert names(shown(capsys, "--sort", column))[0] == first


@pytest.mark.parametrize("option", ["--columns", "--sort"])
def test_an_unknown_column_is_said(trained, capsys, option):
    with pytest.raises(SystemExit):
        main(["board", option, "gian"])
    assert "no column 'gian'; did you mean gain?" in capsys.readouterr().err


# For programs


def declare_parent(trained) -> None:
    path = trained.runs / "exp101" / "scores.json"
    write_json(path, read_json(path) | {"parent": "exp100", "changed": {"seed": [0, 1]}})


def test_json_has_figures_as_numbers(trained, capsys):
    declare_parent(trained)
    (table,) = json.loads(shown(capsys, "--json"))
    row = next(row for row in table["rows"] if row["result"] == "exp101")
    auc = find_result("exp101").score("at_half", "auc")
    assert row["AUC"] == {"value": auc.value, "low": auc.low, "high": auc.high}
    assert set(row["gain"]) == {"value", "low", "high"} and row["parent"] == "exp100"
    assert row["test AUC"] is None and row["own"] is True and isinstance(row["minutes"], float)


def test_csv_has_a_column_for_each_end_of_an_interval(trained, capsys):
    declare_parent(trained)
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "--csv"))))
    row = next(row for row in rows if row["result"] == "exp101")
    auc = find_result("exp101").score("at_half", "auc")
    assert [float(row[name]) for name in ("AUC", "AUC low", "AUC high")] == [auc.value, auc.low, auc.high]
    assert row["what"] == "exp100 but seed 1" and row["test AUC"] == ""


def test_markdown_has_a_table_of_texts(trained, capsys):
    lines = shown(capsys, "--markdown", "--columns", "auc").splitlines()
    auc = find_result("exp101").score("at_half", "auc")
    assert lines[0].startswith("## tiny (folds/tiny.csv") and any(
        line.startswith(f"| exp101 | {auc} | yes |") for line in lines
    )


@pytest.mark.parametrize("table", ["sources", "synthetic"])
def test_other_tables_are_not_written_for_programs(trained, capsys, table):
    with pytest.raises(SystemExit):
        main(["board", "--table", table, "--json"])
    assert "RESULTS.md holds the table" in capsys.readouterr().err


def test_quiet_runs_print_a_line_of_their_score(project, monkeypatch, capsys):
    monkeypatch.setenv("CHESTFOLD_QUIET", "1")
    project.run(tiny_experiment(), "--fold", "0")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("exp100: fold 0 of 3 collected in") and " AUC 0." in line for line in lines)
    assert not any("epoch" in line for line in lines)
    assert "epoch  1/2" in (project.runs / "exp100" / "fold0" / "log.txt").read_text()


@pytest.mark.parametrize("argv", [["board", "--csv"], ["compare", "exp100", "exp101", "--csv"]])
def test_a_csv_that_becomes_a_file_is_for_excel_too(trained, tmp_path, monkeypatch, argv):
    with (tmp_path / "out.csv").open("w", encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdout", file)
        main(argv)
    written = (tmp_path / "out.csv").read_bytes()
    assert written.startswith(codecs.BOM_UTF8) and written.count(codecs.BOM_UTF8) == 1
    assert len(list(csv.DictReader(written.decode("utf-8-sig").splitlines()))) >= 2


@pytest.mark.parametrize("form", ["--json", "--markdown"])
def test_other_forms_have_no_mark(trained, tmp_path, monkeypatch, form):
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        monkeypatch.setattr("sys.stdout", file)
        main(["board", form])
    assert not (tmp_path / "out").read_bytes().startswith(codecs.BOM_UTF8)
