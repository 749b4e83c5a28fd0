"""The tables of `chestfold board` for people: as many columns as fit into their terminal."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chestfold.core.config import did_you_mean
from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, runs_dir
from chestfold.core.fitted_table import Cell, FittedTable, Note
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.leaderboard import Row, Value
from chestfold.evaluate.marks import best_without_lungs, facts_of, without_lungs
from chestfold.evaluate.metrics import METRICS
from chestfold.evaluate.results import Result, all_results, not_run

TITLES = {"recall": "sensitivity", "AUC, shifted": "AUC shifted", leaderboard.GAIN: "gain"}
"""Columns that have another name here: short, and without a comma, so that `--columns` can name several."""
OF_PARENT = (leaderboard.FALSE, leaderboard.PARENT)
ORDER = ("result", "AUC", "sensitivity", "specificity", "gain", *OF_PARENT, leaderboard.OF_FOLDS, "AUC shifted")
"""The first columns; the others follow as the leaderboard has them."""
FURTHER = (*reversed(OF_PARENT), leaderboard.OF_FOLDS, "AUC shifted", "what", "F1", "accuracy", "ECE", "AUC")
"""What is shown besides where there is room, the most important first; then the others."""
BARE = {"sensitivity": "sens.", "specificity": "spec."}
WORDS = ("result", "parent", "what", "whose", "run", "with", "without", "sampling")
OWN = "* "
"""Before the name of one's own result, where published ones stand beside it."""


@dataclass(frozen=True)
class View:
    """How the board is shown: `everything`: published results too where there are own ones; `columns`, `sort`: titles
    as they are typed, none: those that fit, by the competition's metric."""

    everything: bool = False
    columns: Sequence[str] = ()
    sort: str = ""


@dataclass(frozen=True)
class Board:
    """Results on the same images and folds: column -> value of each row, and what stands above and below."""

    title: str
    rows: list[Row]
    values: list[dict[str, Value]]
    above: list[Note]
    below: list[Note]

    @property
    def competition(self) -> str:
        """Title of the column that the rows are sorted by."""
        return leaderboard.competition_column(self.rows[0].result.record) or "AUC"

    @property
    def starred(self) -> bool:
        """Whether own results stand beside published ones."""
        return len({row.result.is_published for row in self.rows}) == 2


def boards(chosen: leaderboard.Selection, view: View) -> tuple[list[Board], list[str]]:
    """The leaderboard, a table for each fold file, those with own results first; and a line for each that is left out.

    Raises:
        InputError: there is no such result, column, or none on such a data set; a result is of a debug run.
    """
    results = list(all_results())
    chosen.require_known(results)
    for result in results:
        if result.is_debug and result.name in chosen.names:
            raise InputError(f"{result.name} is a debug run: its scores mean nothing, the board does not show them")
    wanted = [result for result in results if chosen.has(result) and not result.is_debug]
    has_own = any(not result.is_published for result in wanted)
    if has_own and not view.everything and not chosen.names:
        hidden = [result for result in wanted if result.is_published]
    else:
        hidden = []
    shown = {result.name for result in wanted} - {result.name for result in hidden}
    tables = leaderboard.rows_by_folds(results, lambda result: result.name in shown)
    made = [_board(rows, chosen.top, view, results) for rows in tables.values()]
    made.sort(key=lambda board: all(row.result.is_published for row in board.rows))
    return made, list(_left_out(hidden))


def _left_out(hidden: Iterable[Result]) -> Iterable[str]:
    counts: dict[tuple[str, str], int] = {}
    for result in hidden:
        table = (result.record.data, str(result.record.folds))
        counts[table] = counts.get(table, 0) + 1
    for (data, folds), count in sorted(counts.items()):
        yield f"{data}, {folds}: {plural(count, 'published result')}: chestfold board --all --data {data}"


def _board(rows: list[Row], top: int | None, view: View, results: list[Result]) -> Board:
    pairs = [(row, _values(row)) for row in rows]
    if view.sort:
        column = find_column(view.sort, pairs[0][1])
        pairs.sort(key=lambda pair: _sort_key(column, pair[1][column]))
    pairs = pairs[:top]
    title = leaderboard.table_title(rows[0].result.record)
    facts = facts_of(rows[0].result)
    above = [Note(f"{title}: out-of-fold, 95 % patient bootstrap", "bold"), Note(facts.sentence(), "dim")]
    if facts.warning:
        above.append(Note(facts.warning, "yellow"))
    black = best_without_lungs(results, rows[0].result.record.data)
    if black:
        above.append(Note(without_lungs(black), "dim"))
    made = Board(title, [row for row, _ in pairs], [values for _, values in pairs], above, [])
    for text, names in _marked(made.rows).items():
        made.below.append(Note(f"{', '.join(names)}: {text}", "yellow"))
    if made.starred:
        made.below.append(Note(f"{OWN}your own, in runs/", "dim"))
    return made


def _marked(rows: Iterable[Row]) -> dict[str, list[str]]:
    """What must be read beside figures -> the results that it is said of."""
    marked: dict[str, list[str]] = {}
    for row in rows:
        if row.marks:
            marked.setdefault("; ".join(mark.text for mark in row.marks), []).append(row.result.name)
    return marked


def _values(row: Row) -> dict[str, Value]:
    """Column -> value, the columns in the order in which they are shown."""
    named = {TITLES.get(column, column): value for column, value in leaderboard.terminal_values(row).items()}
    competition = leaderboard.competition_column(row.result.record)
    first = [column for column in (ORDER[0], competition, *ORDER[1:]) if column]
    return {column: named[column] for column in dict.fromkeys([*first, *named])}


def _sort_key(column: str, value: Value) -> tuple[bool, Any]:
    """The best first, words by the alphabet, what is missing last."""
    if isinstance(value, str):
        return False, value
    number = _number(value)
    if math.isnan(number):
        return True, 0.0
    ascending = {metric.title for metric in METRICS.values() if not metric.higher_is_better} | {"minutes", "p false"}
    return False, number if column.removesuffix(" (competition)") in ascending else -number


def _number(value: Value) -> float:
    if value is None or isinstance(value, str):
        return math.nan
    return value if isinstance(value, float) else value.value


def find_column(typed: str, columns: Iterable[str]) -> str:
    """The column that is meant by `auc-shifted` or `AUC shifted`; `InputError` where there is none."""
    known = {_plain(column): column for column in columns}
    if _plain(typed) not in known:
        hint = did_you_mean(_plain(typed), list(known))
        raise InputError(f"no column {typed!r}{hint}; there are {', '.join(known)}")
    return known[_plain(typed)]


def _plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def fitted(board: Board, view: View, with_empty: bool = True) -> FittedTable:
    """A board for the terminal; `with_empty`: also columns in which no row has a figure."""
    columns = list(board.values[0])
    needed = ["result", board.competition, "sensitivity", "specificity", "gain"]
    if view.columns:
        columns = ["result", *(find_column(name, columns) for name in view.columns)]
        needed = columns
    rows = []
    for row, values in zip(board.rows, board.values, strict=True):
        cells = {column: _cell(column, values[column]) for column in columns}
        cells["result"] = _name(row, board.starred)
        rows.append(cells)
    return FittedTable(
        columns,
        rows,
        needed=needed,
        further=[column for column in _by_importance(columns, needed) if with_empty or _has_figure(board, column)],
        bare=BARE if not view.columns else {},
        words=WORDS,
        above=board.above,
        below=board.below,
    )


def _by_importance(columns: list[str], needed: list[str]) -> list[str]:
    return [column for column in dict.fromkeys([*FURTHER, *columns]) if column in columns and column not in needed]


def _has_figure(board: Board, column: str) -> bool:
    return any(values[column] is not None for values in board.values)


def _name(row: Row, starred: bool) -> Cell:
    own = not row.result.is_published
    before = OWN if own else " " * len(OWN)
    return Cell((before if starred else "") + row.result.name, style="bold" if own else "")


def _cell(column: str, value: Value) -> Cell:
    text, style = text_of(column, value), ""
    if column == "gain" and isinstance(value, Score):
        style = "green" if value.low > 0 else "red" if value.high < 0 else "dim"
    return _split(column, text, style)


def text_of(column: str, value: Value) -> str:
    """What a cell of a column says."""
    return leaderboard.format_cell(leaderboard.GAIN if column == "gain" else column, value)


def _split(column: str, text: str, style: str = "") -> Cell:
    """A cell whose interval or deviation may stand in a line of its own."""
    for mark in (" [", " ±"):
        if mark in text and column not in WORDS:
            figure, _, doubt = text.partition(mark)
            return Cell(figure, mark.lstrip() + doubt, style)
    return Cell(text, style=style)


# The other tables


def baseline_tables() -> list[FittedTable]:
    """The sources' tables with all results of runs/ and exps/results/."""
    results = {result.name: result for result in all_results()}
    stopped = not_run(published_dir()) | not_run(runs_dir())
    tables = []
    for source, lines in published_baselines.filled_tables(results, stopped):
        header = published_baselines.HEADER
        tables.append(_of_texts(header, lines, header, source.title, source.note))
    return tables


def synthetic_tables() -> list[FittedTable]:
    """Runs with synthetic images against runs without; no table where nothing is compared."""
    pairs = synthetic_gain.pairs(all_results())
    if not pairs:
        return []
    header, note = synthetic_gain.HEADER, synthetic_gain.NOTE.replace("*", "")
    needed = header[: header.index(synthetic_gain.RECALLS[-1]) + 1]
    return [_of_texts(header, map(synthetic_gain.cells, pairs), needed, synthetic_gain.TITLE, note)]


def _of_texts(
    header: Sequence[str], lines: Iterable[Sequence[str]], needed: Sequence[str], title: str, note: str
) -> FittedTable:
    rows = [dict(zip(header, map(_split, header, line), strict=True)) for line in lines]
    further = [column for column in header if column not in needed]
    above, below = [Note(title, "bold")], [Note(note, "dim")]
    return FittedTable(header, rows, needed, further, words=WORDS, above=above, below=below)
