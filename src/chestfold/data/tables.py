"""The tables that people bring: a CSV with every cell as text, and the line of the file that a row begins in."""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import read_text

T = TypeVar("T")
CELL_LIMIT = 1 << 30
"""Characters in a cell: masks are written into cells, and csv's own limit is lower than some of them."""
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Table:
    """A CSV file. `frame`: every cell as text, an empty one as ""; `lines`: where each row begins, counted from 1."""

    path: Path
    frame: pd.DataFrame
    lines: list[int]

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        return list(self.frame.columns)

    def where(self, row: int) -> str:
        """File and line of a row, as an editor shows them."""
        return f"{self.path}, line {self.lines[row]}"

    def require(self, *names: str, declared_in: str = "") -> None:
        """Raise `InputError` where a column is missing; `declared_in` may be changed to name another one."""
        for name in names:
            if name not in self.frame:
                way = f"; name the right one in {declared_in}" if declared_in else ""
                raise InputError(f"{self.path} has no column {name!r} (it has {', '.join(self.columns)}){way}")

    def cells(self, column: str) -> list[str]:
        """The cells of a column."""
        self.require(column)
        return self.frame[column].tolist()


def read_table(path: Path, id_column: str = "id") -> pd.DataFrame:
    """A CSV with every cell as text, empty cells as "".

    Raises:
        InputError: it cannot be read (see `open_table`), or lacks the column `id_column`.
    """
    table = open_table(path)
    table.require(id_column)
    return table.frame


def open_table(path: Path) -> Table:
    """A CSV in UTF-8, with or without BOM, whose cells are separated by commas.

    Lines without any text are no rows, and empty cells behind the last column are none. A column without a name that
    is not the last one is called `Unnamed: N`, as pandas does.

    Raises:
        InputError: it is missing, in another encoding, damaged, or has a row that is longer than its header; two of
            its columns have the same name.
    """
    records = list(_records(path))
    if not records:
        raise InputError(f"{path} is not a readable CSV: it is empty")
    header = _header(path, records[0][1])
    rows, lines = [], []
    for line, cells in records[1:]:
        rows.append(_fitted(path, line, cells, header))
        lines.append(line)
    return Table(path, pd.DataFrame(rows, columns=header, dtype="str"), lines)


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """First line and cells of each record that holds a text."""
    csv.field_size_limit(CELL_LIMIT)
    text = read_text(path)
    _require_commas(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path} is not a readable CSV: the row that begins in line {line}: {error}") from error


def _require_commas(path: Path, text: str) -> None:
    """Raise `InputError` where the first line has another separator, and no comma; what is in quotes does not count."""
    header = QUOTED.sub("", text.lstrip("\r\n").partition("\n")[0])
    for separator, plural in OTHER_SEPARATORS.items():
        if separator in header and "," not in header:
            raise InputError(f"{path}: its cells are separated by {plural}; save it as CSV with commas between them")


def _header(path: Path, cells: list[str]) -> list[str]:
    """Names of the columns, without the spaces around them."""
    names = [cell.strip() for cell in cells]
    while not names[-1]:
        names.pop()
    names = [name or f"Unnamed: {n}" for n, name in enumerate(names)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise InputError(f"{path} has {times} columns called {name!r}; rename or remove all but one")
    return names


def _fitted(path: Path, line: int, cells: list[str], header: list[str]) -> list[str]:
    """The cells of a row, as many as there are columns."""
    width = len(header)
    if any(cells[width:]):
        way = f"; its first line, {header[0]!r}, has to name the columns" if width == 1 else ""
        raise InputError(f"{path} is not a readable CSV: line {line} has {len(cells)} cells, its header {width}{way}")
    return cells[:width] + [""] * (width - len(cells))


def each_cell(cells: list[str], meaning: Callable[[str], T], where: Callable[[int], str]) -> list[T]:
    """What each cell means; `meaning` is asked once for each text.

    Raises:
        InputError: `meaning` raised `ValueError` with a complaint; names the first such row by `where`.
    """
    known: dict[str, T] = {}
    for row, cell in enumerate(cells):
        if cell in known:
            continue
        try:
            known[cell] = meaning(cell)
        except ValueError as error:
            raise InputError(f"{where(row)}: {error}") from error
    return [known[cell] for cell in cells]
