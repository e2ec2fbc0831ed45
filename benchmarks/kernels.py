"""How close every kernel comes to the machine's limit: layer × scheme × density, each layer alone.

The layers are the distinct ones of ResNet-50, VGG-16 and MobileNetV2 at 224 px and of the zoo's small networks, pruned
with random weights. A layer runs as it does in a network (rows a pixel longer beside larger kernels); its limit is that
of the useful work, max(2 · kept MACs / FMA peak, (inputs + outputs + kept weights) / copy bandwidth), both measured in
the same run. All rows go to a CSV file, the medians and what they must reach to a JSON file in benchmarks/results.

    .venv/bin/python benchmarks/kernels.py [--quick] [--threads N] [--only REGEX] [--every N]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from zoo import RESULTS, layer_settings

from prunemap.compiler import LayerCase
from prunemap.compiler.build import find_compiler
from prunemap.core.files import write_text
from prunemap.core.latency_table import Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target
from prunemap.core.value import Value, write_json
from prunemap.devices import Limits, measure_limits, pinned, read_machine
from prunemap.latency.probe import Probe, make_probes
from prunemap.latency.time_cases import time_cases
from prunemap.report.text import new_table, percent
from prunemap.targets import resolve_target

BLOCKS = ("16x4", "8x4", "4x1", "2x1")
SCHEMES = (*(f"punched:{b}" for b in BLOCKS), *(f"block:{b}" for b in BLOCKS), "unstructured", "pattern")
LINEAR_SCHEMES = ("block:16x4", "block:8x4")
DENSITIES = (0.5, 0.25, 0.1)
QUICK_SCHEMES, QUICK_DENSITIES = ("punched:8x4", "block:8x4", "unstructured"), (0.1,)
QUICK_WEIGHTS = 3_000_000
BATCH_BYTES, BATCH_CASES = 8 << 20, 12
"""One program holds so much at most, so that its layers find their data in L3 at the worst, as in a network."""
BATCH_SECONDS = 0.5
LIMITS_LAST_SECONDS = 60
MAPS = (28, 14, 7, 4, 2, 1)
WIDE_BARS = {28: 0.80, 14: 0.68, 7: 0.60, 4: 0.55, 2: 0.45}
WIDE = ("punched, 4 filters or more", "block, 4 filters or more")
BARS: dict[str, dict[int, float]] = {
    **dict.fromkeys(WIDE, WIDE_BARS),
    "punched 2x1": {0: 0.60},
    "block 2x1": {0: 0.60},
    "unstructured": {0: 0.38},
    "pattern": {0: 0.42},
    "linear": {0: 0.60},
    "depthwise": {0: 0.60},
}
"""Least median share of the limit, by family and map size; 0 = all sizes together."""
DENSE_US = 200
"""The speed-up must follow the density where the dense layer takes at least so long."""


class Row(Value):
    """One measured case."""

    layer: str
    kind: str
    family: str
    map: int
    """Class of the output's size: 28 = 28 or more, 14 = 14 to 27, …"""
    scheme: str
    asked_density: float
    density: float
    kernel: str
    macs_kept: int
    size_bytes: int
    median_us: float
    p10_us: float
    p90_us: float
    limit_us: float
    share: float
    bound: str
    """Which limit it is: computing or moving."""


class Check(Value):
    """A figure beside what it must be."""

    what: str
    cases: int
    value: float
    bar: float
    passed: bool


class Summary(Value):
    """The JSON file."""

    command: str
    date: str
    machine: Machine
    threads: int
    limits: Limits
    quick: bool
    rows_file: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Run:
    """How this run measures."""

    target: Target
    threads: int
    quick: bool


def probes_of(setting: LayerSetting, quick: bool) -> list[Probe]:
    """Return the cases of a layer, dense first; the first convolution is dense only."""
    densities = QUICK_DENSITIES if quick else DENSITIES
    names = LINEAR_SCHEMES if setting.kind == "linear" else QUICK_SCHEMES if quick else SCHEMES
    schemes = [SchemeSpec.parse(name) for name in names]
    return make_probes([setting], schemes if setting.in_channels > 3 else [], densities)


def family_of(probe: Probe) -> str:
    if probe.setting.kind != "conv":
        return probe.setting.kind
    if probe.scheme.block is None:
        return probe.scheme.name
    return f"{probe.scheme.name}, 4 filters or more" if probe.scheme.block[0] >= 4 else f"{probe.scheme.name} 2x1"


def map_class(setting: LayerSetting) -> int:
    return next(size for size in MAPS if min(setting.out_size) >= size)


def batches(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Cut the cases of one layer into programs."""
    batch: list[Probe] = []
    size = 0
    for probe in probes:
        setting = probe.setting
        more = 4 * int(prod(setting.weight_shape) * probe.density + setting.out_channels * prod(setting.out_size))
        if batch and (size + more > BATCH_BYTES or len(batch) == BATCH_CASES):
            yield batch
            batch, size = [], 0
        batch.append(probe)
        size += more
    if batch:
        yield batch


def measure(probes: list[Probe], limits: Limits, run: Run) -> list[Row]:
    """Compile the cases into one program, check what they compute, and time them."""
    cases = [LayerCase(probe.setting, probe.weight()) for probe in probes]
    seconds = (0.1 if run.quick else 1.0) * BATCH_SECONDS
    times = time_cases(cases, threads=run.threads, target=run.target.name, timed_seconds=seconds)
    return [
        _row(probe, case.weight, kernel, seconds, limits)
        for probe, case, kernel, seconds in zip(probes, cases, times.kernels, times.seconds.T, strict=True)
    ]


def _row(probe: Probe, weight: np.ndarray, kernel: str, seconds: np.ndarray, limits: Limits) -> Row:
    setting, kept = probe.setting, int(np.count_nonzero(weight))
    macs = kept * prod(setting.out_size)
    outputs, inputs = setting.out_channels * prod(setting.out_size), setting.in_channels * prod(setting.size)
    size_bytes = 4 * (inputs + outputs + kept)
    p10, median, p90 = np.percentile(seconds * 1e6, (10, 50, 90)).tolist()
    limit_us = limits.limit_us(macs, size_bytes)
    return Row(
        layer=str(setting),
        kind=setting.kind,
        family=family_of(probe),
        map=map_class(setting),
        scheme=str(probe.scheme),
        asked_density=probe.density,
        density=kept / weight.size,
        kernel=kernel,
        macs_kept=macs,
        size_bytes=size_bytes,
        median_us=median,
        p10_us=p10,
        p90_us=p90,
        limit_us=limit_us,
        share=limit_us / median,
        bound="computing" if limits.limit_us(macs, 0) >= limit_us else "moving",
    )


def checks_of(rows: Sequence[Row]) -> list[Check]:
    """Hold the medians against what they must reach."""
    checks = []
    for family, bars in BARS.items():
        for size, bar in bars.items():
            shares = [row.share for row in rows if row.family == family and size in (0, row.map)]
            if family == "linear":  # one vector per image: the weights must be moved, whatever the peak
                shares = [row.share for row in rows if row.family == family and row.bound == "moving"]
            if shares:
                where = f" at {size}x{size}{' and larger' if size == MAPS[0] else ''}" if size else ""
                median = float(np.median(shares))
                what = f"median share of the limit, {family}{where}"
                checks.append(Check(what=what, cases=len(shares), value=median, bar=bar, passed=median >= bar))
    return [*checks, *_speed_up_checks(rows), *_pattern_checks(rows)]


def _speed_up_checks(rows: Sequence[Row]) -> list[Check]:
    """t(d) / t(1) ≤ 1.2 · d + 0.04 for every case, so for the largest excess."""
    dense_us = {row.layer: row.median_us for row in rows if row.scheme == str(DENSE)}
    excess = [
        row.median_us / dense_us[row.layer] - (1.2 * row.density + 0.04)
        for row in rows
        if row.family in WIDE and row.bound == "computing" and dense_us[row.layer] >= DENSE_US
    ]
    if not excess:
        return []
    within = float(np.mean(np.array(excess) <= 0))
    return [
        Check(what="share of cases with t(d)/t(1) ≤ 1.2·d + 0.04", cases=len(excess), value=within, bar=1.0,
              passed=within == 1.0),
        Check(what="largest t(d)/t(1) - (1.2·d + 0.04)", cases=len(excess), value=max(excess), bar=0.0,
              passed=max(excess) <= 0),
    ]  # fmt: skip


def _pattern_checks(rows: Sequence[Row]) -> list[Check]:
    """Pattern is never slower than as many weights anywhere."""
    other_us = {(row.layer, row.asked_density): row.median_us for row in rows if row.family == "unstructured"}
    ratios = [
        row.median_us / other_us[row.layer, row.asked_density]
        for row in rows
        if row.family == "pattern" and (row.layer, row.asked_density) in other_us
    ]
    if not ratios:
        return []
    return [
        Check(what="largest time of pattern / unstructured at equal density", cases=len(ratios), value=max(ratios),
              bar=1.0, passed=max(ratios) <= 1.0)
    ]  # fmt: skip


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the share of the limit, one line per layer and scheme, one column per density."""
    densities = sorted({row.asked_density for row in rows}, reverse=True)
    table = new_table("share of the limit", "layer", "scheme", "kernel", *(f"{d:g}" for d in densities), left=3)
    lines: dict[tuple[str, str], dict[float, Row]] = {}
    for row in rows:
        lines.setdefault((row.layer, row.scheme), {})[row.asked_density] = row
    for (layer, scheme), found in lines.items():
        kernels = " ".join(dict.fromkeys(row.kernel.removeprefix("f32_") for row in found.values()))
        cells = (f"{found[d].share * 100:.0f} %" if d in found else "" for d in densities)
        table.add_row(layer, scheme, kernels, *cells)
    console.print(table)


def print_checks(checks: Sequence[Check], console: Console) -> None:
    table = new_table("against the bars", "what", "cases", "reached", "bar", "")
    for check in checks:
        verdict = "[green]PASS[/]" if check.passed else f"[red]MISS by {abs(check.value - check.bar):.2f}[/]"
        table.add_row(check.what, str(check.cases), f"{check.value:.2f}", f"{check.bar:.2f}", verdict)
    console.print(table)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.model_fields))
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    write_text(path, text.getvalue())


def settings_to_measure(only: str, quick: bool, every: int) -> list[LayerSetting]:
    """Return the settings; convolutions of one pixel are left out: in a network they are linear layers."""
    found = [s for s in layer_settings() if re.search(only, str(s)) and (s.kind == "linear" or s.out_size != (1, 1))]
    return [s for s in found if prod(s.weight_shape) <= QUICK_WEIGHTS or not quick][::every]


def measure_all(settings: Sequence[LayerSetting], run: Run, path: Path) -> tuple[list[Row], Limits]:
    """Measure every setting; the file grows with it, and an interrupt keeps what is there."""
    rows: list[Row] = []
    limits, taken = measure_limits(run.target, run.threads), time.monotonic()
    try:
        for setting in track(settings, "measuring kernels", console=Console(stderr=True)):
            if time.monotonic() - taken > LIMITS_LAST_SECONDS:  # the speed of a machine drifts
                limits, taken = measure_limits(run.target, run.threads), time.monotonic()
            for batch in batches(probes_of(setting, run.quick)):
                rows += measure(batch, limits, run)
            write_rows(path, rows)
    except KeyboardInterrupt:
        print(f"interrupted after {len(rows)} cases", file=sys.stderr)
    return rows, limits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small layers only, three schemes at one density")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", metavar="REGEX", help="layers such as 'conv 3x3/1 .* at 14x14'")
    parser.add_argument("--every", type=int, metavar="N", help="every N-th layer; default: all, --quick: every fourth")
    parser.add_argument("--target", default="native")
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results/kernels-TARGET-DATE.csv")
    options = parser.parse_args()
    if options.every is not None and options.every < 1:
        parser.error(f"--every: got {options.every}, allowed are numbers from 1 on")
    run = Run(resolve_target(options.target), options.threads, options.quick)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    path = options.output or RESULTS / f"kernels-{run.target.name}-{date[:10]}.csv"
    settings = settings_to_measure(options.only, options.quick, options.every or (4 if options.quick else 1))
    with pinned(run.threads):
        rows, limits = measure_all(settings, run, path)
    summary = Summary(
        command=shlex.join(["python", *sys.argv]),
        date=date,
        machine=read_machine(run.target.name, find_compiler().version),
        threads=run.threads,
        limits=limits,
        quick=run.quick,
        rows_file=path.name,
        checks=tuple(checks_of(rows)),
    )
    write_json(path.with_suffix(".json"), summary)
    console = Console(width=None if sys.stdout.isatty() else 120)
    print_rows(rows, console)
    print_checks(summary.checks, console)
    worst = min(rows, key=lambda row: row.share, default=None)
    if worst is not None:
        console.print(f"{len(rows)} cases in {path}; lowest: {worst.layer} {worst.scheme} {percent(worst.share)}")


if __name__ == "__main__":
    main()
