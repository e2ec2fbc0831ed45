"""Chart: lines and bars in pixels, ready for the template that writes them as SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

WIDTH, HEIGHT = 320, 196
LEFT, RIGHT, TOP, BOTTOM, EDGE = 46, 20, 20, 34, 4
"""Around the plot: labels of the ticks and of the axes; edge: how far points on its border reach beyond it."""
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
TICKS = 4
BAR_GAP, BARS_HEIGHT, BARS_WIDTH = 2, 96, 960
MIN_BAR, MAX_BAR = 10, 40
"""Pixels: bars fill the width if they can."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    at_low: float
    at_high: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (log10(end) if self.is_log else end for end in (self.low, self.high))
        share = ((log10(value) if self.is_log else value) - low) / ((high - low) or 1.0)
        return round(self.at_low + share * (self.at_high - self.at_low), 1)


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in pixels of the plot."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A curve in pixels of the plot; ``style`` is its CSS classes."""

    style: str
    points: tuple[tuple[float, float, str], ...]
    """What was measured, each with what a pointer on it shows."""
    between: tuple[Point, ...] = ()
    """The curve through them where it is not straight."""

    @property
    def path(self) -> str:
        """The curve as SVG has it."""
        return " ".join(f"{x:g},{y:g}" for x, y, *_ in self.between or self.points)


@dataclass(frozen=True)
class Mark:
    """A ringed point."""

    style: str
    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Lines over two axes."""

    label: str
    """What it shows, for those who cannot see it."""
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Bar:
    """One layer: a part of a whole; pixels from the left and in height."""

    style: str
    x: float
    height: float
    whole: float
    label: str


@dataclass(frozen=True)
class Bars:
    """A bar per layer, in order."""

    label: str
    bars: tuple[Bar, ...]
    bar_width: int
    width: int
    top: str
    """What the full height stands for."""


def x_scale(low: float, high: float, is_log: bool = False) -> Scale:
    """Return the scale of a chart's x axis."""
    return Scale(low, high, 0, PLOT_WIDTH, is_log)


def y_scale(low: float, high: float) -> Scale:
    """Return the scale of a chart's y axis, from the bottom up."""
    return Scale(low, high, PLOT_HEIGHT, 0)


def round_ticks(scale: Scale, whole: bool = False) -> tuple[Tick, ...]:
    """Return ticks at about ``TICKS`` round values of a scale.

    Args:
        whole: whole numbers only.
    """
    return tuple(Tick(scale(value), f"{value:g}") for value in _round_values(scale.low, scale.high, whole))


def _round_values(low: float, high: float, whole: bool) -> list[float]:
    if not high > low:
        return [low]
    rough = (high - low) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.75)
    step = max(1.0, step) if whole else step
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def finite(points: Iterable[Point]) -> list[Point]:
    """Return the points that can be drawn."""
    return [point for point in points if all(map(isfinite, point))]


def bars(label: str, top: str, rows: Sequence[tuple[str, float, float, str]]) -> Bars:
    """Return a bar per row, as high as its share of the largest whole.

    Args:
        rows: style, part, whole, label.
    """
    largest = max((max(part, whole) for _, part, whole, _ in rows), default=0.0) or 1.0
    width = max(MIN_BAR, min(MAX_BAR, BARS_WIDTH // max(len(rows), 1) - BAR_GAP))
    drawn = tuple(
        Bar(
            style,
            BAR_GAP + i * (width + BAR_GAP),
            round(BARS_HEIGHT * part / largest, 1),
            round(BARS_HEIGHT * whole / largest, 1),
            text,
        )
        for i, (style, part, whole, text) in enumerate(rows)
    )
    return Bars(label, drawn, width, BAR_GAP + len(rows) * (width + BAR_GAP), top)
