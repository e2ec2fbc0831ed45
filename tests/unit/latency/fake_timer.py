"""A timer that measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prunemap.core.latency_table import Machine
from prunemap.core.layer import LayerSetting
from prunemap.latency import NetworkSeconds, Probe, ProbeTimes

MACHINE = Machine(cpu="synthetic", arch="none", cores=1, system="none", target="t", compiler="c")
SETTINGS = [
    LayerSetting(kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), pads=(1, 1, 1, 1), size=(size, size))
    for size in range(8, 14)
]
LARGEST_USUAL = LayerSetting(kind="linear", in_channels=1 << 13, out_channels=1 << 12)
LARGE = LayerSetting(kind="linear", in_channels=(1 << 13) + 1, out_channels=1 << 12)
"""Of more than 33 M weights, which is why fewer cases of it are measured."""


@dataclass
class FakeTimer:
    """Latency = 10 µs × density; raises at the batch that it is told to."""

    threads: int = 1
    fingerprint: Machine = MACHINE
    interrupt_at: int = -1
    spreads: dict[Probe, list[float]] = field(default_factory=dict)
    """p90 / p10 of a probe, each time that it is measured; 1 afterwards."""
    anchors_us: list[float] = field(default_factory=list)
    """Of the batches, in turn; 100 afterwards."""
    network: NetworkSeconds | None = None
    batches: list[list[Probe]] = field(default_factory=list)
    """Those that were timed."""

    def machine(self) -> Machine:
        return self.fingerprint

    def prepare(self, probes: Sequence[Probe]) -> Callable[[], ProbeTimes]:
        return lambda: self._time(list(probes))

    def _time(self, probes: list[Probe]) -> ProbeTimes:
        if len(self.batches) == self.interrupt_at:
            raise KeyboardInterrupt
        self.batches.append(probes)
        anchor_us = self.anchors_us.pop(0) if self.anchors_us else 100.0
        seconds = [self._runs(probe) * anchor_us / 100 for probe in probes]
        return ProbeTimes(np.stack(seconds, axis=1), np.full(5, anchor_us * 1e-6))

    def _runs(self, probe: Probe) -> np.ndarray:
        waiting = self.spreads.get(probe, [])
        spread = waiting.pop(0) if waiting else 1.0
        median = probe.density * 1e-5
        return np.array([median, *5 * [median * spread**-0.5, median * spread**0.5]])

    def time_network(self, model: str | Path, shapes: Any = None) -> NetworkSeconds:
        assert self.network is not None
        return self.network
