"""What a person sees in the terminal: lines, progress bars, and errors of one sentence."""

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chestfold.core.errors import ChestfoldError

for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):  # names of files and classes in a terminal that cannot show them
        _stream.reconfigure(errors="backslashreplace")
console = Console(highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0")
PIPED = 300
"""Characters in a line of what goes into a file or another program: enough for every column of the board."""
REDRAW_SECONDS = 0.2
"""Between two messages of a bar that is drawn by another process."""

Message = tuple[Any, ...]
"""`("say", text)`, or `("bar", label, total, done)` and `("end",)`, from a process that has no terminal of its own."""
_forward: Callable[[Message], None] | None = None


def forward_to(send: Callable[[Message], None]) -> None:
    """From now on this process sends what it would print; `JobsDisplay.receive` prints it in another one."""
    global _forward
    _forward = send


def say(text: str) -> None:
    """Print a line; brackets in it are text, not markup."""
    if _forward is not None:
        _forward(("say", text))
    else:
        console.print(text, markup=False)


def detail(text: str) -> None:
    """Print a line that `CHESTFOLD_QUIET` leaves out."""
    if not os.environ.get("CHESTFOLD_QUIET"):
        say(text)


def plural(count: int, noun: str) -> str:
    """`1 fold`, `5 folds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def terminal_width() -> int:
    """Characters in a line; enough for the widest table where there is no terminal to ask."""
    return console.width if console.is_terminal else PIPED


def show(renderable: Any) -> None:
    """Print a rich table."""
    Console(highlight=False, width=terminal_width()).print(renderable)


def _bars() -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


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
    sent_at = 0.0

    def advance(count: int = 1, remark: str = "") -> None:
        nonlocal done, sent_at
        done += count
        if time.monotonic() - sent_at > REDRAW_SECONDS:
            send(("bar", f"{label} {remark}".rstrip(), total, done))
            sent_at = time.monotonic()

    return advance


class JobsDisplay:
    """The lines and bars of several processes in one terminal, a bar for each."""

    def __init__(self) -> None:
        self._shown = _bars()
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> "JobsDisplay":
        self._shown.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.stop()

    def receive(self, job: int, message: Message) -> None:
        """Print what process number `job` has sent."""
        kind, *content = message
        if kind == "say":
            say(content[0])
        elif kind == "bar":
            label, total, done = content
            if job not in self._tasks:
                self._tasks[job] = self._shown.add_task(label, total=total)
            self._shown.update(self._tasks[job], description=label, total=total, completed=done)
        elif kind == "end" and job in self._tasks:
            self._shown.remove_task(self._tasks.pop(job))


def progress(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """`items`, with a progress bar while they are consumed."""
    with bar(label, total) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def waiting(label: str) -> Iterator[Callable[[str], None]]:
    """A line that moves while nothing can be counted; call what it yields to add a remark. Silent in a pipe."""
    if not console.is_terminal:
        yield lambda remark: None
        return
    with console.status(label) as shown:
        yield lambda remark: shown.update(f"{label} {remark}")


def fail(error: ChestfoldError) -> NoReturn:
    """One sentence on stderr, exit code 2."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)
