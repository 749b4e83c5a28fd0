"""What a person sees in the terminal: lines, progress bars, and errors of one sentence."""

import codecs
import io
import os
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from chestfold.core.errors import ChestfoldError

for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):  # names of files and classes in a terminal that cannot show them
        _stream.reconfigure(errors="backslashreplace")
console = Console(highlight=False, quiet=os.environ.get("RANK", "0") != "0")
NATURAL = 100_000
"""Characters in a line of what goes into a file or another program: nothing is broken or cut there."""
REDRAW_SECONDS = 0.2
"""Between two messages of a bar that is drawn elsewhere: in a panel, or by another process."""

Message = tuple[Any, ...]
"""What a training shows: see `core.panel`, which draws it."""
_forward: Callable[[Message], None] | None = None


def forward_to(send: Callable[[Message], None] | None) -> None:
    """From now on this process sends what it would show; `Panel.receive` shows it. None: it shows it itself again."""
    global _forward
    _forward = send


def forward(*message: Any) -> None:
    """Send what only a panel shows; nothing where there is none."""
    if _forward is not None:
        _forward(message)


def is_live() -> bool:
    """Whether bars and panels are drawn: in a terminal, unless `CHESTFOLD_QUIET` is set."""
    return console.is_terminal and not console.quiet and not os.environ.get("CHESTFOLD_QUIET")


def say(text: str, short: str = "") -> None:
    """Print a line; brackets in it are text, not markup. `short` is printed where the terminal is too narrow for it."""
    if _forward is not None:
        _forward(("say", text, short))
    else:
        print_line(text, short)


def print_line(text: str, short: str = "") -> None:
    """What `say` does where nothing is forwarded. A terminal's lines end between words: no number is broken."""
    if console.is_terminal:
        if short and cell_len(text) > console.width:
            text = short
        text = "\n".join(_between_words(line, console.width) for line in text.split("\n"))
    console.print(text, markup=False, soft_wrap=True)


def _between_words(line: str, width: int) -> str:
    """In lines of `width`, but for longer words: a path can be copied."""
    if cell_len(line) <= width:
        return line
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


def detail(text: str, short: str = "") -> None:
    """Print a line that `CHESTFOLD_QUIET` leaves out."""
    if not os.environ.get("CHESTFOLD_QUIET"):
        say(text, short)


def print_written(text: str, form: str) -> None:
    """Print what another program reads, of `form` "json", "csv" or "markdown".

    A CSV that is redirected into a file begins with the mark (BOM) by which Excel knows UTF-8; in a pipe it does not.
    """
    if form == "csv" and _goes_into_a_file():
        sys.stdout.flush()
        sys.stdout.buffer.write(codecs.BOM_UTF8)
    print(text)


def _goes_into_a_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except io.UnsupportedOperation:  # what stands in the place of stdout is no file of the system
        return False


def plural(count: int, noun: str) -> str:
    """`1 fold`, `5 folds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_seconds(seconds: float) -> str:
    """`01:20`, or with hours `1:01:20`."""
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


def terminal_width() -> int:
    """Characters in a line: those of the terminal, or `COLUMNS`; in a pipe `NATURAL`."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return int(columns)
    return console.width if console.is_terminal else NATURAL


def show(table: Table) -> None:
    """Print a rich table: no cell is cut, and in a pipe no line ends in spaces."""
    for column in table.columns:
        column.overflow = "fold"
    shown = Console(highlight=False, width=terminal_width())
    with shown.capture() as captured:
        shown.print(table)
    text = captured.get()
    if not console.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    sys.stdout.write(text)


def show_lines(lines: Iterable[Text]) -> None:
    """Print lines that fit already, in their colours where there is a terminal."""
    for line in lines:
        console.print(line, soft_wrap=True)


def bar_width() -> int:
    """Characters of a bar: what the words beside it leave."""
    return min(40, max(8, console.width - 50))


def _bars() -> Progress:
    label = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    columns = [label, BarColumn(bar_width()), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, transient=True, disable=not is_live())


@contextmanager
def bar(label: str, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """A progress bar that vanishes at the end; call what it yields, `advance(count=1, remark="")`. Silent in a pipe."""
    if _forward is not None:
        yield _forwarded_bar(_forward, label, total, done)
        _forward(("end",))
        return
    with _bars() as shown:
        task = shown.add_task(label, total=total, completed=done)

        def advance(count: int = 1, remark: str = "") -> None:
            shown.update(task, advance=count, description=f"{label} {remark}".rstrip())

        yield advance


def _forwarded_bar(send: Callable[[Message], None], label: str, total: int, done: int) -> Callable[..., None]:
    send(("bar", label, total, done))
    sent_at = time.monotonic()

    def advance(count: int = 1, remark: str = "") -> None:
        nonlocal done, sent_at
        done += count
        if time.monotonic() - sent_at > REDRAW_SECONDS:
            send(("bar", f"{label} {remark}".rstrip(), total, done))
            sent_at = time.monotonic()

    return advance


def progress(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """`items`, with a progress bar while they are consumed."""
    with bar(label, total) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def waiting(label: str) -> Iterator[Callable[[str], None]]:
    """A line that moves while nothing can be counted; call what it yields to add a remark. Silent in a pipe."""
    if _forward is not None or not is_live():
        yield lambda remark: None
        return
    with console.status(label) as shown:
        yield lambda remark: shown.update(f"{label} {remark}")


def fail(error: ChestfoldError) -> NoReturn:
    """One sentence on stderr, exit code 2."""
    text = f"error: {error}"
    print(_between_words(text, console.width) if sys.stderr.isatty() else text, file=sys.stderr)
    raise SystemExit(2)
