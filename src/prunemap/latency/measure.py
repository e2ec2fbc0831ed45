"""Measure probes on a machine and keep the results in a latency table that grows batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from prunemap.compiler import LayerCase
from prunemap.compiler.build import find_compiler
from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.value import read_json, write_json
from prunemap.devices import check_threads, read_machine
from prunemap.errors import Problems
from prunemap.latency.probe import Probe
from prunemap.latency.time_cases import time_cases
from prunemap.targets import resolve_target

BATCH_FLOATS, BATCH_PROBES = 1 << 22, 12
"""What one program holds at most, each probe counted once: of every one it has up to eight tiles."""


class ProbeTimer(Protocol):
    """Compiles probes and times them on some machine."""

    @property
    def threads(self) -> int: ...

    def machine(self) -> Machine:
        """Return the fingerprint of the machine, with target and compiler."""

    def time(self, probes: Sequence[Probe]) -> NDArray[np.float64]:
        """Return seconds, shape (runs, probes); the runs of different probes are interleaved."""


def measure(probes: Sequence[Probe], path: str | Path, timer: ProbeTimer, command: str = "") -> LatencyTable:
    """Measure the probes that the table at ``path`` lacks and add them to it; returns the whole table.

    The file is written after every batch, so an interrupt loses one batch at most, and the next call goes on there.

    Args:
        path: latency.json, made if it does not exist.
        command: what the user typed, for the record.

    Raises:
        UserError: the table is damaged, or is of another machine or number of threads.
        InternalError: a compiled layer computes something wrong.
    """
    machine = timer.machine()
    table = _open_table(path, machine, timer.threads, command)
    known = {Probe(point.setting, point.scheme, point.density) for point in table.points}
    batches = list(split_batches([probe for probe in dict.fromkeys(probes) if probe not in known]))
    for batch in track(batches, "measuring layers", console=Console(stderr=True), disable=not batches):
        points = [_point(probe, runs) for probe, runs in zip(batch, timer.time(batch).T, strict=True)]
        table = table.model_copy(update={"points": (*table.points, *points)})
        write_json(path, table)
    return table


def split_batches(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Cut the probes into batches of bounded memory, keeping their order."""
    batch: list[Probe] = []
    floats = 0
    for probe in probes:
        setting = probe.setting
        size = prod(setting.weight_shape) + setting.out_channels * prod(setting.out_size)
        if batch and (floats + size > BATCH_FLOATS or len(batch) == BATCH_PROBES):
            yield batch
            batch, floats = [], 0
        batch.append(probe)
        floats += size
    if batch:
        yield batch


@dataclass(frozen=True)
class LocalTimer:
    """Times probes on this machine, on the first ``threads`` CPUs that the process may use."""

    threads: int = 1
    target: str = "native"
    cc: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def machine(self) -> Machine:
        """Return the fingerprint of this machine, with target and compiler."""
        return read_machine(resolve_target(self.target).name, find_compiler(self.cc).version)

    def time(self, probes: Sequence[Probe]) -> NDArray[np.float64]:
        """Time every probe with the fastest of its tiles, as tuning would choose it."""
        cases = [LayerCase(probe.setting, probe.weight(self.seed)) for probe in probes]
        return time_cases(cases, threads=self.threads, target=self.target, cc=self.cc, seed=self.seed).seconds


def _open_table(path: str | Path, machine: Machine, threads: int, command: str) -> LatencyTable:
    """Return the table at ``path`` if it was measured under the same conditions, else an empty one."""
    if not Path(path).exists():
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return LatencyTable(machine=machine, threads=threads, command=command, date=date)
    table = read_json(path, LatencyTable, "latency table")
    problems = Problems(f"latency table: {path} was measured elsewhere; name another file (-o), or delete it")
    here, there = machine.model_dump(), table.machine.model_dump()
    problems.extend(f"{key}: {there[key]!r}, here {here[key]!r}" for key in here if here[key] != there[key])
    if table.threads != threads:
        problems.add(f"threads: {table.threads}, here {threads}")
    problems.raise_if_any()
    return table


def _point(probe: Probe, seconds: NDArray[np.float64]) -> LatencyPoint:
    p10, median, p90 = (max(float(us), 1e-3) for us in np.percentile(seconds * 1e6, (10, 50, 90)))
    return LatencyPoint(
        setting=probe.setting,
        scheme=probe.scheme,
        density=probe.density,
        median_us=median,
        p10_us=p10,
        p90_us=p90,
        runs=len(seconds),
    )
