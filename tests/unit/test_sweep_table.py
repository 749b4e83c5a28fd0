"""The table of a sweep by hand: how long a cell and the whole grid take, and which lines are printed."""

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Group
from rich.table import Table

from chestfold.core.panel import FoldStatus
from chestfold.train import sweep_table
from chestfold.train.sweep_table import (
    FAILED,
    FINISHED,
    LOCKED,
    TRAINING,
    WAITING,
    Cell,
    GridTable,
    show_failures,
)


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 1030 seconds."""
    monkeypatch.setattr(sweep_table, "time", SimpleNamespace(monotonic=lambda: 1030.0))


def training(left: float | None, whole: float | None = 300.0, since: float = 1000.0, fold: int = 0) -> Cell:
    """A cell that had so many seconds left 30 seconds ago."""
    status = FoldStatus("auc", (0.5,), seconds_left=left, seconds=whole)
    return Cell("exp100", fold, 10, TRAINING, epoch=1, status=status, status_at=since)


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        (training(100.0), 70.0),
        (training(100.0, since=1010.0), 80.0),
        (training(30.5), 0.5),
        (training(20.0), 0.0),
        (training(None), None),
        (Cell("exp100", 0, 10, TRAINING), None),
    ],
)
def test_what_is_left_of_a_cell_is_less_than_when_it_was_said(cell, left):
    assert cell.seconds_left == left


@pytest.mark.parametrize("state", [WAITING, LOCKED, FINISHED, FAILED])
def test_only_a_cell_in_training_has_seconds_left_and_two_states_are_the_last(state):
    cell = training(100.0)
    cell.state = state
    assert cell.seconds_left is None and cell.is_open == (state in (WAITING, LOCKED))
    assert training(100.0).is_open


def test_a_new_cell_waits_has_lost_nothing_and_may_be_looked_at_now():
    cell = Cell("exp100", 2, 10)
    assert (cell.state, cell.epoch, cell.reached, cell.losses, cell.has_begun) == (WAITING, 0, 0, 0, False)
    assert cell.status_at == cell.not_before == cell.appears_until == 0


def test_a_cell_takes_over_bars_and_figures():
    cell = Cell("exp100", 2, 10)
    cell.show("bar", ["fold 2 epoch 3/10", 40, 7])
    assert (cell.doing, cell.epoch, cell.status) == ("epoch 3/10 7/40", 0, None)
    cell.show("bar", ["fold 1 epoch 3/10", 40, 8])
    assert cell.doing == "fold 1 epoch 3/10 8/40", "the name of another fold stays"
    status = FoldStatus("auc", (0.5, 0.6, 0.7))
    cell.show("fold", [status])
    assert (cell.status, cell.status_at, cell.epoch) == (status, 1030.0, 3)
    assert cell.doing == "fold 1 epoch 3/10 8/40"


@pytest.mark.parametrize(
    ("waiting", "at_once", "left"),
    [(0, 2, 70), (1, 2, 70 + 250), (2, 2, 70 + 250), (3, 2, 70 + 2 * 250), (3, 3, 70 + 250), (3, 1, 70 + 3 * 250)],
)
def test_the_grid_takes_as_long_as_its_slowest_cell_and_the_rounds_of_those_that_wait(waiting, at_once, left):
    """Those in training have 70 and 10 seconds left, of 300 and 200: a waiting one takes 250. Those that are locked
    wait too, those that are finished or failed do not."""
    open_ones = [Cell("exp100", 2 + number, 10, (WAITING, LOCKED)[number % 2]) for number in range(waiting)]
    closed = [Cell("exp101", 0, 10, FINISHED), Cell("exp101", 1, 10, FAILED)]
    grid = [training(40.0, 200.0), training(100.0, 300.0), *open_ones, *closed]
    assert GridTable(grid, at_once).seconds_left() == left


@pytest.mark.parametrize("cells", [[], [Cell("exp100", 0, 10)], [training(None)], [training(100.0, None)]])
def test_of_a_grid_of_which_nothing_is_known_no_time_is_said(cells):
    assert GridTable(cells, 1).seconds_left() is None


def test_the_headline_counts_the_states_that_there_are():
    grid = [training(100.0), Cell("exp100", 1, 10), Cell("exp100", 2, 10, FAILED), Cell("exp100", 3, 10)]
    assert GridTable(grid, 2).headline() == (
        "4 cells: 1 training, 2 waiting, 1 failed  2 at once  about 06:10 left"  # 70 + 300 seconds
    )
    assert GridTable([Cell("exp100", 0, 10, LOCKED)], 1).headline() == "1 cell: 1 locked  1 at once"


def rows_of(table: GridTable) -> list[list[str]]:
    group = table.render()
    assert isinstance(group, Group)
    shown = group.renderables[1]
    assert isinstance(shown, Table)
    columns = [[str(cell) for cell in column.cells] for column in shown.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def test_a_row_says_what_there_is_to_say_in_the_state_of_its_cell():
    begun = training(100.0, fold=3)
    begun.place, begun.doing = "here", "epoch 2/10 7/40"
    done = Cell("exp100", 1, 10, FINISHED, place="there", doing="epoch 10/10", epoch=10)
    locked = Cell("exp100", 2, 10, LOCKED, place="there", doing="epoch 1/10")
    grid = [begun, done, locked, Cell("exp100", 4, 10, TRAINING), Cell("exp101", 0, 9, WAITING, place="lost")]
    assert rows_of(GridTable(grid, 2)) == [
        ["exp100", "3", "training epoch 2/10 7/40", "1/10", "here", "01:10"],
        ["exp100", "1", "finished", "10/10", "", ""],
        ["exp100", "2", "locked", "", "there", ""],
        ["exp100", "4", "training", "0/10", "", ""],
        ["exp101", "0", "waiting", "", "", ""],
    ]


@pytest.mark.parametrize(
    ("height", "folds"), [(20, "01234"), (11, "01234"), (10, "0124"), (9, "024"), (8, "02"), (7, "0"), (3, "0")]
)
def test_where_lines_are_few_the_finished_cells_stay_out_first(monkeypatch, height, folds):
    """Six lines are of other things, and one cell is always shown. Folds 1 and 3 are finished."""
    monkeypatch.setattr(sweep_table, "console", SimpleNamespace(height=height))
    states = [TRAINING, FINISHED, WAITING, FINISHED, WAITING]
    table = GridTable.__new__(GridTable)
    table._cells, table._at_once = [Cell("exp100", fold, 10, state) for fold, state in enumerate(states)], 1
    assert "".join(row[1] for row in rows_of(table)) == folds


@pytest.mark.parametrize("live", [True, False])
def test_a_change_is_a_line_unless_the_table_shows_it(monkeypatch, capsys, live):
    monkeypatch.setattr(sweep_table, "is_live", lambda: live)
    cell = Cell("exp100", 2, 10, place="node-7")
    table = GridTable([cell], 1)
    for state in (WAITING, TRAINING, TRAINING, LOCKED, WAITING, FINISHED):
        table.change(cell, state)
        assert cell.state == state
    cell.error = "the loss is nan"
    table.change(cell, FAILED)
    first = "exp100 fold 2: training, node-7\nexp100 fold 2: locked, node-7\nexp100 fold 2: waiting\n"
    last = "exp100 fold 2: finished\nexp100 fold 2: failed: the loss is nan\n"
    assert capsys.readouterr().out == ("" if live else first) + last


def test_a_cell_without_a_place_is_in_none(capsys):
    cell = Cell("exp100", 2, 10)
    GridTable([cell], 1).change(cell, TRAINING)
    assert capsys.readouterr().out == "exp100 fold 2: training\n"


@pytest.mark.parametrize(("live", "expected"), [(True, ["start", "stop"]), (False, ["stop"])])
def test_the_headline_is_said_once_and_the_table_drawn_in_a_terminal_alone(monkeypatch, capsys, live, expected):
    monkeypatch.setattr(sweep_table, "is_live", lambda: live)
    did: list[str] = []
    table = GridTable([Cell("exp100", 0, 10)], 1)
    assert table._live.transient, "nothing of it stays in the terminal"
    drawn: Any = SimpleNamespace(start=lambda: did.append("start"), stop=lambda: did.append("stop"))
    table._live = drawn
    with table as entered:
        assert entered is table
    assert did == expected and capsys.readouterr().out == "1 cell: 1 waiting  1 at once\n"


def test_failures_are_a_row_each(capsys):
    show_failures([Cell("exp100", 2, 10, FAILED, error="no image"), Cell("exp101", 0, 10, FAILED, error="no disk")])
    lines = [[word.strip() for word in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert lines[3:5] == [["exp100", "2", "no image"], ["exp101", "0", "no disk"]]
