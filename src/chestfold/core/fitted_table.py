"""A table that fits into a terminal of any width: it has fewer columns or more lines, but no cell is ever cut.

Tried in this order: the needed columns in one line for each row, the intervals of the less important ones left out, the
other intervals under their figures, and at last a block of lines for each row. What room is left is filled with further
columns, the most important first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

from chestfold.core.console import console

GAP = 2
"""Spaces between two columns."""


@dataclass(frozen=True)
class Cell:
    """A figure or words, and what may stand under it: an interval. `style`: of rich."""

    text: str
    doubt: str = ""
    style: str = ""

    def lines(self, stacked: bool, bare: bool = False) -> list[str]:
        """What is shown: in one line, or with the interval in a line of its own, or without it."""
        if bare or not self.doubt:
            return [self.text]
        return [self.text, self.doubt] if stacked else [f"{self.text} {self.doubt}"]


@dataclass(frozen=True)
class Note:
    """A sentence above or below a table."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Arrangement:
    """How rows are laid out. `stacked`: intervals under figures; `bare`: columns without theirs -> short title."""

    columns: list[str]
    stacked: bool = False
    bare: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FittedTable:
    """Rows of cells by the title of their column, in the order of `columns`.

    `needed`: the columns that are always shown, the first is what a row is called. `further`: the others, the most
    important first. `bare`: those of the needed that can do without their intervals -> a shorter title. `words`:
    columns that are aligned left.
    """

    columns: Sequence[str]
    rows: Sequence[dict[str, Cell]]
    needed: Sequence[str]
    further: Sequence[str] = ()
    bare: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()
    above: Sequence[Note] = ()
    below: Sequence[Note] = ()

    def lines(self, width: int) -> list[Text]:
        """What is printed, in lines of at most `width` characters (but for single words that are longer)."""
        arrangement = self._arrangement(width)
        body = self._blocks(width) if arrangement is None else self._grid(arrangement)
        return [*_wrapped(self.above, width, "bold"), *body, *_wrapped(self.below, width)]

    def _arrangement(self, width: int) -> Arrangement | None:
        """The first one that fits; None where none does."""
        for stacked, bare in ((False, {}), (False, self.bare), (True, self.bare)):
            chosen = Arrangement(list(self.needed), stacked, bare)
            if self._width(chosen) <= width:
                return self._filled(chosen, width)
        return None

    def _filled(self, arrangement: Arrangement, width: int) -> Arrangement:
        """With the further columns for which there is room."""
        chosen = set(arrangement.columns)
        for column in self.further:
            wider = Arrangement([*chosen, column], arrangement.stacked, arrangement.bare)
            if self._width(wider) <= width:
                chosen.add(column)
        columns = [column for column in self.columns if column in chosen]
        return Arrangement(columns, arrangement.stacked, arrangement.bare)

    def _width(self, arrangement: Arrangement) -> int:
        widths = [self._column_width(column, arrangement) for column in arrangement.columns]
        return sum(widths) + GAP * (len(widths) - 1)

    def _column_width(self, column: str, arrangement: Arrangement) -> int:
        """That of its widest cell and of its title, which may have several lines where cells have."""
        bare = column in arrangement.bare
        title = _title(column, arrangement)
        texts = title.split() if arrangement.stacked else [title]
        for row in self.rows:
            texts += row[column].lines(arrangement.stacked, bare)
        return max(map(cell_len, texts))

    def _grid(self, arrangement: Arrangement) -> list[Text]:
        """The titles, then a line or two for each row."""
        widths = {column: self._column_width(column, arrangement) for column in arrangement.columns}
        titles = {}
        for column, width in widths.items():
            titles[column] = [line.plain.rstrip() for line in Text(_title(column, arrangement)).wrap(console, width)]
        highest = max(map(len, titles.values()))
        titles = {column: [""] * (highest - len(title)) + title for column, title in titles.items()}
        lines = self._lines_of(titles, widths, dict.fromkeys(widths, "bold"))
        for row in self.rows:
            parts = {column: row[column].lines(arrangement.stacked, column in arrangement.bare) for column in widths}
            lines += self._lines_of(parts, widths, {column: row[column].style for column in widths})
        return lines

    def _lines_of(self, parts: dict[str, list[str]], widths: dict[str, int], styles: dict[str, str]) -> list[Text]:
        """The cells of a row, which may have several lines, side by side."""
        lines = []
        for number in range(max(map(len, parts.values()))):
            line = Text()
            for column, width in widths.items():
                text = parts[column][number] if number < len(parts[column]) else ""
                line.append(self._padded(column, text, width), styles[column]).append(" " * GAP)
            lines.append(_stripped(line))
        return lines

    def _padded(self, column: str, text: str, width: int) -> str:
        spaces = " " * (width - cell_len(text))
        return text + spaces if column in self.words else spaces + text

    def _blocks(self, width: int) -> list[Text]:
        """For each row what it is called, and under it the other needed columns, as many figures in a line as fit."""
        first, *others = self.needed
        longest = max(map(cell_len, others))
        lines = []
        for row in self.rows:
            lines += _wrapped([Note(row[first].text, "bold")], width)
            pieces = []
            for column in others:
                title = f"{column:<{longest}}"
                if column in self.words:
                    lines += _wrapped([Note(f"{title}  {row[column].text}")], width, indent="  ")
                else:
                    pieces.append(_piece(title, row[column], width))
            lines += _side_by_side(pieces, width)
        return lines


def _piece(title: str, cell: Cell, width: int) -> list[Text]:
    """A figure behind its title: in one line, or in two where that is too long."""
    before = f"  {title}  "
    (whole,) = cell.lines(stacked=False)
    texts = cell.lines(stacked=cell_len(before + whole) > width)
    lines = [Text(before).append(texts[0], cell.style)]
    for text in texts[1:]:
        lines.append(Text(" " * cell_len(before)).append(text, cell.style))
    return lines


def _title(column: str, arrangement: Arrangement) -> str:
    return arrangement.bare.get(column, column)


def _side_by_side(pieces: list[list[Text]], width: int) -> list[Text]:
    """As many of `pieces` in a line as fit, in columns of the same width; one of two lines has its own."""
    widest = max(line.cell_len for piece in pieces for line in piece)
    if any(len(piece) > 1 for piece in pieces):
        return [line for piece in pieces for line in piece]
    count = max(1, width // widest)
    lines = []
    for start in range(0, len(pieces), count):
        line = Text()
        for (piece,) in pieces[start : start + count]:
            line.append_text(piece).append(" " * (widest - piece.cell_len))
        lines.append(_stripped(line))
    return lines


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def _wrapped(notes: Iterable[Note], width: int, style: str = "", indent: str = "") -> list[Text]:
    """Sentences in lines of at most `width`, broken between words."""
    lines = []
    for note in notes:
        for line in Text(note.text).wrap(console, width - len(indent)):
            lines.append(Text(indent + line.plain.rstrip(), note.style or style))
    return lines
