"""The page as a whole: one file, that asks for nothing from anywhere."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from chestfold.core.errors import InputError
from chestfold.core.files import published_dir, runs_dir, write_text
from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
from chestfold.evaluate.results import Result, all_results, not_run
from chestfold.integrations.kaggle.submission import standings
from chestfold.report import boards
from chestfold.report.document import asset, document
from chestfold.report.markup import Html, join, table, tag, text
from chestfold.report.pictures import Album
from chestfold.report.section import section

READING = (
    "Out-of-fold figures at threshold 0.5 (for more than two classes: the most probable one) with 95 % intervals by "
    "bootstrap over patients. AUC, shifted: the mean AUC of the same images under eight shifts of acquisition. AUC "
    "against parent: both on the same bootstrapped patients. ECE: calibration error of the top class."
)


def write_report(path: Path) -> int:
    """Write the page; returns how many results it shows.

    Raises:
        InputError: there is no result, one of them is damaged, or `path` cannot be a file.
    """
    if path.is_dir() or any(parent.is_file() for parent in path.parents):
        raise InputError(f"--out {path}: a file is needed, in a folder that is there or can be made")
    shown = [r for r in all_results() if not r.name.endswith("-debug")]
    if not shown:
        raise InputError("there is no finished result to report yet; start with: make demo")
    write_text(path, page(shown, datetime.now(UTC)))
    return len(shown)


def page(results: list[Result], now: datetime) -> str:
    """The page of these results, as text."""
    tables, known, album = leaderboard.rows_by_folds(results), standings(results), Album()
    rows = [row for group in tables.values() for row in group]
    names = {row.result.name for row in rows}
    chapters: dict[str, list[Html]] = {
        "Leaderboards": [tag("p", READING, class_="note"), boards.boards(tables, known), _training()],
        "Validation against the leaderboard": [boards.against_leaderboard(tables, known)],
        "Experiments": [section(row, names, album) for row in rows],
        synthetic_gain.TITLE: _worth(results),
        "The sources' tables": _sources(results),
    }
    filled = {title: parts for title, parts in chapters.items() if parts}
    main = tag("main", *[_chapter(title, *parts) for title, parts in filled.items()])
    pictures = Html(json.dumps(album.shown))
    data = tag("script", pictures, type="application/json", id="page:pictures")
    header = _header(len(results), list(filled), now)
    return document("chestfold: results", "script.js", asset("style.css"), header, main, data)


def _header(results: int, chapters: list[str], now: datetime) -> Html:
    count = f"{results} result{'s' * (results != 1)}"
    made = tag("time", f"{now:%Y-%m-%d %H:%M} UTC", datetime=now.isoformat(timespec="seconds"))
    links = [tag("a", title, href=f"#{_anchor(title)}") for title in chapters]
    return tag(
        "header",
        tag("h1", "chestfold: results"),
        tag("p", "Made ", made, f" from {count}. ", tag("strong", "Not for clinical use.")),
        tag("nav", *links, aria_label="Chapters"),
        tag("noscript", tag("p", "Sorting, links into experiments and pictures need JavaScript.")),
    )


def _anchor(title: str) -> str:
    """With a colon, which no name of a result on any system holds."""
    return "page:" + title.lower().translate(str.maketrans(" ", "-", "'?"))


def _chapter(title: str, *parts: Html) -> Html:
    return tag("section", tag("h2", title), *parts, id=_anchor(title), class_="chapter")


def _training() -> Html:
    lines = leaderboard.unfinished()
    if not lines:
        return Html()
    return tag(
        "div",
        tag("h3", "Not collected yet"),
        tag("ul", *[tag("li", line) for line in lines], class_="begun"),
        class_="card",
    )


def _worth(results: list[Result]) -> list[Html]:
    """What stands in the chapter on synthetic images; nothing where nothing is compared."""
    pairs = synthetic_gain.pairs(results)
    if not pairs:
        return []
    rows = [
        [_words(n, cell, synthetic_gain.HEADER) for n, cell in enumerate(synthetic_gain.cells(pair))] for pair in pairs
    ]
    shown = table(synthetic_gain.HEADER, rows, class_="worth", label=synthetic_gain.TITLE)
    note = tag("p", synthetic_gain.NOTE.replace("*", ""), class_="note")
    return [tag("section", note, shown, class_="card")]


def _sources(results: list[Result]) -> list[Html]:
    stopped = not_run(published_dir()) | not_run(runs_dir())
    shown = []
    for source, lines in published_baselines.filled_tables({r.name: r for r in results}, stopped):
        rows = [[_words(n, cell, published_baselines.HEADER) for n, cell in enumerate(line)] for line in lines]
        parts = [tag("h3", source.title), tag("p", source.note, class_="note")]
        shown.append(
            tag(
                "section",
                *parts,
                table(published_baselines.HEADER, rows, class_="source", label=source.title),
                class_="card",
            )
        )
    return shown


def _words(column: int, cell: str, header: Sequence[str]) -> Html:
    first = next(n for n, name in enumerate(header) if name.startswith("AUC"))
    return boards.figure(cell) if column >= first else join([text(cell)])
