"""The last chapter of RESULTS.md: the command that makes each result again, with its main figures and its cost."""

from collections.abc import Mapping, Sequence

from chestfold.core.console import plural
from chestfold.evaluate import leaderboard
from chestfold.evaluate.leaderboard import Row, format_point
from chestfold.evaluate.marks import warning_of
from chestfold.evaluate.metrics import METRICS, metric_name
from chestfold.evaluate.results import Result, ResultRecord
from chestfold.report.commands import command
from chestfold.report.export import markdown_table

TITLE = "All results"
ABOUT = "The command that makes each result again, and the minutes that it trained."


def chapter(results: Mapping[str, Result]) -> list[str]:
    """All results by data set; those of some folds only are counted at the end.

    Runs that measure the data, without lungs or with a leak, stand in their own chapters.
    """
    whole: list[Row] = []
    partial: list[Row] = []
    for rows in leaderboard.rows_by_folds(results.values(), _is_recipe).values():
        for row in rows:
            (partial if row.result.record.folds.missing else whole).append(row)
    parts = [f"## {TITLE}", ABOUT]
    parts += _tables(whole)
    if partial:
        parts.append(f"Of some folds only: {plural(len(partial), 'result')}, to be seen with `chestfold board`.")
    if whole or partial:
        parts.append(_machines([*whole, *partial]))
    return parts


def _is_recipe(result: Result) -> bool:
    return not result.record.measures_the_data


def _comparable(rows: Sequence[Row]) -> list[list[Row]]:
    """Those of one data set, on the same folds and by the same metric, together."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        record = row.result.record
        key = (record.data, record.folds.sha256, metric_name(record.metric))
        found.setdefault(key, []).append(row)
    return list(found.values())


def _tables(rows: Sequence[Row]) -> list[str]:
    """One table for all of the same columns, in which each data set and its folds have a line before their results."""
    tables: dict[tuple[str, ...], list[list[str]]] = {}
    for together in _comparable(rows):
        first = together[0].result.record
        header = _header(first)
        cells = tables.setdefault(header, [])
        cells.append([_about(first), *[""] * (len(header) - 1)])
        cells += [_cells(row) for row in together]
    return [markdown_table(header, cells) for header, cells in tables.items()]


def _header(record: ResultRecord) -> tuple[str, ...]:
    """The data set's own metric stands first, where it is another one."""
    common = (METRICS["auc"].title, "AUC, shifted", "minutes")
    if metric_name(record.metric) == "auc":
        return ("command", *common)
    return ("command", record.competition_metric.title, *common)


def _about(record: ResultRecord) -> str:
    """A data set with its folds, and what is wrong with it."""
    warning = warning_of(record)
    text = f"**{record.data}** ({record.folds}, {record.folds.sha256[:8]})"
    return f"{text}; {warning}" if warning else text


def _cells(row: Row) -> list[str]:
    """A result under the header of its data set."""
    record = row.result.record
    figures = [format_point(row.scores["auc"]), format_point(row.result.score("corrupted", "auc"))]
    if metric_name(record.metric) != "auc":
        figures.insert(0, format_point(row.competition))
    return [f"`{command(record)}`", *figures, f"{record.minutes:.0f}"]


def _machines(rows: Sequence[Row]) -> str:
    """The processors that trained, with their threads, and when; older records count "1 threads"."""
    records = [row.result.record for row in rows]
    names = sorted({record.machine.replace(" 1 threads", " 1 thread") for record in records})
    dates = sorted({record.date for record in records})
    return f"Made on {'; '.join(names)}, from {dates[0]} to {dates[-1]}."
