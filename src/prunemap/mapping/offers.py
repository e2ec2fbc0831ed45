"""Offers: the choices of all units at their costs, and those of them that lose least within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prunemap.mapping.allocate import Point, allocate, lower_hull
from prunemap.mapping.mapper import BudgetError
from prunemap.mapping.units import Choice, Unit, loss_of

Measure = Callable[[Choice], float]
ROUNDING = 1 + 1e-9


class Offers:
    """Asked for several budgets, what each choice costs and loses is computed once."""

    def __init__(self, units: Sequence[Unit], cost: Measure, loss: Measure = loss_of) -> None:
        self._units = units
        self._cost = cost
        self._loss = loss
        points = ([Point(cost(c), loss(c), i) for i, c in enumerate(unit.choices)] for unit in units)
        self._hulls = [lower_hull(each) for each in points]

    @property
    def start(self) -> list[Choice]:
        """The choices that lose least."""
        return [unit.choices[0] for unit in self._units]

    @property
    def cheapest(self) -> list[Choice]:
        """The choices of least cost."""
        return [unit.choices[hull[-1].index] for unit, hull in zip(self._units, self._hulls, strict=True)]

    @property
    def bounds(self) -> tuple[float, float]:
        """The sums of costs of the cheapest choices, and of those that lose least."""
        return sum(hull[-1].cost for hull in self._hulls), sum(hull[0].cost for hull in self._hulls)

    def within(self, allowed: float) -> list[Choice] | None:
        """Return the choice of every unit, None where no sum of costs is as low as is allowed."""
        allowed *= ROUNDING
        allocation = allocate(self._hulls, allowed)
        if allocation.cost > allowed:
            return None
        chosen = [unit.choices[point.index] for unit, point in zip(self._units, allocation.chosen, strict=True)]
        if allocation.last is None:
            return chosen
        place, before = allocation.last
        undone = [before if i == place else point for i, point in enumerate(allocation.chosen)]
        known = allocation.chosen[place].loss - before.loss
        step = self._last_step(sum(point.cost for point in undone) - allowed, undone, known)
        if step is not None:
            chosen[place] = self._units[place].choices[before.index]
            chosen[step[0]] = step[1]
        return chosen

    def _last_step(self, excess: float, undone: Sequence[Point], known: float) -> tuple[int, Choice] | None:
        """Return the one step that loses least of those that meet the budget; None where none loses less than known.

        The last step of the allocation may save more than is needed, where another saves enough: from a finer grid.

        Args:
            excess: what must be saved yet.
            undone: where the units are.
        """
        best = None
        for place, (unit, point, (costs, losses)) in enumerate(zip(self._units, undone, self._fine, strict=True)):
            more = np.where(costs <= point.cost - excess, losses - point.loss, np.inf)
            if more.size and more.min() < known:
                best, known = (place, unit.fine_choices[int(more.argmin())]), float(more.min())
        return best

    @cached_property
    def _fine(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Costs and losses of the fine choices, by unit."""
        return [
            (np.array(list(map(self._cost, fine))), np.array(list(map(self._loss, fine))))
            for fine in (unit.fine_choices for unit in self._units)
        ]


def impossible(argument: str, got: float, least: float) -> BudgetError:
    """Return the error of a budget that cannot be met, which says what could be."""
    return BudgetError(
        f"{argument}: got {got:g}, the least possible with this table is {1.0005 * least:.4g}; layers where nothing "
        "measured beats dense stay dense; lower densities can be measured"
    )  # a little more, so that rounding never says too little
