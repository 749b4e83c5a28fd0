"""The live panel of a training: its folds, how far each is, and how long it will take.

What trains sends messages with `core.console.forward`, from this process or from another one:

    ("say", text, short)         a line for the log above the panel
    ("bar", label, total, done)  what the fold is doing now
    ("end",)                     that is done
    ("fold", FoldStatus)         how well and how fast it trains
    ("finished",)                the fold is finished
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from chestfold.core.console import Message, bar_width, console, format_seconds, forward_to, is_live, plural, print_line

REDRAWS = 4
"""A second."""
LEVELS = "▁▂▃▄▅▆▇█"
LONGEST_CURVE = 20
"""Epochs of the curve that are shown: the last ones."""
INDENT = 2
"""Spaces before the figures of a fold."""


@dataclass(frozen=True)
class FoldStatus:
    """How well and how fast a fold trains.

    `values`: the monitored figure of each epoch, named `metric`; `best`: number of the best epoch from 1, 0 where none
    is chosen. `seconds_left`: until the fold is finished, of `seconds` in all: estimates, None before the first epoch.
    """

    metric: str
    values: tuple[float, ...] = ()
    best: int = 0
    images_per_second: float = 0.0
    seconds_left: float | None = None
    seconds: float | None = None


@dataclass
class Row:
    """What the panel shows of a fold in training. Times are those of `time.monotonic`."""

    label: str = ""
    total: int = 0
    done: int = 0
    began: float = 0.0
    began_with: int = 0
    status: FoldStatus | None = None
    status_at: float = 0.0

    def show_bar(self, label: str, total: int, done: int) -> None:
        """Take over what a bar shows; another label is another bar."""
        if label != self.label or done < self.done:
            self.began, self.began_with = time.monotonic(), done
        self.label, self.total, self.done = label, total, done

    @property
    def seconds_left_of_bar(self) -> float | None:
        """Estimated from its speed; None before its first step."""
        steps = self.done - self.began_with
        if steps <= 0:
            return None
        return (time.monotonic() - self.began) / steps * (self.total - self.done)

    @property
    def seconds_left(self) -> float | None:
        """Until the fold is finished; None where it is not known."""
        if self.status is None or self.status.seconds_left is None:
            return None
        return max(0.0, self.status.seconds_left - (time.monotonic() - self.status_at))


@dataclass
class Panel:
    """The lines and bars of a run's folds in one terminal, rows for each fold in training. Lines alone in a pipe.

    `jobs` folds of `folds` are trained at once.
    """

    name: str
    folds: int
    jobs: int = 1
    finished: int = 0
    rows: dict[int, Row] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._spinner = Spinner("dots" if _draws_blocks() else "line")
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=REDRAWS, transient=True)

    def __enter__(self) -> "Panel":
        if is_live():
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def receive(self, job: int, message: Message) -> None:
        """Show what process number `job` has sent."""
        kind, *content = message
        row = self.rows.setdefault(job, Row())
        if kind == "say":
            print_line(*content)
        elif kind == "bar":
            row.show_bar(*content)
        elif kind == "end":
            row.total = 0
        elif kind == "fold":
            row.status, row.status_at = content[0], time.monotonic()
        elif kind == "finished":
            self.finished += 1
            self.rows.pop(job)

    def render(self) -> RenderableType:
        """All of it, in the lines that there are."""
        self._spinner.update(text=self._headline())
        rows = list(self.rows.values())
        with_figures = 2 * len(rows) < console.height - 2
        bars = Table.grid(padding=(0, 2))
        lines: list[RenderableType] = []
        for row in rows:
            bars.add_row(*_cells(row))
            if with_figures and row.status:
                lines += [bars, Padding(_figures(row), (0, 0, 0, INDENT))]
                bars = Table.grid(padding=(0, 2))
        return Group(self._spinner, *lines, bars)

    def _headline(self) -> Text:
        passed = format_seconds(time.monotonic() - self.began)
        words = [self.name, f"{self.finished} of {plural(self.folds, 'fold')} finished", passed]
        left = self._seconds_left()
        if left is not None:
            words.append(f"about {format_seconds(left)} left")
        return Text("  ".join(words), style="bold")

    def _seconds_left(self) -> float | None:
        """Of the whole run: of the folds in training, and of those that wait, as long as these."""
        rows = list(self.rows.values())
        left = [row.seconds_left for row in rows if row.seconds_left is not None]
        whole = [row.status.seconds for row in rows if row.status and row.status.seconds]
        if not left or not whole:
            return None
        waiting = self.folds - self.finished - len(rows)
        return max(left) + -(-waiting // self.jobs) * sum(whole) / len(whole)


@contextmanager
def panel(name: str, folds: int) -> Iterator[None]:
    """Show what this process forwards meanwhile: the folds of a run, one after the other."""
    if not is_live():
        yield
        return
    with Panel(name, folds) as shown:
        forward_to(partial(shown.receive, 0))
        try:
            yield
        finally:
            forward_to(None)


def _cells(row: Row) -> list[RenderableType]:
    """Label, bar, count and time of what a fold is doing now."""
    if not row.total:
        return [Text(row.label, style="dim")]
    left = row.seconds_left_of_bar
    return [
        Text(row.label, overflow="fold"),
        ProgressBar(row.total, row.done, width=bar_width()),
        Text(f"{row.done}/{row.total}", no_wrap=True),
        Text(format_seconds(left) if left is not None else "", no_wrap=True),
    ]


def _figures(row: Row) -> Text:
    """The curve of the monitored figure, the best epoch, time and speed: as many of them as fit."""
    status = row.status
    assert status is not None
    parts = []
    if status.values and _draws_blocks():
        parts.append(sparkline(status.values, min(LONGEST_CURVE, console.width // 6)))
    if status.best:
        parts.append(f"best {status.metric} {status.values[status.best - 1]:.4f}, epoch {status.best}")
    if row.seconds_left is not None:
        parts.append(f"fold {format_seconds(row.seconds_left)} left")
    if status.images_per_second:
        parts.append(f"{status.images_per_second:.0f} images/s")
    while cell_len("  ".join(parts)) > console.width - INDENT:
        parts.pop()
    return Text("  ".join(parts), style="dim", no_wrap=True)


def sparkline(values: Sequence[float], longest: int = LONGEST_CURVE) -> str:
    """The last `longest` of `values` as blocks, the lowest of them as the lowest block; one that is NaN is a space."""
    shown = values[-longest:]
    known = [value for value in shown if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    blocks = ""
    for value in shown:
        height = (value - low) / (high - low) if high > low else 0.0
        blocks += LEVELS[round(height * (len(LEVELS) - 1))] if math.isfinite(value) else " "
    return blocks


def _draws_blocks() -> bool:
    return console.encoding.startswith("utf")
