"""The last chapter of RESULTS.md: the command that makes each result again, with its main figures and its cost."""

from collections.abc import Mapping, Sequence

from chestfold.evaluate import leaderboard
from chestfold.evaluate.leaderboard import Row, format_point
from chestfold.evaluate.marks import warning_of
from chestfold.evaluate.metrics import METRICS, metric_name
from chestfold.evaluate.results import Result
from chestfold.report.commands import command
from chestfold.report.export import markdown_table

TITLE = "All results"
ABOUT = "The command that makes each result again, and the minutes that it trained. The board has all intervals."


def chapter(results: Mapping[str, Result]) -> list[str]:
    """A table for each data set; results of some folds only are named at the end.

    Runs that measure the data, without lungs or with a leak, stand in their own chapters.
    """
    whole: list[Row] = []
    partial: list[Row] = []
    for rows in leaderboard.rows_by_folds(results.values(), _is_recipe).values():
        for row in rows:
            (partial if row.result.record.folds.missing else whole).append(row)
    parts = [f"## {TITLE}", ABOUT]
    for rows in _by_data(whole).values():
        parts += _section(rows)
    if partial:
        names = ", ".join(row.result.name for row in partial)
        parts.append(f"Of some folds only, to be seen with `chestfold board`: {names}.")
    if whole or partial:
        parts.append(_machines([*whole, *partial]))
    return parts


def _is_recipe(result: Result) -> bool:
    return not result.record.measures_the_data


def _by_data(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Data set -> its rows, those of other folds after one another."""
    by_data: dict[str, list[Row]] = {}
    for row in rows:
        by_data.setdefault(row.result.record.data, []).append(row)
    return by_data


def _section(rows: Sequence[Row]) -> list[str]:
    """A data set with its folds, what is wrong with it, and a row for each result."""
    first = rows[0].result.record
    parts = [f"### {first.data} ({first.folds}, {first.folds.sha256[:8]})"]
    if warning_of(first):
        parts.append(warning_of(first))
    metric = metric_name(first.metric)
    header = ["command", METRICS["auc"].title, "AUC, shifted", "minutes"]
    if metric != "auc":
        header.insert(1, first.competition_metric.title)
    cells = []
    for row in rows:
        record = row.result.record
        figures = [format_point(row.scores["auc"]), format_point(row.result.score("corrupted", "auc"))]
        if metric != "auc":
            figures.insert(0, format_point(row.competition))
        cells.append([f"`{command(record)}`", *figures, f"{record.minutes:.0f}"])
    return [*parts, markdown_table(header, cells)]


def _machines(rows: Sequence[Row]) -> str:
    """The processors that trained, with their threads, and when; older records count "1 threads"."""
    records = [row.result.record for row in rows]
    names = sorted({record.machine.replace(" 1 threads", " 1 thread") for record in records})
    dates = sorted({record.date for record in records})
    return f"Made on {'; '.join(names)}, from {dates[0]} to {dates[-1]}."
