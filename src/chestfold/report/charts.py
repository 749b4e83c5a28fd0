"""Where the figures of a chart are on paper; charts.html draws them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

COLOURS = 8
"""Classes s0 to s7 of the page; further series begin again, dashed."""

Ends = tuple[float, float]
"""The ends of an axis."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A line of a chart: its name, and its points, float (P,) each."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Axes:
    """Axes from `x[0]` to `x[1]` and so on in a drawing of `width` by `height`; all lengths are in pixels."""

    x: Ends
    y: Ends
    width: int = 340
    height: int = 250
    left: int = 44
    right: int = 10
    top: int = 10
    bottom: int = 38

    def px(self, value: float) -> float:
        """From the left edge of the drawing."""
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def py(self, value: float) -> float:
        """From its upper edge."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(self.height - self.bottom - share * (self.height - self.bottom - self.top), 1)

    def path(self, curve: Curve) -> str:
        """A line through the points of a curve, as SVG writes it."""
        points = [(self.px(x), self.py(y)) for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True)]
        return "M" + " ".join(f"{x:g},{y:g}" for x, y in thin(points))


def thin(points: list[Point], near: float = 0.6) -> list[Point]:
    """Points without those that are within `near` pixels of the one before; the first and the last remain."""
    kept = points[:1]
    for point in points[1:-1]:
        if math.dist(point, kept[-1]) >= near:
            kept.append(point)
    return kept + points[-1:] if len(points) > 1 else kept


def ticks(ends: Ends, integers: bool = False) -> list[float]:
    """About five round numbers within the ends of an axis."""
    from matplotlib.ticker import MaxNLocator

    found = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=integers).tick_values(*ends)
    margin = (ends[1] - ends[0]) * 1e-9
    return [float(value) for value in found if ends[0] - margin <= value <= ends[1] + margin]


def spread(values: Iterable[float], margin: float = 0.06) -> Ends:
    """Ends of an axis that holds all `values` that are numbers, with some space around them; never empty."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low = min(finite)
    high = max(finite)
    space = (high - low) * margin or max(abs(high) * margin, 1e-3)
    return low - space, high + space


def series(number: int) -> str:
    """The class of a line or dot: its colour."""
    return f"s{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def short_count(count: int) -> str:
    """A count in at most four characters."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"
