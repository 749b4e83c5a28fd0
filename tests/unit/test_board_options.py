"""`chestfold board NAME... --data --own --top`: which rows are shown, and that a narrow terminal cuts none."""

import io
import re

import pytest
from conftest import tiny_experiment
from rich.console import Console

from chestfold.cli.main import main
from chestfold.evaluate import leaderboard
from chestfold.report import terminal


def shown(capsys, *options: str) -> str:
    capsys.readouterr()
    main(["board", *options])
    return capsys.readouterr().out


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("  exp")]


def test_names_choose_rows(trained, capsys):
    assert sorted(names(shown(capsys))) == ["exp100", "exp101"]
    assert names(shown(capsys, "exp101")) == ["exp101"]


def test_own_leaves_published_results_out(trained, capsys):
    main(["publish", "exp100"])
    (trained.runs / "exp100").rename(trained.root / "elsewhere")
    assert sorted(names(shown(capsys))) == ["exp100", "exp101"]
    assert names(shown(capsys, "--own")) == ["exp101"]


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


@pytest.mark.parametrize("width", [80, 110, 300])
def test_no_figure_is_cut_in_a_narrow_terminal(trained, monkeypatch, width):
    texts = dict.fromkeys([*leaderboard.HEADER, leaderboard.OF_FOLDS], "0.9999 [0.9998, 0.9999]")
    texts |= {"result": "exp003-mobilenetv2", "AUC against parent": "-0.0008 [-0.0016, +0.0001]"}
    monkeypatch.setattr(leaderboard, "terminal_cells", lambda row: texts)
    console = Console(width=width, file=io.StringIO())
    for table in terminal.boards(width):
        console.print(table)
    text = console.file.getvalue()
    assert {"-0.0008", "[-0.0016,", "+0.0001]", "0.9999", "[0.9998,"} <= set(text.split())
    first_column = [line[2:].split(" ")[0] for line in text.splitlines()]
    assert "exp003-mobilenetv2" in "".join(first_column)


def test_quiet_runs_print_a_line_of_their_score(project, monkeypatch, capsys):
    monkeypatch.setenv("CHESTFOLD_QUIET", "1")
    project.run(tiny_experiment(), "--fold", "0")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("exp100: fold 0 of 3 collected in") and " AUC 0." in line for line in lines)
    assert not any("epoch" in line for line in lines)
    assert "epoch  1/2" in (project.runs / "exp100" / "fold0" / "log.txt").read_text()
