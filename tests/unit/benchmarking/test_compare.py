from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prunemap.benchmarking.compare import MEASUREMENT_SECONDS, QUICK, Effort, Samples, interleave, ratio
from prunemap.benchmarking.engines import LoadedEngine

Log = list[tuple[str, int]]


class FakeEngine(LoadedEngine):
    """Takes ``seconds(run number)`` per run, moves the clock by it and logs every call."""

    version = "fake 1"

    def __init__(self, name: str, clock: FakeClock, seconds: Callable[[int], float], log: Log) -> None:
        self._name, self._clock, self._seconds, self._log = name, clock, seconds, log
        self._done = 0

    def time_runs(self, inputs: object, runs: int) -> np.ndarray:
        taken = np.array([self._seconds(self._done + i) for i in range(runs)])
        self._done += runs
        self._clock.now += float(taken.sum())
        self._log.append((self._name, runs))
        return taken


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def engines(**seconds: Callable[[int], float]) -> tuple[dict[str, LoadedEngine], FakeClock, Log]:
    clock, log = FakeClock(), Log()
    return {name: FakeEngine(name, clock, each, log) for name, each in seconds.items()}, clock, log


def test_ratio_is_the_median_over_rounds_of_theirs_over_ours() -> None:
    ours, theirs = Samples(np.array([1.0, 2.0, 4.0]), 3), Samples(np.array([3.0, 4.0, 100.0]), 3)
    assert ratio(theirs, ours) == 3.0  # of 3, 2 and 25; the ratio of the medians would be 2
    assert ours.percentile_ms(50) == 2000


def test_a_drift_that_hits_both_engines_leaves_the_ratio_alone() -> None:
    clock, log = FakeClock(), Log()
    loaded = {
        name: FakeEngine(name, clock, lambda i, base=base: base * (1 + clock.now), log)
        for name, base in (("ours", 0.01), ("theirs", 0.03))
    }
    samples = interleave(loaded, {}, Effort(rounds=40, seconds=0.1), clock)
    assert samples["ours"].seconds[-1] > 2 * samples["ours"].seconds[0]
    assert ratio(samples["theirs"], samples["ours"]) == pytest.approx(3, rel=0.05)


def test_every_round_runs_every_engine_and_starts_with_the_next() -> None:
    loaded, clock, log = engines(a=lambda i: 0.02, b=lambda i: 0.02, c=lambda i: 0.02)
    interleave(loaded, {}, Effort(rounds=3, seconds=1e-9), clock)
    measured = "".join(name for name, _ in log[-9:])
    assert measured == "abcbcacab"


def test_fast_networks_are_repeated_within_a_measurement() -> None:
    loaded, clock, log = engines(fast=lambda i: 1e-5, slow=lambda i: 0.05)
    samples = interleave(loaded, {}, Effort(rounds=4, seconds=0.01), clock)
    repeats = dict(log[-2:])
    assert repeats["fast"] * 1e-5 == pytest.approx(MEASUREMENT_SECONDS, rel=0.01)
    assert repeats["slow"] == 1
    assert (samples["fast"].runs, samples["slow"].runs) == (4 * repeats["fast"], 4)


def test_goes_on_until_rounds_and_seconds_are_both_reached() -> None:
    loaded, clock, _ = engines(fast=lambda i: 1e-3)
    samples = interleave(loaded, {}, Effort(rounds=30, seconds=5.0), clock)
    assert len(samples["fast"].seconds) == pytest.approx(5.0 / MEASUREMENT_SECONDS, rel=0.01)
    loaded, clock, _ = engines(slow=lambda i: 1.0)
    samples = interleave(loaded, {}, Effort(rounds=30, seconds=5.0), clock)
    assert len(samples["slow"].seconds) == 30


def test_one_interrupted_run_does_not_show() -> None:
    loaded, clock, _ = engines(ours=lambda i: 1e-3 if i % 5 else 0.5)
    samples = interleave(loaded, {}, QUICK, clock)
    assert samples["ours"].percentile_ms(90) == pytest.approx(1.0)
