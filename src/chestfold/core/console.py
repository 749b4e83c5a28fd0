"""What a person sees in the terminal: lines, progress bars, and errors of one sentence."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chestfold.core.errors import ChestfoldError

console = Console(highlight=False, soft_wrap=True, quiet=os.environ.get("RANK", "0") != "0")
PIPED = 240
"""Characters in a line of what goes into a file or another program: enough for every column of the board."""


def say(text: str) -> None:
    """Print a line; brackets in it are text, not markup."""
    console.print(text, markup=False)


def terminal_width() -> int:
    """Characters in a line; enough for the widest table where there is no terminal to ask."""
    return console.width if console.is_terminal else PIPED


def show(renderable: Any) -> None:
    """Print a rich table."""
    Console(highlight=False, width=terminal_width()).print(renderable)


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar that vanishes when done; call what it yields, with a remark, for each step. Silent in a pipe."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(label, total=total)

        def step(remark: str) -> None:
            shown.update(task, advance=1, description=f"{label} {remark}")

        yield step


def progress(items: Iterable[Any], label: str, total: int) -> Iterator[Any]:
    """`items`, with a progress bar while they are consumed."""
    with bar(label, total) as step:
        for item in items:
            yield item
            step("")


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
