"""Turns: the anchor and a program are timed one after the other, again and again, and brought to one speed.

The speed of a shared machine jumps within a second, and everything that runs just then feels it.
So each step is compared with the rest of its run, and the anchor with the run that follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_REST = 0.5
"""Of a run, that must be left beside some steps to say how fast it was; else their times stay as they are."""


@dataclass(frozen=True, eq=False)
class Turn:
    """One turn, in seconds."""

    anchor: NDArray[np.float64]
    """(runs,) of the anchor, just before the program's first run."""
    steps: NDArray[np.float64]
    """(runs, steps) of the program."""


def at_one_speed(
    turns: Sequence[Turn], groups: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the times of the steps and of the anchor as they would be, had all runs been as fast as the median run.

    Args:
        groups: steps that belong together, each step in one group. What says how fast a run was for them is the sum of
            all others; so a step whose own time varies is not smoothed.

    Returns:
        Seconds of (runs of all turns, steps), and of the anchor, (turns,).
    """
    steps = np.concatenate([turn.steps for turn in turns])
    total = steps.sum(axis=1)
    brought = np.empty_like(steps)
    for group in groups:
        own = steps[:, list(group)]
        brought[:, list(group)] = own / _slowness(total - own.sum(axis=1), total)[:, np.newaxis]
    firsts = np.cumsum([0, *(len(turn.steps) for turn in turns[:-1])])
    anchors = np.array([np.median(turn.anchor) for turn in turns])
    return brought, anchors / _slowness(total, total)[firsts]


def _slowness(rest: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many times slower each run was than the median one, by a part of it that is large enough.

    1 for a run in which a coarse clock saw nothing of that part.
    """
    usual = float(np.median(rest))
    says = (rest > 0) & (usual > 0) & (usual >= LEAST_REST * float(np.median(total)))
    return np.divide(rest, usual, out=np.ones_like(rest), where=says)
