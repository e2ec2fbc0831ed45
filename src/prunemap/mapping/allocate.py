"""Densities under a budget: of every unit the choice that, all together, loses least: a multiple-choice knapsack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

BUCKETS = 2048
"""Into which all that can be spent above the least is divided."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Frontier:
    """The choices of one unit that no other one beats, by rising cost and falling loss."""

    costs: Numbers
    losses: Numbers
    indices: NDArray[np.intp]
    """The caller's."""

    @classmethod
    def of(cls, costs: Numbers, losses: Numbers) -> Frontier:
        """Return the frontier of a unit's choices; of equal ones the first."""
        order = np.lexsort((losses, costs))
        least = np.minimum.accumulate(losses[order])
        kept = order[np.concatenate(([True], least[1:] < least[:-1]))]
        return cls(costs[kept], losses[kept], kept)


class Allocator:
    """Chooses for any budget; the work that no budget changes is done once.

    Dynamic programming over the sum of costs in buckets, of which each choice takes the nearest whole number. The sums
    themselves are exact, so a budget is never overrun; what is chosen loses no more than anything that costs n + 1
    buckets less than the budget, with n units (H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems, 2004, ch. 11).

    Args:
        units: of each unit the costs and the losses of its choices, at least one.
    """

    def __init__(self, units: Sequence[tuple[Numbers, Numbers]]) -> None:
        self._units = [Frontier.of(costs, losses) for costs, losses in units]
        self.least = sum(float(unit.costs[0]) for unit in self._units)
        """The least sum of costs."""
        self.most = sum(float(unit.costs[-1]) for unit in self._units)
        """The sum of costs of the choices that lose least."""
        self._bucket = (self.most - self.least) / BUCKETS or 1.0

    @property
    def cheapest(self) -> list[int]:
        """The choice of every unit that costs least."""
        return [int(unit.indices[0]) for unit in self._units]

    @property
    def start(self) -> list[int]:
        """The choice of every unit that loses least."""
        return [int(unit.indices[-1]) for unit in self._units]

    def within(self, budget: float) -> list[int] | None:
        """Return the choice of every unit, None where no sum of costs is as low as the budget."""
        if budget < self.least:
            return None
        if budget >= self.most:
            return self.start
        reached = int((budget - self.least) / self._bucket)
        for total in range(min(BUCKETS, reached + len(self._units)), -1, -1):
            places = list(self._backwards(total))[::-1]
            chosen = list(zip(self._units, places, strict=True))
            if sum(float(unit.costs[place]) for unit, place in chosen) <= budget:
                return [int(unit.indices[place]) for unit, place in chosen]
        return self.cheapest

    def _backwards(self, total: int) -> Iterator[int]:
        """Yield the place on its frontier that each unit takes of so many buckets, the last unit first."""
        for steps, best in zip(reversed(self._steps), reversed(self._best), strict=True):
            place = int(best[total])
            total -= int(steps[place])
            yield place

    @cached_property
    def _steps(self) -> list[NDArray[np.intp]]:
        """The buckets that each choice takes above the cheapest, by unit."""
        return [np.rint((unit.costs - unit.costs[0]) / self._bucket).astype(np.intp) for unit in self._units]

    @cached_property
    def _best(self) -> list[NDArray[np.intp]]:
        """By unit, and by the buckets that it and all units before it take: the place that loses least in sum."""
        loss, best, buckets = np.zeros(BUCKETS + 1), [], np.arange(BUCKETS + 1)
        for unit, steps in zip(self._units, self._steps, strict=True):
            reachable = np.concatenate((np.full(steps.max(), np.inf), loss))
            losses = reachable[steps.max() + buckets - steps[:, None]] + unit.losses[:, None]
            best.append(losses.argmin(axis=0))
            loss = losses[best[-1], buckets]
        return best
