"""The page of all results: one file."""

from datetime import UTC, datetime
from pathlib import Path

from chestfold.core.console import plural
from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, runs_dir, write_text
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.metrics import ECE_BINS
from chestfold.evaluate.results import Result, all_results, not_run
from chestfold.integrations.kaggle.submission import standings
from chestfold.report.boards import against_leaderboard, boards
from chestfold.report.render import Table, render
from chestfold.report.section import section
from chestfold.report.worst_errors import PIXELS, Thumbnails


def write_report(path: Path) -> int:
    """Write the page; returns how many results it shows.

    Raises:
        InputError: there is no result, one of them is damaged, or `path` cannot be a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    shown = [result for result in all_results() if not result.is_debug]
    if not shown:
        raise InputError("there is no finished result to report yet; start with: make demo")
    write_text(path, page(shown, datetime.now(UTC)))
    return len(shown)


def page(results: list[Result], now: datetime) -> str:
    """The page of these results, as text."""
    tables = leaderboard.rows_by_folds(results)
    known = standings(results)
    thumbnails = Thumbnails()
    sections = [section(row, thumbnails) for rows in tables.values() for row in rows]
    return render(
        "page.html",
        script="script.js",
        styles=["style.css"],
        now=now,
        count=plural(len(results), "result"),
        boards=boards(tables, known),
        unfinished=leaderboard.unfinished(),
        scatter=against_leaderboard(tables, known),
        results=sections,
        sections={shown.record.name for shown in sections},
        gains=_synthetic_gains(results),
        sources=_sources(results),
        images=thumbnails.uris,
        thumbnail_px=PIXELS,
        bin_count=ECE_BINS,
    )


def _synthetic_gains(results: list[Result]) -> Table | None:
    """What synthetic images gain; None where nothing is compared."""
    rows = [synthetic_gain.cells(pair) for pair in synthetic_gain.pairs(results)]
    if not rows:
        return None
    head = list(synthetic_gain.HEADER)
    note = synthetic_gain.NOTE.replace("*", "")
    return Table(synthetic_gain.TITLE, head, rows, head.index("AUC gained"), note)


def _sources(results: list[Result]) -> list[Table]:
    """The sources' tables, filled with our results."""
    stopped = not_run(published_dir()) | not_run(runs_dir())
    by_name = {result.name: result for result in results}
    head = list(published_baselines.HEADER)
    tables = []
    for source, rows in published_baselines.filled_tables(by_name, stopped):
        tables.append(Table(source.title, head, rows, head.index("AUC"), source.note))
    return tables
