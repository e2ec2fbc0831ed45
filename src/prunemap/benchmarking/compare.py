"""Engines against each other: interleaved rounds, medians with spread, ratios per round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from prunemap.benchmarking.engines import Batch, LoadedEngine

WARM_UP_SECONDS = 0.2
MEASUREMENT_SECONDS = 5e-3
"""A measurement repeats a fast network until it takes about so long."""


@dataclass(frozen=True)
class Effort:
    """How much is measured: at least so many rounds, and at least so many seconds in all."""

    rounds: int = 30
    seconds: float = 5.0


QUICK = Effort(rounds=10, seconds=0.5)


@dataclass(frozen=True)
class Samples:
    """What was measured of one engine."""

    seconds: NDArray[np.float64]
    """Per round, the median of its runs."""
    runs: int
    """Runs in all rounds together."""

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile over the rounds in milliseconds."""
        return float(np.percentile(self.seconds, percent)) * 1e3


def interleave(
    engines: Mapping[str, LoadedEngine],
    inputs: Batch,
    effort: Effort,
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Samples]:
    """Measure all engines in rounds; every round starts with the next engine.

    Args:
        clock: seconds; decides when enough was measured.
    """
    runs = {name: _warm_up(engine, inputs) for name, engine in engines.items()}
    names, medians = list(engines), {name: list[float]() for name in engines}
    for number in _rounds(effort, clock):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            medians[name].append(float(np.median(engines[name].time_runs(inputs, runs[name]))))
    return {name: Samples(np.array(medians[name]), runs[name] * len(medians[name])) for name in names}


def ratio(theirs: Samples, ours: Samples) -> float:
    """Return how many times longer theirs takes: the median over the rounds of theirs / ours."""
    return float(np.median(theirs.seconds / ours.seconds))


def _warm_up(engine: LoadedEngine, inputs: Batch) -> int:
    """Run until warm; return how many runs make one measurement."""
    once = engine.time_runs(inputs, 1)
    more = engine.time_runs(inputs, max(2, min(1000, ceil(WARM_UP_SECONDS / once[0]))))
    return max(1, ceil(MEASUREMENT_SECONDS / float(np.median(more))))


def _rounds(effort: Effort, clock: Callable[[], float]) -> Iterator[int]:
    """Yield round numbers until the effort is met, with a progress bar on stderr."""
    start, number = clock(), 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=1.0)
        while (done := min(number / effort.rounds, (clock() - start) / effort.seconds)) < 1:
            progress.update(task, completed=done)
            yield number
            number += 1
