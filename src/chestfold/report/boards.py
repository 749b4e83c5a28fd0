"""The leaderboards of the page, one for each fold file, and validation against the competition's leaderboard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import quote

from chestfold.evaluate import leaderboard
from chestfold.evaluate.leaderboard import Row
from chestfold.evaluate.metrics import Score
from chestfold.evaluate.results import Result
from chestfold.integrations.kaggle.submission import NOT_SENT, Standing
from chestfold.report import charts
from chestfold.report.markup import Html, join, table, tag


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and the number or text that it sorts by; None and NaN stand last either way."""

    content: Any
    sort: float | str | None


@dataclass(frozen=True)
class Column:
    """A column: its name, its cells, and whether its first sorting puts the smallest on top."""

    name: str
    cell: Callable[[Row, dict[str, str]], Cell]
    rising: bool = False


def boards(tables: Mapping[str, list[Row]], known: Mapping[str, Standing]) -> Html:
    """All leaderboards, in the board's order."""
    return join(_board(title, rows, known) for title, rows in tables.items())


def _board(title: str, rows: list[Row], known: Mapping[str, Standing]) -> Html:
    ends = charts.spread([v for row in rows for v in (row.auc.low, row.auc.high)])
    columns = _columns(rows, ends, known)
    head = [_header(column, column.name == "AUC") for column in columns]
    lines = []
    for row in rows:
        texts = dict(zip(leaderboard.HEADER, leaderboard.cells(row), strict=True))
        lines.append([_td(column, column.cell(row, texts)) for column in columns])
    note = f"Bars: AUC with its 95 % interval, from {ends[0]:.4f} to {ends[1]:.4f}."
    shown = table(head, lines, class_="board", label=f"Leaderboard: {title}")
    return tag("section", tag("h3", title), shown, tag("p", note, class_="note"), class_="card")


def _columns(rows: Sequence[Row], ends: tuple[float, float], known: Mapping[str, Standing]) -> list[Column]:
    columns = [
        Column("result", _name, rising=True),
        Column("AUC", lambda row, texts: _auc(row, texts, ends)),
        Column("AUC, shifted", lambda row, texts: _figure(texts["AUC, shifted"], row.corrupted)),
        Column("F1", lambda row, texts: _figure(texts["F1"], row.scores["f1"])),
        Column("accuracy", lambda row, texts: _figure(texts["accuracy"], row.scores["accuracy"])),
        Column("ECE", lambda row, texts: _figure(texts["ECE"], row.scores["ece"]), rising=True),
        Column("AUC against parent", lambda row, texts: _figure(texts["AUC against parent"], row.gain)),
    ]
    if any(row.test_auc for row in rows):
        columns.append(Column("test AUC", lambda row, texts: _figure(texts["test AUC"], row.test_auc)))
    sent = [known[row.result.name] for row in rows if row.result.name in known]
    if any(s.public is not None for s in sent):
        columns.append(Column("LB public", lambda row, _: _lb(known.get(row.result.name, NOT_SENT).public)))
    if any(s.private is not None for s in sent):
        columns.append(Column("LB private", lambda row, _: _lb(known.get(row.result.name, NOT_SENT).private)))
    return [
        *columns,
        Column("folds", lambda row, _: _folds(row.result)),
        Column("minutes", lambda row, texts: Cell(texts["minutes"], row.result.record.minutes), rising=True),
    ]


def _header(column: Column, sorted_by: bool) -> Html:
    """A button, so that the keyboard sorts too; `aria-sort` says the state, and the arrow shows it."""
    button = tag("button", column.name, tag("span", class_="arrow", aria_hidden="true"), type="button")
    return tag(
        "th",
        button,
        scope="col",
        aria_sort="descending" if sorted_by else "none",
        data_first="ascending" if column.rising else "descending",
    )


def _td(column: Column, cell: Cell) -> Html:
    sort = cell.sort if isinstance(cell.sort, str) or (cell.sort is not None and isfinite(cell.sort)) else ""
    if column.name == "result":
        return tag("th", cell.content, scope="row", data_sort=sort)
    return tag("td", cell.content, data_sort=sort)


def link(name: str) -> Html:
    """To the section of a result on this page."""
    return tag("a", name, href=f"#{quote(name)}")


def _name(row: Row, texts: dict[str, str]) -> Cell:
    return Cell(join([link(row.result.name), tag("div", row.what, class_="what")]), row.result.name)


def _auc(row: Row, texts: dict[str, str], ends: tuple[float, float]) -> Cell:
    score = row.auc
    mark = charts.whisker(score.value, score.low, score.high, ends)
    return Cell(tag("div", tag("span", figure(texts["AUC"])), mark, class_="measured"), score.value)


def _figure(words: str, score: Score | None) -> Cell:
    return Cell(figure(words), score.value if score else None)


def figure(words: str) -> Html:
    """A figure of the board, its interval smaller and on a line of its own; the text is the board's."""
    value, space, interval = words.partition(" ")
    return join([value, tag("span", space + interval, class_="interval")]) if interval else join([value])


def _lb(score: float | None) -> Cell:
    return Cell("-" if score is None else f"{score:g}", score)


def _folds(result: Result) -> Cell:
    trained = len(result.record.folds.trained)
    return Cell(f"{trained} of {result.record.folds.count}", trained)


def against_leaderboard(tables: Mapping[str, list[Row]], known: Mapping[str, Standing]) -> Html:
    """Validation across, the competition's leaderboard up: a chart for each table in which a score is known."""
    drawn = []
    for title, rows in tables.items():
        points = [_point(row, known[row.result.name]) for row in rows if row.result.name in known]
        if points:
            named = {known[row.result.name].competition for row in rows if row.result.name in known}
            caption = ": ".join(filter(None, [", ".join(sorted(named - {""})), title]))
            drawing = charts.scatter(f"Leaderboard over AUC: {caption}", points)
            drawn.append(tag("figure", tag("figcaption", caption), drawing))
    if drawn:
        return tag("div", *drawn, class_="charts wide card")
    return tag("p", "No submission has a score from a competition's leaderboard yet, so there is nothing to compare.")


def _point(row: Row, standing: Standing) -> charts.Point:
    auc = row.auc
    scores = {"public": standing.public, "private": standing.private}
    known = {kind: score for kind, score in scores.items() if score is not None}
    return charts.Point(row.result.name, auc.value, auc.low, auc.high, known)
