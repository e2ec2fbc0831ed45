"""Densities under a budget: greedy on the convex hulls of (cost, loss)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Point:
    """What one choice costs (in the budget's unit) and loses; ``index`` is the caller's."""

    cost: float
    loss: float
    index: int


@dataclass(frozen=True)
class Allocation:
    """The chosen point of every unit, and the step that was taken last: (unit, the point it came from)."""

    chosen: list[Point]
    last: tuple[int, Point] | None

    @property
    def cost(self) -> float:
        """Sum of the costs."""
        return sum(point.cost for point in self.chosen)


def allocate(units: Sequence[Sequence[Point]], budget: float) -> Allocation:
    """Start every unit at its first point and take the steps that lose least per cost saved until the budget is met.

    On the lower convex hulls this is optimal but for the last step, which may save more than was needed. If the
    budget cannot be met, the result is the cheapest there is.

    Args:
        units: per unit its points; the first one is the start and loses least.
        budget: largest sum of costs.
    """
    hulls = [lower_hull(points) for points in units]
    steps = sorted(
        ((after.loss - before.loss) / (before.cost - after.cost), unit, position)
        for unit, hull in enumerate(hulls)
        for position, (before, after) in enumerate(pairwise(hull), start=1)
    )
    allocation = Allocation([hull[0] for hull in hulls], None)
    for _, unit, position in steps:
        if allocation.cost <= budget:
            break
        chosen = list(allocation.chosen)
        before, chosen[unit] = chosen[unit], hulls[unit][position]
        allocation = Allocation(chosen, (unit, before))
    return allocation


def lower_hull(points: Sequence[Point]) -> list[Point]:
    """Return the lower convex hull, from the first point on by falling cost: each step saves and loses ever more."""
    start = points[0]
    hull = [start]
    for point in sorted(points[1:], key=lambda p: (-p.cost, p.loss)):
        if point.cost >= start.cost:
            continue
        while len(hull) > 1 and (point.loss <= hull[-1].loss or _slope(hull[-1], point) <= _slope(hull[-2], hull[-1])):
            hull.pop()
        if point.cost < hull[-1].cost:
            hull.append(point)
    return hull


def _slope(before: Point, after: Point) -> float:
    """Loss per cost saved."""
    saved = before.cost - after.cost
    return (after.loss - before.loss) / saved if saved > 0 else float("inf")
