"""Charts as inline SVG: from figures to markup. Colours come from the page, by class: they follow light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chestfold.report.curves import Bin, Curve
from chestfold.report.markup import Html, join, tag

COLOURS = 8
"""Classes s0 to s7 of the page; further series begin again, dashed."""
WIDTH, HEIGHT = 340, 250
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 38
_KINDS = {"public": "s0", "private": "s1"}
"""Score of a leaderboard -> its colour."""


@dataclass(frozen=True)
class Axes:
    """Where figures lie on the paper: a chart of `width` by `height` with x and y from `x[0]` to `x[1]` and so on."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = BOTTOM

    def px(self, value: float) -> float:
        """From the left edge of the paper."""
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return round(self.left + share * (self.width - self.left - RIGHT), 1)

    def py(self, value: float) -> float:
        """From its upper edge."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(self.height - self.bottom - share * (self.height - self.bottom - TOP), 1)


def series(number: int) -> str:
    """The class of a line or dot: its colour."""
    return f"s{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 10) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Ends of an axis that holds all `values` that are numbers, with some air; never empty."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    air = (high - low) * margin or max(abs(high) * margin, 1e-3)
    return low - air, high + air


def label(value: float) -> str:
    """A tick's number."""
    return f"{value:.4g}"


def svg(axes: Axes, title: str, *parts: Any) -> Html:
    """The paper. Its title is read aloud where the chart cannot be seen."""
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {axes.width} {axes.height}",
        class_="chart",
        role="img",
        aria_label=title,
    )


def words(x: float, y: float, content: Any, class_: str = "tick", **attributes: Any) -> Html:
    """Text on the paper."""
    return tag("text", content, x=round(x, 1), y=round(y, 1), class_=class_, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def grid(
    axes: Axes,
    x_name: str,
    y_name: str,
    x_ticks: Sequence[float] | None = None,
) -> Html:
    """Grid lines with their numbers, and the names of both axes."""
    parts = []
    for value in ticks(*axes.y):
        y = axes.py(value)
        parts.append(line(axes.px(axes.x[0]), y, axes.px(axes.x[1]), y, "grid"))
        parts.append(words(axes.left - 6, y + 3.5, label(value), "tick end"))
    for value in ticks(*axes.x) if x_ticks is None else x_ticks:
        parts.append(words(axes.px(value), axes.height - axes.bottom + 15, label(value), "tick mid"))
    middle = (axes.px(axes.x[0]) + axes.px(axes.x[1])) / 2
    parts.append(words(middle, axes.height - 5, x_name, "name mid"))
    centre = (axes.py(axes.y[0]) + axes.py(axes.y[1])) / 2
    parts.append(words(0, 0, y_name, "name mid", transform=f"translate(10 {centre:.1f}) rotate(-90)"))
    return join(parts)


def path(axes: Axes, x: np.ndarray, y: np.ndarray, class_: str) -> Html:
    """A line through the points; those that crowd within a pixel are thinned."""
    points = [(axes.px(a), axes.py(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return tag("path", d="M" + " ".join(f"{a:g},{b:g}" for a, b in thin(points)), class_=f"line {class_}")


def thin(points: list[tuple[float, float]], near: float = 0.6) -> list[tuple[float, float]]:
    """Points without those that lie within `near` pixels of the one before; both ends stay."""
    kept = points[:1]
    for point in points[1:-1]:
        if math.dist(point, kept[-1]) >= near:
            kept.append(point)
    return kept + points[-1:] if len(points) > 1 else kept


def dot(axes: Axes, x: float, y: float, class_: str, title: str) -> Html:
    """A dot that says what it is when one points at it."""
    return tag("circle", tag("title", title), cx=axes.px(x), cy=axes.py(y), r=4, class_=f"dot {class_}")


def rect(x: float, y: float, width: float, height: float, class_: str, title: str = "") -> Html:
    """A bar."""
    inside = [tag("title", title)] if title else []
    return tag(
        "rect", *inside, x=round(x, 1), y=round(y, 1), width=round(width, 1), height=round(height, 1), class_=class_
    )


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """Under a chart: (class of the series, its name)."""
    keys = [tag("li", tag("span", class_=f"key {class_}"), name) for class_, name in names]
    return tag("ul", *keys, class_="legend")


def rates(title: str, x_name: str, y_name: str, curves: Sequence[Curve], chance: bool) -> Html:
    """ROC or precision and recall: both axes from 0 to 1; `chance` draws the diagonal."""
    axes = Axes((0, 1), (0, 1))
    parts = [grid(axes, x_name, y_name)]
    if chance:
        parts.append(line(axes.px(0), axes.py(0), axes.px(1), axes.py(1), "guide"))
    parts += [path(axes, curve.x, curve.y, series(n)) for n, curve in enumerate(curves)]
    named = [(series(n), curve.name) for n, curve in enumerate(curves)]
    return join([svg(axes, title, *parts), legend(named)])


def reliability(title: str, bins: Sequence[Bin]) -> Html:
    """Share of right answers over the probability of the top class, a bar each bin; under them how many they are."""
    low = min(b.low for b in bins)
    axes = Axes((low, 1), (0, 1), height=290, bottom=88)
    parts = [grid(axes, "", "share that is right", [])]
    parts += [_reliability_bar(axes, b) for b in bins]
    parts.append(line(axes.px(low), axes.py(low), axes.px(1), axes.py(1), "guide"))
    parts += [dot(axes, b.confidence, b.accuracy, "s1", _bin_in_words(b)) for b in bins]
    parts += [words(axes.px(value), 217, label(value), "tick mid") for value in ticks(low, 1)]
    return svg(axes, title, *parts, _counts(axes, bins))


def _reliability_bar(axes: Axes, b: Bin) -> Html:
    x, top = axes.px(b.low), axes.py(b.accuracy)
    return rect(x + 1, top, axes.px(b.high) - x - 2, axes.py(0) - top, "bar soft", _bin_in_words(b))


def _bin_in_words(b: Bin) -> str:
    return f"{b.low:.3f} to {b.high:.3f}: {b.count} images, mean probability {b.confidence:.3f}, right {b.accuracy:.3f}"


def _counts(axes: Axes, bins: Sequence[Bin]) -> Html:
    """A strip of columns, the counts under the bars, each with its number."""
    base, most = 268, max(b.count for b in bins)
    parts = []
    for b in bins:
        x, tall = axes.px(b.low), 30 * b.count / most
        parts.append(rect(x + 1, base - tall, axes.px(b.high) - x - 2, tall, "bar", _bin_in_words(b)))
        parts.append(words((x + axes.px(b.high)) / 2, base - tall - 2, short_count(b.count), "count mid"))
    middle = (axes.px(axes.x[0]) + axes.px(1)) / 2
    return join(
        [*parts, words(middle, axes.height - 6, "probability of the top class; below, how many images", "name mid")]
    )


def short_count(count: int) -> str:
    """A count in at most four characters."""
    return str(count) if count < 1000 else f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def epochs(
    title: str, y_name: str, lines: Sequence[tuple[str, Curve]], best: Sequence[tuple[float, float, str]]
) -> Html:
    """Curves over the epochs, each with its class; `best` are the epochs that were kept, as (epoch, y, class)."""
    last = max(float(curve.x.max()) for _, curve in lines)
    axes = Axes((0.5, last + 0.5), spread([v for _, curve in lines for v in curve.y.tolist()]))
    whole = [t for t in ticks(1, last) if t == int(t)] if last > 1 else [1.0]
    parts = [grid(axes, "epoch", "", whole)]
    for class_, curve in lines:
        parts.append(path(axes, curve.x, curve.y, class_))
    parts += [dot(axes, x, y, class_, f"epoch {x:g}: {y_name} {y:.4f}") for x, y, class_ in best]
    return svg(axes, title, *parts)


def bars(title: str, rows: Sequence[tuple[str, float]], reference: tuple[str, float], low: float) -> Html:
    """A horizontal bar for each (name, value) from `low` to 1 with its number; a line where `reference` lies."""
    height = 26 + 24 * len(rows)
    axes = Axes((low, 1), (0, 1), width=WIDTH - 46, height=height, left=104)
    parts = [_bar(axes, 4 + 24 * n, name, value) for n, (name, value) in enumerate(rows)]
    parts += [words(axes.px(t), height - 6, label(t), "tick mid") for t in (low, (low + 1) / 2, 1)]
    if math.isfinite(reference[1]):
        x, text = axes.px(reference[1]), f"{reference[0]}: {reference[1]:.4f}"
        parts.append(tag("g", tag("title", text), line(x, 0, x, height - 20, "guide")))
    return svg(Axes(axes.x, axes.y, height=height), title, *parts)


def _bar(axes: Axes, y: float, name: str, value: float) -> Html:
    length = axes.px(value) - axes.px(axes.x[0]) if math.isfinite(value) else 0
    return join(
        [
            words(axes.left - 8, y + 13, name, "tick end"),
            rect(axes.px(axes.x[0]), y + 2, max(length, 0.5), 14, "bar", f"{name}: {value:.4f}"),
            words(WIDTH - 4, y + 13, f"{value:.4f}", "value end"),
        ]
    )


def whisker(value: float, low: float, high: float, ends: tuple[float, float]) -> Html:
    """A dot with its interval on an axis that a whole column of a table shares; nothing for an AUC that is none."""
    if not all(map(math.isfinite, (value, low, high))):
        return Html()
    axes = Axes(ends, (0, 1), width=110, height=16, left=RIGHT, bottom=0)
    a, b, middle = axes.px(low), axes.px(high), axes.px(value)
    ticks_at = [line(x, 4, x, 12, "whisker") for x in (a, b)]
    mark = tag("circle", cx=middle, cy=8, r=3.2, class_="dot s0")
    return tag(
        "svg", line(a, 8, b, 8, "whisker"), *ticks_at, mark, viewBox="0 0 110 16", class_="spark", aria_hidden="true"
    )


@dataclass(frozen=True)
class Point:
    """Of the scatter plot: a result's validation score with its interval, and its scores on a leaderboard by name."""

    name: str
    cv: float
    low: float
    high: float
    scores: dict[str, float]


def scatter(title: str, points: Sequence[Point]) -> Html:
    """Validation across, leaderboard up; the diagonal is where both agree."""
    x = spread([v for p in points for v in (p.low, p.high)])
    y = spread([v for p in points for v in p.scores.values()], 0.15)
    axes = Axes(x, y, width=520, height=320)
    low, high = max(x[0], y[0]), min(x[1], y[1])
    parts = [grid(axes, "AUC, out-of-fold", "score on the leaderboard")]
    if low < high:
        parts.append(line(axes.px(low), axes.py(low), axes.px(high), axes.py(high), "guide"))
    parts += [_scattered(axes, p) for p in points]
    return join([svg(axes, title, *parts), legend([(_KINDS[k], k) for k in _KINDS])])


def _scattered(axes: Axes, point: Point) -> Html:
    """Dots over each other for the scores of one result; whiskers and name stand at the first."""
    x, heights = axes.px(point.cv), [axes.py(score) for score in point.scores.values()]
    marks = [line(axes.px(point.low), heights[0], axes.px(point.high), heights[0], "whisker")]
    marks.append(line(x, heights[0], x, heights[-1], "whisker"))
    text = f"{point.name}: out-of-fold {point.cv:.4f} [{point.low:.4f}, {point.high:.4f}]"
    marks += [dot(axes, point.cv, v, _KINDS[k], f"{text}, {k} {v:.4f}") for k, v in point.scores.items()]
    right = point.cv > (axes.x[0] + axes.x[1]) / 2
    return join([*marks, words(x + (-8 if right else 8), heights[0] - 7, point.name, "tick end" if right else "tick")])
