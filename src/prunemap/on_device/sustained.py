"""Sustained runs: a network runs on a device for minutes, window by window, temperature and frequency beside it."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from time import monotonic

import numpy as np

from prunemap.core.value import Value, now
from prunemap.devices import DeviceLostError, Facts, Reading, Session, opened, parse_report
from prunemap.devices.facts import READING, parse_reading
from prunemap.devices.program import ProgramCheck
from prunemap.errors import UserError
from prunemap.exporting.reference import make_reference
from prunemap.on_device.bench import FIRST_RUNS, DeviceBench, check_not_emulated, checked
from prunemap.on_device.place import Place

LEAST_WINDOW_S, MOST_WINDOWS = 1.0, 40
_END = "[window]"


class Window(Value):
    """A stretch of back-to-back runs."""

    at_s: float
    """When it ended, from the start."""
    runs: int
    p50_ms: float
    p99_ms: float
    frames_per_second: float
    """Runs per second; times the batch where there is one."""
    temperature_c: float | None = None
    mhz: float | None = None
    """Of the fastest CPU in use, at the end of the window."""


class SustainedResult(Value):
    """How the speed of a device holds."""

    model: str
    device: str
    facts: Facts
    target: str
    compiler: str
    threads: int
    pinned_cpus: tuple[int, ...]
    check: ProgramCheck
    reference: str
    windows: tuple[Window, ...]
    p50_ms: float
    """Of all runs."""
    p99_ms: float
    frames_per_second: float
    command: str = ""
    date: str = ""
    lost: str = ""
    """Why it did not run as long as asked; "" = it did."""

    @property
    def slowdown(self) -> float:
        """Median time of the last quarter of the windows over that of the first window."""
        last = self.windows[-max(1, len(self.windows) // 4) :]
        return float(np.median([window.p50_ms for window in last])) / self.windows[0].p50_ms


def sustained_on_device(bench: DeviceBench, place: Place, seconds: float, command: str = "") -> SustainedResult:
    """Run a network without pause for so long.

    Raises:
        UserError: the device emulates, or ``seconds`` is too short.
        DeviceError: it cannot be used, or is lost before a window is finished.
    """
    if not 2 * LEAST_WINDOW_S <= seconds <= 24 * 3600:
        raise UserError(f"--sustained: got {seconds:g}, allowed are {2 * LEAST_WINDOW_S:g} to 86400 seconds")
    check_not_emulated(place)
    reference, lost = make_reference(bench.program, bench.onnx), ""
    windows: list[Window] = []
    runs_us: list[tuple[float, ...]] = []
    with opened(place.device) as session:
        placed = place.send(session, bench.program, "model", reference, bench.cc)
        first = placed.run("--runs", FIRST_RUNS, "--no-layers")
        window_s = max(LEAST_WINDOW_S, seconds / MOST_WINDOWS)
        runs = max(1, ceil(window_s * 1e6 / max(float(np.median(first.run_us)), 0.1)))
        one = session.one(placed.command("--runs", min(runs, 10**6), "--warmup", 0, "--no-check", "--no-layers"))
        start = monotonic()
        try:
            for run_us, reading in _windows(session, f"{{ {one}; }} || exit $?"):
                runs_us.append(run_us)
                windows.append(_window(monotonic() - start, run_us, reading, place))
                if windows[-1].at_s >= seconds:
                    break
        except DeviceLostError as error:
            if not windows:
                raise
            lost = str(error)
    everything = np.concatenate(runs_us) / 1e3
    return SustainedResult(
        model=bench.name,
        device=place.device.name,
        facts=place.facts,
        target=first.target,
        compiler=bench.program.manifest.compiler,
        threads=place.threads,
        pinned_cpus=place.cpus,
        check=checked(first),
        reference=reference.made_by,
        windows=tuple(windows),
        p50_ms=float(np.median(everything)),
        p99_ms=float(np.percentile(everything, 99)),
        frames_per_second=1e3 / float(everything.mean()),
        command=command,
        date=now(),
        lost=lost,
    )


def _windows(session: Session, one: str) -> Iterator[tuple[tuple[float, ...], Reading]]:
    """Run windows until the caller has enough: the device goes on by itself, so that it does not cool down between."""
    said: list[str] = []
    for line in session.lines(f"while :; do {one}; {READING}; echo '{_END}'; done"):
        said.append(line)
        if line == _END:
            report = parse_report("\n".join(said))
            if report is not None:
                yield report.run_us, parse_reading("\n".join(said))
            said = []


def _window(at_s: float, run_us: tuple[float, ...], reading: Reading, place: Place) -> Window:
    p50, p99 = np.percentile(np.array(run_us) / 1e3, (50, 99)).tolist()
    return Window(
        at_s=at_s,
        runs=len(run_us),
        p50_ms=p50,
        p99_ms=p99,
        frames_per_second=1e6 / float(np.mean(run_us)),
        temperature_c=reading.temperature_c,
        mhz=reading.fastest_mhz(place.cpus or [cpu.number for cpu in place.facts.cpus]),
    )
