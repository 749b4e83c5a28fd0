"""The tables that the terminal shows; intervals are printed under their figures."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from chestfold.core.files import published_dir, runs_dir
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.results import all_results, not_run

MAIN = ("result", "AUC", leaderboard.OF_FOLDS, "AUC, shifted", "F1", "accuracy", "AUC against parent")
"""Columns of the board in a terminal that is not wide enough for all."""
NARROW = ("result", "AUC", leaderboard.OF_FOLDS, "AUC, shifted", "AUC against parent")
ALL = (*leaderboard.HEADER[:2], leaderboard.OF_FOLDS, *leaderboard.HEADER[2:])
WIDE = 300
"""Characters that all columns need."""
MEDIUM = 110
"""Characters that the columns of `MAIN` need."""
WORDS = ("result", "what", "whose", "run", "with", "without", "sampling")
"""Columns of text: aligned left."""
EVERYTHING = leaderboard.Selection()
SYNTHETIC_MAIN = ("share", "with", "without", "sampling", "AUC gained", *synthetic_gain.RECALLS)


def boards(width: int, chosen: leaderboard.Selection = EVERYTHING) -> list[Table]:
    """The leaderboard for a terminal of `width` characters, a table for each fold file.

    Raises:
        InputError: there is no such result, or none on such a data set.
    """
    columns = _columns(width)
    results = list(all_results())
    chosen.require_known(results)
    tables = []
    for title, rows in leaderboard.rows_by_folds(results, chosen.has).items():
        competition = leaderboard.competition_column(rows[0].result.record)
        shown = [columns[0], *filter(None, [competition]), *columns[1:], *_of_hooks(rows[0], competition)]
        table = _table(f"{title}: out-of-fold, 95 % patient bootstrap", shown)
        for row in rows[: chosen.top]:
            texts = leaderboard.terminal_cells(row)
            _add_row(table, [texts[name] for name in shown])
        tables.append(table)
    return tables


def _of_hooks(row: leaderboard.Row, competition: str) -> list[str]:
    """The columns of metrics that only hooks have."""
    return [name for name in leaderboard.terminal_cells(row) if name not in (*ALL, competition)]


def _columns(width: int) -> Sequence[str]:
    if width >= WIDE:
        return ALL
    return MAIN if width >= MEDIUM else NARROW


def baseline_tables() -> list[Table]:
    """The sources' tables with all results of runs/ and exps/results/."""
    results = {result.name: result for result in all_results()}
    stopped = not_run(published_dir()) | not_run(runs_dir())
    tables = []
    for source, lines in published_baselines.filled_tables(results, stopped):
        table = _table(source.title, published_baselines.HEADER, source.note)
        for line in lines:
            _add_row(table, line)
        tables.append(table)
    return tables


def synthetic_tables() -> list[Table]:
    """Runs with synthetic images against runs without; no table where nothing is compared."""
    pairs = synthetic_gain.pairs(all_results())
    table = _table(synthetic_gain.TITLE, SYNTHETIC_MAIN, synthetic_gain.NOTE.replace("*", ""))
    for pair in pairs:
        texts = dict(zip(synthetic_gain.HEADER, synthetic_gain.cells(pair), strict=True))
        _add_row(table, [texts[name] for name in SYNTHETIC_MAIN])
    return [table] if pairs else []


def _table(title: str, columns: Sequence[str], caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", box=SIMPLE, padding=(0, 1))
    for name in columns:
        least = 24 if name == "what" and "minutes" in columns else min(12, len(name))
        table.add_column(name, justify="left" if name in WORDS else "right", min_width=least, overflow="fold")
    return table


def _add_row(table: Table, texts: Sequence[str]) -> None:
    shown = [escape(text.replace(" [", "\n[").replace(" ± ", "\n± ")) for text in texts]
    table.add_row(*shown, end_section=True)
