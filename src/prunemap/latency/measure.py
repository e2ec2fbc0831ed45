"""Measure probes on a machine and keep the results in a latency table that grows batch by batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.devices import allowed_cpus
from prunemap.latency.probe import Probe
from prunemap.latency.table_file import MOVED, TableFile, has_moved, probe_of
from prunemap.latency.turns import Turn, at_one_speed

BATCH_FLOATS, BATCH_PROBES = 1 << 23, 12
"""What one program holds at most, each probe counted once: of every one it has up to eight tiles."""
MOST_COMPILERS = 2
"""So many programs are compiled side by side, then timed one after the other."""
UNSTABLE = 1.25
"""p90 / p10 of a point from which its runs differ too much. The median of ten runs within ±12 % is sure to about 3 %,
which is the gain that ``map`` asks of a scheme."""
TIMINGS = 3
"""How often a batch is timed in a row at most, as long as points of it are unstable: to compile it takes longer."""
ATTEMPTS = 2
"""How often a point is measured at most: one that stayed unstable, or of a batch in which the machine ran at another
speed, once more at the end."""

SPEED_MOVED = f"the machine's speed moved by more than {MOVED:.0%}"
PROGRESS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TaskProgressColumn(),
    TimeRemainingColumn(elapsed_when_finished=True),
)
SPEED_OF_S = 300.0
"""Over so many seconds the time left is estimated: two large batches take longer than the half minute of rich."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ProbeTimes:
    """What a batch of probes took."""

    seconds: NDArray[np.float64]
    """(runs, probes), all brought to one speed of the machine; the runs of different probes are interleaved."""
    anchor_seconds: NDArray[np.float64]
    """(turns,) of the anchor, at the same speed."""


@dataclass(frozen=True, eq=False)
class NetworkSeconds:
    """What the slots of a compiled dense network took."""

    slots: tuple[str, ...]
    seconds: NDArray[np.float64]
    """(runs, slots), all brought to one speed of the machine."""
    anchor_seconds: NDArray[np.float64]
    """(turns,) of the anchor, at the same speed."""

    @staticmethod
    def of(slots: tuple[str, ...], turns: Sequence[Turn]) -> NetworkSeconds:
        """Return what was measured of a network."""
        return NetworkSeconds(slots, *at_one_speed(turns, [(i,) for i in range(len(slots))]))


class ProbeTimer(Protocol):
    """Compiles probes and networks and times them on some machine."""

    @property
    def threads(self) -> int: ...

    def machine(self) -> Machine:
        """Return the fingerprint of the machine, with target and compiler."""

    def prepare(self, probes: Sequence[Probe]) -> Callable[[], ProbeTimes]:
        """Compile the probes; what is returned checks and times them. Several are prepared at once, one is timed."""

    def time_network(self, model: str | Path, shapes: Any = None) -> NetworkSeconds:
        """Compile an ONNX file as it is and time it slot by slot."""


def measure(
    probes: Sequence[Probe], path: str | Path, timer: ProbeTimer, command: str = "", *, force: bool = False
) -> LatencyTable:
    """Measure the probes that the table at ``path`` lacks and add them to it; returns the whole table.

    The file is written after every batch, so an interrupt loses little, and the next call goes on there; so can another
    process, at the same time. Points whose runs differ too much, and batches in which the machine was faster or slower
    than usual, are measured again later.

    Args:
        path: latency.json, made if it does not exist.
        command: what the user typed, for the record.
        force: add to a table of another machine.

    Raises:
        UserError: the table is damaged, or is of another machine or number of threads.
        InternalError: a compiled layer computes something wrong.
    """
    file = TableFile.open(path, timer.machine(), timer.threads, command, force=force)
    wanted = tuple(dict.fromkeys(probes))
    known = {probe_of(point) for point in file.read().points}
    missing = [probe for probe in wanted if probe not in known]
    _measure_all(file, missing, timer, "measuring layers", skip_known=True)
    moved = 0
    while again := _to_repeat(table := file.read(), wanted):  # by what is measured again, others may have moved
        moved += sum(has_moved(point, table.anchor_us) for point in again)
        _measure_all(file, [probe_of(point) for point in again], timer, "measuring again what was unsteady")
    if moved:
        again_of = f"{moved} of {len(wanted)} points were measured again"
        file.note(f"{SPEED_MOVED}: {again_of}", instead_of=SPEED_MOVED)
        table = file.read()
    asked = set(wanted)
    unstable = sum(point.unstable for point in table.points if probe_of(point) in asked)
    if unstable:
        log.warning("%d of %d points stay unstable (p90/p10 above %g)", unstable, len(wanted), UNSTABLE)
    return table


def _to_repeat(table: LatencyTable, wanted: Sequence[Probe]) -> list[LatencyPoint]:
    """Return the points to be measured once more, whether by this run or by one before it they were measured first."""
    asked, anchor_us = set(wanted), table.anchor_us
    return [
        point
        for point in table.points
        if point.attempts < ATTEMPTS and probe_of(point) in asked and (point.unstable or has_moved(point, anchor_us))
    ]


def _measure_all(
    file: TableFile, probes: Sequence[Probe], timer: ProbeTimer, what: str, *, skip_known: bool = False
) -> None:
    """Measure the probes batch by batch, writing each.

    Args:
        what: for the progress bar.
        skip_known: leave out what another process has measured by then.
    """
    batches = list(split_batches(probes))
    if not batches:
        return
    workers = min(MOST_COMPILERS, len(allowed_cpus()))
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(*PROGRESS, console=Console(stderr=True), speed_estimate_period=SPEED_OF_S) as progress,
    ):
        task = progress.add_task(what, total=len(batches))
        for group in _side_by_side(batches, workers):
            known = {probe_of(point) for point in file.read().points} if skip_known else set()
            left = [rest for batch in group if (rest := [probe for probe in batch if probe not in known])]
            for batch, timed in zip(left, list(pool.map(timer.prepare, left)), strict=True):
                file.merge(_steadiest(batch, timed))
            _advance(progress, task, len(group))


def _advance(progress: Progress, task: TaskID, batches: int) -> None:
    """Move the bar; where there is no terminal to show it, say every tenth of the way in a line."""
    before = progress.tasks[task].percentage
    progress.advance(task, batches)
    now = progress.tasks[task]
    if not progress.console.is_terminal and now.percentage // 10 > before // 10 and not now.finished:
        left = "" if now.time_remaining is None else f", {timedelta(seconds=round(now.time_remaining))} left"
        progress.console.print(f"{now.description}: {now.percentage:.0f} %{left}", highlight=False)


def split_batches(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Cut the probes into batches of bounded memory, keeping their order."""
    batch: list[Probe] = []
    floats = 0
    for probe in probes:
        size = _floats(probe)
        if batch and (floats + size > BATCH_FLOATS or len(batch) == BATCH_PROBES):
            yield batch
            batch, floats = [], 0
        batch.append(probe)
        floats += size
    if batch:
        yield batch


def _floats(probe: Probe) -> int:
    setting = probe.setting
    return prod(setting.weight_shape) + setting.out_channels * prod(setting.out_size)


def _side_by_side(batches: Sequence[list[Probe]], most: int) -> Iterator[list[list[Probe]]]:
    """Group the batches that are compiled side by side; one that is larger than a batch should be stays alone."""
    group: list[list[Probe]] = []
    for batch in batches:
        alone = sum(map(_floats, batch)) > BATCH_FLOATS
        if group and (alone or len(group) == most):
            yield group
            group = []
        group.append(batch)
        if alone:
            yield group
            group = []
    if group:
        yield group


def _steadiest(probes: Sequence[Probe], timed: Callable[[], ProbeTimes]) -> list[LatencyPoint]:
    """Time a batch until none of its points is unstable, and return what spread least of each."""
    points = _points(probes, timed())
    for _ in range(1, TIMINGS):
        if not any(point.unstable for point in points):
            break
        pairs = zip(points, _points(probes, timed()), strict=True)
        points = [min(pair, key=lambda point: point.spread) for pair in pairs]
    return points


def _points(probes: Sequence[Probe], times: ProbeTimes) -> list[LatencyPoint]:
    anchor_us = float(np.median(times.anchor_seconds)) * 1e6
    points = []
    for probe, seconds in zip(probes, times.seconds.T, strict=True):
        p10, median, p90 = (max(float(us), 1e-3) for us in np.percentile(seconds * 1e6, (10, 50, 90)))
        points.append(
            LatencyPoint(
                setting=probe.setting,
                scheme=probe.scheme,
                density=probe.density,
                median_us=median,
                p10_us=p10,
                p90_us=p90,
                runs=len(seconds),
                anchor_us=max(anchor_us, 1e-3),
                unstable=p90 > UNSTABLE * p10,
            )
        )
    return points
