"""Problem: what a searcher sees of a search space; numbers only, so that any landscape can be searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Candidate = tuple[int, ...]
"""The place of the chosen action of every decision."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Decisions in order, each with its actions.

    Where decision ``o = overruled_by[i]`` is not 0, decision i has no effect; in a canonical candidate it is 0 then.
    """

    sizes: tuple[int, ...]
    """Number of actions of every decision."""
    overruled_by: tuple[int | None, ...]
    """An earlier decision, or None."""
    decisions: NDArray[np.float32]
    """Features of every decision, (n, D)."""
    actions: NDArray[np.float32]
    """Features of every action, (n, largest size, A); zeros where there is none."""
    costs: NDArray[np.float32]
    """Latency of every action as a share of the budget, (n, largest size)."""
    keeps: NDArray[np.float32]
    """Sum of the shares of the energy that the layers of an action keep, (n, largest size); 0 where not known."""
    fixed_cost: float = 0.0
    """Latency whatever is decided, as a share of the budget."""
    first: Candidate | None = None
    """Evaluated before all others."""

    def canonical(self, candidate: Candidate) -> Candidate:
        """Return the candidate with 0 for the decisions that have no effect."""
        return tuple(
            0 if by is not None and candidate[by] else action
            for action, by in zip(candidate, self.overruled_by, strict=True)
        )


def plain_problem(sizes: tuple[int, ...], first: Candidate | None = None) -> Problem:
    """Return the problem of independent decisions of which nothing is known but their place and the action's."""
    count, largest = len(sizes), max(sizes)
    actions = np.zeros((count, largest, largest), np.float32)
    for i, size in enumerate(sizes):
        actions[i, :size, :size] = np.eye(size)
    return Problem(
        sizes=sizes,
        overruled_by=(None,) * count,
        decisions=np.linspace(0, 1, count, dtype=np.float32)[:, None],
        actions=actions,
        costs=np.zeros((count, largest), np.float32),
        keeps=np.zeros((count, largest), np.float32),
        first=first,
    )
