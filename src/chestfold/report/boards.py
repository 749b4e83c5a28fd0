"""The leaderboards of the page, one for each fold file, and validation against the competition's leaderboard."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from chestfold.evaluate import leaderboard
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.leaderboard import Row
from chestfold.integrations.kaggle.submission import NOT_SENT, Standing
from chestfold.report.charts import Axes, Ends, spread

OPTIONAL = ("test AUC", "LB public", "LB private")
"""Columns that are left out where no row has a figure."""


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and the number that it sorts by; "" sorts last."""

    text: str
    sort: float | str


@dataclass(frozen=True)
class Board:
    """A leaderboard. `rows`: each with its cells by column.

    `measured`: the column by which it is sorted; `ends`: of the axis that the figures of all rows in it share.
    """

    title: str
    columns: list[str]
    rows: list[tuple[Row, dict[str, Cell]]]
    measured: str
    ends: Ends


@dataclass(frozen=True)
class Scatter:
    """Scores on a leaderboard over validation. `points`: a result's name, its figure, and its scores by leaderboard."""

    caption: str
    axes: Axes
    points: list[tuple[str, Score, dict[str, float]]]


def boards(tables: Mapping[str, list[Row]], known: Mapping[str, Standing]) -> list[Board]:
    """All leaderboards, in the order of `tables`."""
    return [_board(title, rows, known) for title, rows in tables.items()]


def _board(title: str, rows: list[Row], known: Mapping[str, Standing]) -> Board:
    lines = [(row, _cells(row, known.get(row.result.name, NOT_SENT))) for row in rows]
    columns = []
    for name in lines[0][1]:
        if name not in OPTIONAL or any(cells[name].text != "-" for _, cells in lines):
            columns.append(name)
    measured = leaderboard.competition_column(rows[0].result.record) or "AUC"
    return Board(title, columns, lines, measured, spread(_ends(rows)))


def _ends(rows: list[Row]) -> list[float]:
    """Of the intervals by which a board is sorted."""
    ends = []
    for row in rows:
        ends += [row.competition.low, row.competition.high]
    return ends


def _cells(row: Row, standing: Standing) -> dict[str, Cell]:
    scores = {
        "AUC": row.scores["auc"],
        "AUC, shifted": row.corrupted,
        "F1": row.scores["f1"],
        "accuracy": row.scores["accuracy"],
        "ECE": row.scores["ece"],
        "AUC against parent": row.gain,
        "test AUC": row.test_auc,
    }
    texts = leaderboard.texts_of(row)
    competition = leaderboard.competition_column(row.result.record)
    if competition:
        scores = {competition: row.competition, **scores}
    cells = {name: Cell(texts[name], _sort_key(score)) for name, score in scores.items()}
    for name, score in (("LB public", standing.public), ("LB private", standing.private)):
        cells[name] = Cell("-", "") if score is None else Cell(f"{score:g}", score)
    record = row.result.record
    trained = len(record.folds.trained)
    cells["folds"] = Cell(f"{trained} of {record.folds.count}", trained)
    cells["minutes"] = Cell(texts["minutes"], record.minutes)
    return cells


def _sort_key(score: Score | None) -> float | str:
    return score.value if score and isfinite(score.value) else ""


def against_leaderboard(tables: Mapping[str, list[Row]], known: Mapping[str, Standing]) -> list[Scatter]:
    """A scatter plot for each table in which a score is known."""
    found = []
    for title, rows in tables.items():
        sent = [row for row in rows if row.result.name in known]
        if sent:
            competitions = sorted({known[row.result.name].competition for row in sent} - {""})
            caption = f"{', '.join(competitions)}: {title}" if competitions else title
            found.append(
                _scatter(caption, [(row.result.name, row.competition, _scores(known[row.result.name])) for row in sent])
            )
    return found


def _scatter(caption: str, points: list[tuple[str, Score, dict[str, float]]]) -> Scatter:
    x = spread([end for _, auc, _ in points for end in (auc.low, auc.high)])
    y = spread([score for _, _, scores in points for score in scores.values()], 0.15)
    return Scatter(caption, Axes(x, y, width=520, height=320), points)


def _scores(standing: Standing) -> dict[str, float]:
    scores = {"public": standing.public, "private": standing.private}
    return {kind: score for kind, score in scores.items() if score is not None}
