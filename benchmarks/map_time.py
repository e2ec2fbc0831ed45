"""How long ``map`` takes on whole networks: from an ONNX file and a latency table on disk to the plan.

Random weights and a table that nobody measured (``synthetic_device.py``): neither changes the work. The figure is the
median over runs in one process; the first one, which also imports, is beside it.

    .venv/bin/python benchmarks/map_time.py [--only REGEX]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from synthetic_device import synthetic_table
from zoo import LARGE, WORK, dense_model

from prunemap.compiler import read_specs
from prunemap.core.value import now, write_json
from prunemap.latency import probe_settings
from prunemap.mapping import Budget, map_model
from prunemap.report.text import new_table

BAR_S = 10.0
BUDGETS = (Budget(density=0.2), Budget(keep_energy=0.8))
RUNS, QUICK_RUNS = 3, 1


class MapTimeRow(Row):
    """A network and a budget."""

    first_s: float
    median_s: float
    bar_s: float = BAR_S
    passed: bool
    runs: int
    layers: int
    points: int
    """Of the table."""


def measure(network: str, budget: Budget, name: str, run: Run) -> MapTimeRow:
    """Map as often as wanted."""
    model, table = dense_model(network), WORK / f"{network}-synthetic.json"
    specs = read_specs(model)
    made = synthetic_table(probe_settings(spec.setting for spec in specs))
    write_json(table, made)
    seconds = []
    for _ in range(QUICK_RUNS if run.quick else RUNS):
        start = time.perf_counter()
        map_model(model, table, budget)
        seconds.append(time.perf_counter() - start)
    return MapTimeRow(
        name=name,
        first_s=seconds[0],
        median_s=statistics.median(seconds),
        passed=max(seconds) <= BAR_S,
        runs=len(seconds),
        layers=len(specs),
        points=len(made.points),
        command=run.command,
        date=now(),
    )


def measurements() -> dict[str, Callable[[Run], MapTimeRow]]:
    """Return what measures each row, by its name."""
    found: dict[str, Callable[[Run], MapTimeRow]] = {}
    for network in LARGE:
        for budget in BUDGETS:
            (argument,) = (name for name, value in vars(budget).items() if value is not None)
            name = f"{network} {argument}={getattr(budget, argument):g}"
            found[name] = partial(measure, network, budget, name)
    return found


def print_result(result: Result[MapTimeRow], console: Console) -> None:
    """Print the rows beside the bar."""
    table = new_table("map", "network, budget", "layers", "points", "first, s", "median, s", "bar, s", "")
    for row in result.rows:
        verdict = "[green]PASS[/]" if row.passed else "[red]MISS[/]"
        times = (f"{row.first_s:.1f}", f"{row.median_s:.1f}", f"{row.bar_s:g}")
        table.add_row(row.name, str(row.layers), str(row.points), *times, verdict)
    console.print(table)


def main() -> None:
    run = Run.of(options_parser(__doc__, "resnet50").parse_args(), "map-time")
    measure_rows(run, Result[MapTimeRow], measurements(), print_result)


if __name__ == "__main__":
    main()
