"""The table of a grid of (experiment, fold): drawn again and again in a terminal, lines in a pipe."""

import time
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chestfold.core.console import console, format_seconds, is_live, plural, say, show
from chestfold.core.panel import REDRAWS, FoldStatus

WAITING, TRAINING, LOCKED, FINISHED, FAILED = "waiting", "training", "locked", "finished", "failed"
STATES = (TRAINING, LOCKED, WAITING, FAILED, FINISHED)
"""In the order of the headline."""
STYLES = {FINISHED: "dim", FAILED: "bold red", TRAINING: "bold"}


@dataclass(eq=False)
class Cell:
    """One fold of one experiment, and how far it is. Times are those of `time.monotonic`.

    `epoch` of at most `epochs` is finished; `reached`: it was when its process was lost the last time, `losses` times
    one after the other; `has_begun`: its present process has. `not_before`: when it is looked at again.
    `appears_until`: it is finished elsewhere.
    """

    name: str
    fold: int
    epochs: int
    state: str = WAITING
    place: str = ""
    node: str = ""
    error: str = ""
    epoch: int = 0
    doing: str = ""
    status: FoldStatus | None = None
    status_at: float = 0.0
    has_begun: bool = False
    reached: int = 0
    losses: int = 0
    not_before: float = 0.0
    appears_until: float = 0.0

    def __str__(self) -> str:
        return f"{self.name} fold {self.fold}"

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do."""
        return self.state not in (FINISHED, FAILED)

    @property
    def seconds_left(self) -> float | None:
        """Until it is finished; None where it is not known."""
        if self.state != TRAINING or self.status is None or self.status.seconds_left is None:
            return None
        return max(0.0, self.status.seconds_left - (time.monotonic() - self.status_at))

    def show(self, kind: str, content: list[Any]) -> None:
        """Take over a message of `core.panel`: "fold" or "bar"."""
        if kind == "bar":
            label, total, done = content
            self.doing = f"{label.removeprefix(f'fold {self.fold} ')} {done}/{total}"
            return
        self.status, self.status_at = content[0], time.monotonic()
        self.epoch = len(content[0].values)


class GridTable:
    """The cells of a sweep in one terminal; a line for each change in a pipe. `at_once`: cells."""

    def __init__(self, cells: list[Cell], at_once: int) -> None:
        self._cells = cells
        self._at_once = at_once
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=REDRAWS, transient=True)

    def __enter__(self) -> "GridTable":
        say(self.headline())
        if is_live():
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def change(self, cell: Cell, state: str) -> None:
        """Give a cell another state."""
        if cell.state == state:
            return
        cell.state = state
        if is_live() and state not in (FAILED, FINISHED):
            return  # the table shows it
        place = f", {cell.place}" if cell.place and state in (TRAINING, LOCKED) else ""
        why = f": {cell.error}" if state == FAILED else ""
        say(f"{cell}: {state}{place}{why}")

    def render(self) -> RenderableType:
        """As many cells as there are lines: those that finished first are left out first."""
        lines = max(1, console.height - 6)
        shown = sorted(self._cells, key=lambda cell: cell.state == FINISHED)[:lines]
        table = Table("run", "fold", "state", "epoch", "place", "left", box=None, pad_edge=False)
        for cell in sorted(shown, key=self._cells.index):
            table.add_row(*_row(cell), style=STYLES.get(cell.state))
        return Group(Text(self.headline(), style="bold"), table)

    def headline(self) -> str:
        """How many cells are in which state, and how long it takes."""
        states = [cell.state for cell in self._cells]
        counts = [f"{states.count(state)} {state}" for state in STATES if state in states]
        words = [f"{plural(len(states), 'cell')}: {', '.join(counts)}", f"{self._at_once} at once"]
        left = self.seconds_left()
        if left is not None:
            words.append(f"about {format_seconds(left)} left")
        return "  ".join(words)

    def seconds_left(self) -> float | None:
        """Of the whole grid: of the cells in training, and of those that wait, as long as these."""
        left = [cell.seconds_left for cell in self._cells if cell.seconds_left is not None]
        whole = [cell.status.seconds for cell in self._cells if cell.status and cell.status.seconds]
        if not left or not whole:
            return None
        waiting = sum(cell.state in (WAITING, LOCKED) for cell in self._cells)
        return max(left) + -(-waiting // self._at_once) * sum(whole) / len(whole)


def _row(cell: Cell) -> list[str]:
    left = cell.seconds_left
    epoch = f"{cell.epoch}/{cell.epochs}" if cell.epoch or cell.state == TRAINING else ""
    state = f"{cell.state} {cell.doing}" if cell.state == TRAINING and cell.doing else cell.state
    place = cell.place if cell.state in (TRAINING, LOCKED) else ""
    return [cell.name, str(cell.fold), state, epoch, place, format_seconds(left) if left is not None else ""]


def show_failures(cells: list[Cell]) -> None:
    """Print which cells failed, and why."""
    table = Table("run", "fold", "why")
    for cell in cells:
        table.add_row(cell.name, str(cell.fold), cell.error)
    show(table)
