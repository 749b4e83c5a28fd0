"""The tables of `chestfold board` for programs: every column, of JSON and CSV with the figures as numbers."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from chestfold.evaluate.leaderboard import Value
from chestfold.report.terminal import Board, View, find_column, text_of


def as_json(made: Sequence[Board], view: View) -> str:
    """A list of tables, each with its rows; a figure has its value and the ends of its interval."""
    tables = []
    for board in made:
        rows = [{column: _plain_value(value) for column, value in row.items()} for row in _rows(board, view)]
        notes = [note.text for note in board.above[1:]]
        tables.append({"title": board.title, "notes": notes, "rows": rows})
    return json.dumps(tables, indent=2, ensure_ascii=False, allow_nan=False)


def _plain_value(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, (str, bool)) or value is None:
        return value
    return {name: None if math.isnan(number) else number for name, number in asdict(value).items()}


def as_csv(made: Sequence[Board], view: View) -> str:
    """A row for each result; an interval has a column for each end, `AUC low` and `AUC high`."""
    rows = []
    for board in made:
        for values in _rows(board, view):
            flat: dict[str, Any] = {"table": board.title}
            for column, value in values.items():
                plain = _plain_value(value)
                parts = plain if isinstance(plain, dict) else {"value": plain}
                for name, part in parts.items():
                    flat[column if name == "value" else f"{column} {name}"] = part
            rows.append(flat)
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n").removesuffix("\n")


def as_markdown(made: Sequence[Board], view: View) -> str:
    """A heading and a table for each board."""
    parts = []
    for board in made:
        rows = [{column: _text(column, value) for column, value in row.items()} for row in _rows(board, view)]
        parts += [f"## {board.title}", *(note.text for note in board.above[1:])]
        parts.append(markdown_table(list(rows[0]), [list(row.values()) for row in rows]))
    return "\n\n".join(parts)


def _text(column: str, value: Value | bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text_of(column, value)


def _rows(board: Board, view: View) -> list[dict[str, Any]]:
    """The chosen columns of each row, whether the result is one's own, and what must be read beside it."""
    rows = []
    for row, values in zip(board.rows, board.values, strict=True):
        columns = ["result", *(find_column(name, values) for name in view.columns)] if view.columns else list(values)
        own, marks = not row.result.is_published, "; ".join(mark.text for mark in row.marks)
        rows.append({column: values[column] for column in columns} | {"own": own, "marks": marks})
    return rows


FORMATS = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
"""Option of the board -> what makes its text."""


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; `|` in a cell becomes `/`."""
    lines = []
    for row in [header, *rows]:
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |")
    lines.insert(1, "|---" * len(header) + "|")
    return "\n".join(lines)
