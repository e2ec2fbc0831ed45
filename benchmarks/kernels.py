"""How close every kernel comes to the machine's limit: layer × scheme × density, each layer alone.

The layers are the distinct ones of ResNet-50, VGG-16 and MobileNetV2 at 224 px and of the zoo's small networks, then
those of ``other_layers.py``: 1-D and transposed convolutions, products on tokens, LSTM and GRU; pruned with random
weights. A layer runs as it does in a network (rows a pixel longer beside larger kernels), all of its steps counted; its
limit is that of the useful work, max(2 · kept MACs / FMA peak, (inputs + outputs + kept weights) / copy bandwidth),
both measured in the same run. A recurrence reads its weights in every step, at the bandwidth of what a step touches.

All rows go to a CSV file, the medians and what they must reach to a JSON file in benchmarks/results. Rows that the file
has are not measured again: an interrupted run goes on, and other layers are added to it.

    .venv/bin/python benchmarks/kernels.py [--quick] [--threads N] [--only REGEX] [--every N]
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from kernel_results import (
    MAPS,
    Row,
    Summary,
    checks_of,
    commands_before,
    print_checks,
    print_rows,
    read_rows,
    write_rows,
)
from other_layers import OTHER_LAYERS
from rich.console import Console
from rich.progress import track
from zoo import RESULTS, layer_settings

from prunemap.compiler import LayerCase
from prunemap.compiler.build import find_compiler
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target
from prunemap.core.value import now, write_json
from prunemap.devices import Limits, measure_limits, pinned, read_machine
from prunemap.errors import UserError
from prunemap.latency.probe import Probe, make_probes
from prunemap.latency.time_cases import prepare_cases
from prunemap.report.text import percent
from prunemap.targets import resolve_target

BLOCKS = ("16x4", "8x4", "4x1", "2x1")
SCHEMES = (*(f"punched:{b}" for b in BLOCKS), *(f"block:{b}" for b in BLOCKS), "unstructured", "pattern")
SCHEMES_OF_KIND = {"linear": ("block:16x4", "block:8x4"), "depthwise": ("unstructured", "filter")}
OTHER_SCHEMES = ("punched:16x4", "punched:8x4", "punched:4x1", "block:8x4", "unstructured")
DENSITIES = (0.5, 0.25, 0.1)
QUICK_SCHEMES, QUICK_DENSITIES = ("punched:8x4", "block:8x4", "unstructured"), (0.1,)
QUICK_WEIGHTS = 3_000_000
BATCH_BYTES, BATCH_CASES = 8 << 20, 12
"""One program holds so much at most, so that its layers find their data in L3 at the worst, as in a network."""
BATCH_SECONDS = 0.5
LIMITS_LAST_SECONDS = 60
L2_BYTES = 1 << 20
"""As large as the second cache of the machines that this is run on, or larger."""


@dataclass(frozen=True)
class Run:
    """How this run measures."""

    target: Target
    threads: int
    quick: bool


def probes_of(setting: LayerSetting, quick: bool) -> list[Probe]:
    """Return the cases of a layer, dense first; the first convolution is dense only."""
    densities = QUICK_DENSITIES if quick else DENSITIES
    by_kind = SCHEMES_OF_KIND.get(setting.kind, SCHEMES)
    names = OTHER_SCHEMES if setting in OTHER_LAYERS else QUICK_SCHEMES if quick else by_kind
    schemes = [SchemeSpec.parse(name) for name in names]
    return make_probes([setting], schemes if setting.in_channels > 3 else [], densities)


def family_of(probe: Probe) -> str:
    if probe.setting in OTHER_LAYERS:
        return _family_of_other(probe)
    if probe.setting.kind == "depthwise" and probe.scheme != DENSE:
        return f"depthwise, {probe.scheme.name}"
    if probe.setting.kind != "conv":
        return probe.setting.kind
    if probe.scheme.block is None:
        return probe.scheme.name
    return f"{probe.scheme.name}, 4 filters or more" if probe.scheme.block[0] >= 4 else f"{probe.scheme.name} 2x1"


def _family_of_other(probe: Probe) -> str:
    setting = probe.setting
    if setting.is_recurrent:
        weights_bytes = 4 * prod(setting.weight_shape) * probe.density
        return f"{setting.kind}, weights {'beyond' if weights_bytes > L2_BYTES else 'within'} L2"
    kind = {"conv": "conv 1-D", "linear": "tokens"}.get(setting.kind, setting.kind)
    return f"{kind}, {'dense' if probe.scheme == DENSE else 'blocks' if probe.scheme.block else probe.scheme.name}"


def map_class(setting: LayerSetting) -> int:
    return next(size for size in MAPS if min(setting.out_size) >= size)


def batches(probes: Sequence[Probe]) -> Iterator[list[Probe]]:
    """Cut the cases of one layer into programs."""
    batch: list[Probe] = []
    size = 0
    for probe in probes:
        setting = probe.setting
        more = 4 * int(prod(setting.weight_shape) * probe.density + prod(setting.out_shape))
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
    times = prepare_cases(cases, target=run.target.name).time(run.threads, seconds)
    return [
        _row(probe, case.weight, kernel, seconds, limits)
        for probe, case, kernel, seconds in zip(probes, cases, times.kernels, times.seconds.T, strict=True)
    ]


def _row(probe: Probe, weight: np.ndarray, kernel: str, seconds: np.ndarray, limits: Limits) -> Row:
    setting, kept = probe.setting, int(np.count_nonzero(weight))
    macs, passes = kept * setting.uses, setting.passes
    size_bytes = 4 * (prod(setting.in_shape) + prod(setting.out_shape) + kept * passes)
    p10, median, p90 = np.percentile(seconds * 1e6, (10, 50, 90)).tolist()
    limit_us = limits.limit_us(macs, size_bytes, passes)
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


def settings_to_measure(only: str, quick: bool, every: int) -> list[LayerSetting]:
    """Return the settings; convolutions of one pixel are left out: in a network they are linear layers."""
    layers = (*layer_settings(), *OTHER_LAYERS)
    found = [s for s in layers if re.search(only, str(s)) and (s.kind == "linear" or s.out_size != (1, 1))]
    return [s for s in found if prod(s.weight_shape) <= QUICK_WEIGHTS or not quick][::every]


def measure_all(settings: Sequence[LayerSetting], run: Run, path: Path) -> tuple[list[Row], Limits]:
    """Measure every setting; the file grows with it, and an interrupt keeps what is there."""
    rows = read_rows(path)
    known = {(row.layer, row.scheme, row.asked_density) for row in rows}
    limits, taken = measure_limits(run.target, run.threads), time.monotonic()
    try:
        for setting in track(settings, "measuring kernels", console=Console(stderr=True)):
            if time.monotonic() - taken > LIMITS_LAST_SECONDS:  # the speed of a machine drifts
                limits, taken = measure_limits(run.target, run.threads), time.monotonic()
            probes = probes_of(setting, run.quick)
            new = [each for each in probes if (str(setting), str(each.scheme), each.density) not in known]
            for batch in batches(new):
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
    date = now()
    path = options.output or RESULTS / f"kernels-{run.target.name}-{date[:10]}.csv"
    settings = settings_to_measure(options.only, options.quick, options.every or (4 if options.quick else 1))
    machine = read_machine(run.target.name, find_compiler().version)
    try:
        before = commands_before(path, machine, run.threads)
    except UserError as error:
        parser.error(str(error))
    with pinned(run.threads):
        rows, limits = measure_all(settings, run, path)
    summary = Summary(
        command=" && ".join(dict.fromkeys([*before, shlex.join(["python", *sys.argv])])),
        date=date,
        machine=machine,
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
