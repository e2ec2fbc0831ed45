"""Real time: frames per second and the slowest runs of pruned networks over a minute without pause, on this machine.

The networks are those of benchmarks/checkpoints, trained and pruned on CIFAR-10, and ImageNet ones with random weights.
Each runs as a static program, checked first. Rows that the result file has are not measured again.

    .venv/bin/python benchmarks/sustained.py [--quick] [--only REGEX]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cifar10_latency import exported
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from zoo import sparse_model

from prunemap.core.value import now
from prunemap.devices import parse_device
from prunemap.on_device import DeviceBench, choose_place, sustained_on_device
from prunemap.report.text import milliseconds, new_table, times

SECONDS, QUICK_SECONDS = 60.0, 5.0
TRAINED = ("resnet20-pruned-s0", "vgg16-pruned-s0", "mobilenetv2-pruned-s0")
RANDOM = {"resnet50": "punched:8x4@0.1", "mobilenetv2": "block:8x4@0.1"}


class SustainedRow(Row):
    """A network that ran without pause."""

    seconds: float
    frames_per_second: float
    p50_ms: float
    p99_ms: float
    slowdown: float
    """Median time of the last quarter over that of the first window."""
    max_relative_error: float


def measure(name: str, model: Callable[[], Path], run: Run) -> SustainedRow:
    place = choose_place(parse_device("local"), run.threads, "native", tunes=not run.quick)
    seconds = QUICK_SECONDS if run.quick else SECONDS
    with DeviceBench.open(model(), place) as bench:
        held = sustained_on_device(bench, place, seconds)
    if not held.check.passed:
        raise SystemExit(f"{name}: its outputs are not those of {held.reference}")
    return SustainedRow(
        name=name,
        seconds=held.windows[-1].at_s,
        frames_per_second=held.frames_per_second,
        p50_ms=held.p50_ms,
        p99_ms=held.p99_ms,
        slowdown=held.slowdown,
        max_relative_error=held.check.max_relative_error,
        command=run.command,
        date=now(),
    )


def print_result(result: Result[SustainedRow], console: Console) -> None:
    table = new_table(
        f"without pause, {result.threads} thread", "network", "s", "frames/s", "p50, ms", "p99, ms", "last / first"
    )
    for row in result.rows:
        times_ms = map(milliseconds, (row.p50_ms, row.p99_ms))
        table.add_row(row.name, f"{row.seconds:.0f}", f"{row.frames_per_second:.0f}", *times_ms, times(row.slowdown))
    console.print(table)


def main() -> None:
    run = Run.of(options_parser(__doc__, "resnet20").parse_args(), "sustained")
    models: dict[str, Callable[[], Path]] = {name: partial(exported, name) for name in TRAINED}
    models |= {f"{name} {sparsity}": partial(sparse_model, name, sparsity) for name, sparsity in RANDOM.items()}
    measurements = {name: partial(measure, name, model) for name, model in models.items()}
    measure_rows(run, Result[SustainedRow], measurements, print_result)


if __name__ == "__main__":
    main()
