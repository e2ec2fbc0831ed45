"""Offers: the choices of all units at their costs, and those of them that lose least within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prunemap.mapping.allocate import Allocator
from prunemap.mapping.mapper import BudgetError
from prunemap.mapping.units import Choice, Unit, loss_of

Measure = Callable[[Choice], float]
ROUNDING = 1 + 1e-9


class Offers:
    """Asked for several budgets, what each choice costs and loses is computed once."""

    def __init__(self, units: Sequence[Unit], cost: Measure, loss: Measure = loss_of) -> None:
        self._units = units
        measured = ([np.array([of(c) for c in unit.choices]) for of in (cost, loss)] for unit in units)
        self._allocator = Allocator([(costs, losses) for costs, losses in measured])

    @property
    def start(self) -> list[Choice]:
        """The choices that lose least."""
        return self._choices(self._allocator.start)

    @property
    def cheapest(self) -> list[Choice]:
        """The choices of least cost."""
        return self._choices(self._allocator.cheapest)

    @property
    def bounds(self) -> tuple[float, float]:
        """The sums of costs of the cheapest choices, and of those that lose least."""
        return self._allocator.least, self._allocator.most

    def within(self, allowed: float) -> list[Choice] | None:
        """Return the choice of every unit, None where no sum of costs is as low as is allowed."""
        chosen = self._allocator.within(allowed * ROUNDING)
        return None if chosen is None else self._choices(chosen)

    def _choices(self, indices: Sequence[int]) -> list[Choice]:
        return [unit.choices[index] for unit, index in zip(self._units, indices, strict=True)]


def impossible(argument: str, got: float, least: float) -> BudgetError:
    """Return the error of a budget that cannot be met, which says what could be."""
    return BudgetError(
        f"{argument}: got {got:g}, the least possible with this table is {1.0005 * least:.4g}; layers where nothing "
        "measured beats dense stay dense; lower densities can be measured"
    )  # a little more, so that rounding never says too little
