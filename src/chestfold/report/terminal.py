"""The tables that the terminal shows."""

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from chestfold.evaluate.leaderboard import HEADER, MAIN, WIDE, Row, cells, rows_by_folds
from chestfold.evaluate.results import all_results


def leaderboard(title: str, rows: list[Row], width: int) -> Table:
    """A rich table of the rows under one title: all columns where `width` characters hold them, else the main ones."""
    shown = HEADER if width >= WIDE else MAIN
    table = Table(
        title=f"{title}: out-of-fold, 95 % patient bootstrap", title_justify="left", box=SIMPLE, padding=(0, 1)
    )
    for name in shown:
        table.add_column(
            name,
            justify="left" if name in ("result", "what") else "right",
            min_width=24 if name == "what" else min(12, len(name)),
        )
    for row in rows:
        texts = dict(zip(HEADER, cells(row), strict=True))
        table.add_row(*[escape(texts[name].replace(" [", "\n[")) for name in shown], end_section=True)
    return table


def tables(width: int) -> list[Table]:
    """The board for a terminal of `width` characters, a table for each fold file."""
    return [leaderboard(title, rows, width) for title, rows in rows_by_folds(all_results()).items()]
