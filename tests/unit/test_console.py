"""What a terminal shows while a run trains: the panel's lines at every width, the short epoch line, none in a pipe."""

import io
import math
import re
from dataclasses import dataclass

import pytest
from conftest import tiny_experiment
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chestfold.core import console, panel
from chestfold.core.panel import FoldStatus, Panel, sparkline
from chestfold.train import loop, progress, run

WIDTHS = [60, 80, 120]


@dataclass
class Terminal:
    """A terminal of some width, and what was written to it."""

    written: io.StringIO
    console: Console

    @property
    def text(self) -> str:
        return self.written.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    def open_one(width: int, height: int = 24) -> Terminal:
        written = io.StringIO()
        opened = Console(file=written, force_terminal=True, width=width, height=height, highlight=False, no_color=True)
        for module in (console, panel):
            monkeypatch.setattr(module, "console", opened)
        return Terminal(written, opened)

    monkeypatch.delenv("CHESTFOLD_QUIET", raising=False)
    yield open_one
    console.forward_to(None)


def rendered(opened: Terminal, shown: Panel) -> list[str]:
    with opened.console.capture() as captured:
        opened.console.print(shown.render())
    return Text.from_ansi(captured.get()).plain.splitlines()


def training(jobs: int) -> Panel:
    """A run of five folds, of which one is finished and `jobs` are in training."""
    shown = Panel("exp021-short@phantom", 5, jobs, finished=1)
    status = FoldStatus("sensitivity@0.95", (0.5, 0.7, 0.9, math.nan, 0.8), 3, 1234.5, 100.0, 400.0)
    for job in range(jobs):
        shown.receive(job, ("bar", f"fold {job + 1} predicting: similarity to training images", 1000, 10))
        shown.receive(job, ("fold", status))
        shown.receive(job, ("bar", f"fold {job + 1} predicting: similarity to training images", 1000, 250))
    return shown


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("jobs", [1, 3])
def test_the_panel_fits_and_says_where_each_fold_is(terminal, width, jobs):
    opened = terminal(width)
    lines = rendered(opened, training(jobs))
    assert all(cell_len(line.rstrip()) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "1 of 5 folds finished" in text and re.search(r"about \d\d:\d\d left", text)
    for job in range(jobs):
        assert f"fold {job + 1} predicting" in text
    assert text.count("250/1000") == jobs and text.count("best sensitivity@0.95 0.9000, epoch 3") == jobs


def test_many_folds_have_a_line_each_where_there_is_no_room_for_two(terminal):
    opened = terminal(120, height=12)
    assert len(rendered(opened, training(8))) <= 10


def test_the_rest_of_a_run_is_estimated_from_the_folds_in_training(terminal):
    terminal(80)
    shown = training(2)  # 100 s are left of each, and two folds of 400 s wait
    assert shown._seconds_left() == pytest.approx(500, abs=1)
    shown.receive(0, ("finished",))
    assert shown.finished == 2 and list(shown.rows) == [1]


def test_a_terminal_without_blocks_has_no_curve(terminal, monkeypatch):
    opened = terminal(80)
    assert "▁" in "".join(rendered(opened, training(1)))
    monkeypatch.setattr(type(opened.console), "encoding", "ascii")
    assert "▁" not in "".join(rendered(opened, training(1)))


@pytest.mark.parametrize(
    ("values", "curve"),
    [((0.5,), "▁"), ((0.0, 0.5, 1.0), "▁▅█"), ((0.3, math.nan, 0.9), "▁ █"), ((math.nan,), " "), ((), "")],
)
def test_a_curve_has_a_block_for_each_epoch(values, curve):
    assert sparkline(values) == curve


def test_a_fold_is_estimated_by_its_epochs_and_by_what_is_predicted_later():
    clock = progress.FoldClock(predicted_later=500)
    assert clock.seconds(3) is None
    clock.add_epoch(training=0.0, share=0.0, validation=2.0, validated=100)
    assert clock.seconds(3) is None
    clock.add_epoch(training=4.0, share=0.5, validation=2.0, validated=100)
    assert clock.seconds(3) == pytest.approx(3 * 10 + 500 * 2 / 100)


# A run


def test_a_run_in_a_terminal_is_shown_in_one_panel(project, terminal, monkeypatch):
    opened = terminal(80)
    frames, render = [], Panel.render

    def watched(shown):
        frames.append([(row.label, row.status) for row in shown.rows.values()])
        return render(shown)

    received = []
    receive = Panel.receive
    monkeypatch.setattr(Panel, "render", watched)
    monkeypatch.setattr(Panel, "receive", lambda shown, job, m: received.append(m) or receive(shown, job, m))
    project.run(tiny_experiment(), "--fold", "0")
    assert frames and [m for m in received if m[0] == "finished"] == [("finished",)]
    statuses = [m[1] for m in received if m[0] == "fold"]
    history = [len(status.values) for status in statuses]
    assert history == [0, 1, 2] and statuses[-1].seconds_left > 0
    labels = list(dict.fromkeys(m[1] for m in received if m[0] == "bar"))
    assert labels[:2] == ["fold 0 epoch 1/2", "fold 0 validating"] and "fold 0 predicting: shifted 8/8" in labels
    assert "fold 0  epoch  2/2  train" in opened.text and console._forward is None


def test_quiet_and_piped_runs_have_no_panel(project, terminal, monkeypatch):
    opened = terminal(80)
    monkeypatch.setenv("CHESTFOLD_QUIET", "1")
    monkeypatch.setattr(panel, "Live", None)
    assert not console.is_live()
    with panel.panel("exp100", 1), console.bar("fold 0", 2) as advance, console.waiting("scoring"):
        advance()
    assert opened.text == ""


def test_an_estimate_counts_what_is_predicted_after_the_last_epoch(project, monkeypatch):
    seen = []
    original = run.loop.fit
    monkeypatch.setattr(run.loop, "fit", lambda *given: seen.append((given[3], given[7])) or original(*given))
    project.run(tiny_experiment(tta="flip"), "--fold", "0")
    ((val, later),) = seen
    assert later == 2 * (len(val) + 12) + 8 * len(val) + (60 - len(val))


# Lines


ROW = {"epoch": 7, "train_loss": 0.5, "loss": 0.25, "auc": 0.75, "quadratic_kappa": 0.5, "seconds": 61.2}


@pytest.mark.parametrize("monitor", ["auc", "loss", "quadratic_kappa"])
def test_an_epoch_is_a_line_that_fits_and_the_best_has_a_star(monitor):
    long, short = loop.describe(tiny_experiment(monitor=monitor, epochs=24), 0, ROW, best=7)
    assert len(long) <= 80 and len(short) <= 60 and "01:01" in long
    assert long.startswith("fold 0  epoch  7/24  train 0.5000  loss 0.2500") and long.endswith(" *")
    assert not loop.describe(tiny_experiment(monitor=monitor), 0, ROW, best=6)[0].endswith("*")


def test_a_narrow_terminal_gets_the_short_line_and_a_pipe_the_long_one(terminal, capsys):
    opened = terminal(20)
    console.say("a line that does not fit", "a short one")
    assert opened.text == "a short one\n"


@pytest.mark.parametrize("width", [20, 40])
def test_lines_end_between_words(terminal, width):
    opened = terminal(width)
    console.say("AUC 0.8058 [0.6964, 0.8974] in /a/path/that/is/longer/than/the/terminal/scores.json")
    words = opened.text.split()
    assert "[0.6964," in words and "/a/path/that/is/longer/than/the/terminal/scores.json" in words


def test_a_table_is_not_cut_and_a_pipe_gets_no_spaces_at_the_end(monkeypatch, capsys):
    for columns in ("30", ""):
        monkeypatch.setenv("COLUMNS", columns)
        table = Table("name", "figure")
        table.add_row("a-name-that-is-longer-than-the-terminal-is", "0.9971")
        console.show(table)
        lines = capsys.readouterr().out.splitlines()
        assert not any(line.endswith(" ") or "…" in line for line in lines)
        letters = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
        assert letters == "a-name-that-is-longer-than-the-terminal-is" and "0.9971" in "".join(lines)
