"""What a latency table predicts, beside what is measured: whole networks at 224 px by several plans, held-out points.

The table is measured first, as far as it is not there; then every network by every plan: dense, punched:8x4 everywhere,
pattern on 3x3 with unstructured elsewhere, and the plan of the rules, each at a fifth of the multiply-accumulates, and
the plan of the rules for half of the dense latency, measured beside that budget too.
Weights are random, as in networks.py. Predicted and measured are both divided by what the anchor, a fixed layer, took
in the same minute. Rows that the result file has are not measured again.

With --grid the table is that of `profile --grid`: it has none of the networks, their layers are estimated, and what
lies between them is missing from the predictions. With --grid --networks-only the networks are timed dense, as wholes,
but still not their layers.

    .venv/bin/python benchmarks/predict.py [--quick] [--only REGEX] [--table LATENCY.json] [--grid [--networks-only]]
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rows import Result, Row, Run, measure_rows, measured_table, options_parser, table_file
from zoo import LARGE, dense_model

from prunemap.benchmarking import PLANS, Predicted, check_network
from prunemap.core.latency_table import LatencyTable
from prunemap.core.value import now, read_json
from prunemap.latency import LocalTimer
from prunemap.latency.check import PointCheck, check_densities, check_settings
from prunemap.report.text import milliseconds, new_table, percent

MEAN_BAR, WORST_BAR, POINTS_BAR = 0.06, 0.15, 0.08
"""Of |predicted / measured − 1|: networks, mean and worst; held-out points, median."""
LEAST_OF_BUDGET, MOST_OF_BUDGET = -0.10, 0.05
"""Of measured / asked for − 1, for a plan with a latency budget."""
PROFILE_BAR_S = 30 * 60
HELD_OUT = 120
TABLE, GRID = "table", "grid"
"""The rows of how the table was made; the bars are for one that has the networks."""


class PredictionRow(Row):
    """A network by a plan; or, of the row ``densities`` and the row ``settings``, points; or how the table was made."""

    error: float | None = None
    """predicted / measured − 1, both in anchors."""
    predicted_ms: float | None = None
    """At the speed at which the table was measured."""
    measured_ms: float | None = None
    slots_ms: float | None = None
    """The sum of the medians of its slots: far below, if the machine was interrupted."""
    table_anchor_us: float | None = None
    anchor_us: float | None = None
    """With the network."""
    rounds: int | None = None
    over_budget: float | None = None
    """measured / asked for − 1, both in anchors."""
    points: int | None = None
    median: float | None = None
    mean: float | None = None
    worst: float | None = None
    unstable: int | None = None
    profile_s: float | None = None
    """That it took to bring the table to what it is; 0 where it was there."""
    notes: tuple[str, ...] = ()


def make_table(path: Path, names: Sequence[str], grid: bool, run: Run) -> PredictionRow:
    """Measure what the table lacks, of some networks or of the grid."""
    start = time.perf_counter()
    table = measured_table(path, [dense_model(name) for name in names], run, grid=grid)
    return PredictionRow(
        name=GRID if grid else TABLE,
        points=len(table.points),
        unstable=sum(point.unstable for point in table.points),
        profile_s=time.perf_counter() - start,
        table_anchor_us=table.anchor_us,
        notes=table.notes,
        command=run.command,
        date=now(),
    )


def measure_network(name: str, plan: str, path: Path, grid: bool, run: Run) -> PredictionRow:
    """Predict a network by a plan, prune it, and time it."""
    network = Predicted(dense_model(name), read_json(path, LatencyTable, "--table"), estimate=grid)
    found = check_network(network, LocalTimer(run.threads), plan, effort=run.effort, tune=not run.quick)
    return PredictionRow(
        name=f"{name} {plan}",
        error=found.error,
        predicted_ms=found.predicted_us / 1e3,
        measured_ms=found.measured_us / 1e3,
        slots_ms=found.slots_us / 1e3,
        table_anchor_us=found.table_anchor_us,
        anchor_us=found.anchor_us,
        rounds=found.rounds,
        over_budget=found.over_budget,
        command=run.command,
        date=now(),
    )


def measure_densities(path: Path, run: Run) -> PredictionRow:
    """Measure densities between those of the table."""
    table = read_json(path, LatencyTable, "--table")
    return points_row("densities", check_densities(table, LocalTimer(run.threads), 24 if run.quick else HELD_OUT), run)


def estimate_settings(path: Path, run: Run) -> PredictionRow:
    """Estimate every setting of the table from the others."""
    return points_row("settings", check_settings(read_json(path, LatencyTable, "--table")), run)


def points_row(name: str, checks: Sequence[PointCheck], run: Run) -> PredictionRow:
    errors = [abs(each.error) for each in checks]
    return PredictionRow(
        name=name,
        points=len(errors),
        median=float(np.median(errors)),
        mean=float(np.mean(errors)),
        worst=max(errors),
        command=run.command,
        date=now(),
    )


def print_result(result: Result[PredictionRow], console: Console) -> None:
    """Print the networks, then all errors beside their bars."""
    networks = [row for row in result.rows if row.error is not None]
    by_grid = any(row.name == GRID for row in result.rows)
    table = new_table(
        "predicted and measured", "network and plan", "predicted, ms", "measured, ms", "slots", "anchors", "error"
    )
    for row in networks:
        assert row.predicted_ms and row.measured_ms and row.anchor_us and row.error is not None
        scale = row.anchor_us / (row.table_anchor_us or row.anchor_us)
        cells = map(milliseconds, (row.predicted_ms * scale, row.measured_ms, row.slots_ms or 0.0))
        anchors = f"{row.measured_ms * 1e3 / row.anchor_us:.1f}"
        table.add_row(row.name, *cells, anchors, f"{row.error * 100:+.1f} %")
    console.print(table)
    bars = new_table("errors", "", "points", "median", "mean", "worst", "bar", "")
    errors = [abs(row.error or 0.0) for row in networks]
    if errors:
        mean, worst = float(np.mean(errors)), max(errors)
        cells = (str(len(errors)), *map(percent, (float(np.median(errors)), mean, worst)))
        of_bar = ("", "") if by_grid else ("mean 6 %, worst 15 %", verdict(mean <= MEAN_BAR and worst <= WORST_BAR))
        bars.add_row("whole networks", *cells, *of_bar)
    budgets = [row.over_budget for row in networks if row.over_budget is not None]
    if budgets:
        met = all(LEAST_OF_BUDGET <= each <= MOST_OF_BUDGET for each in budgets)
        spread = f"latency budgets: {min(budgets) * 100:+.1f} to {max(budgets) * 100:+.1f} %"
        bars.add_row(spread, str(len(budgets)), "", "", "", *(("", "") if by_grid else ("-10 to +5 %", verdict(met))))
    for row in result.rows:
        if row.median is not None and row.mean is not None and row.worst is not None:
            of_densities = row.name == "densities"
            cells = (str(row.points), *map(percent, (row.median, row.mean, row.worst)))
            bar, passed = ("median 8 %", verdict(row.median <= POINTS_BAR)) if of_densities else ("", "")
            bars.add_row(f"{row.name}, held out", *cells, bar, passed)
        if row.profile_s:
            took = f"{row.points} points in {row.profile_s / 60:.1f} min, {row.unstable} unstable"
            of_bar = ("", "") if by_grid else ("30 min", verdict(row.profile_s <= PROFILE_BAR_S))
            bars.add_row(f"{row.name}: {took}", "", "", "", "", *of_bar)
    console.print(bars)


def verdict(passed: bool) -> str:
    return "[green]PASS[/]" if passed else "[red]MISS[/]"


def main() -> None:
    parser = options_parser(__doc__, "resnet50")
    parser.add_argument("--table", type=Path, help="latency table; default: in runs/benchmarks")
    parser.add_argument("--networks", nargs="+", choices=LARGE, default=LARGE)
    parser.add_argument("--grid", action="store_true", help="by the table of usual layers, without those of networks")
    parser.add_argument("--networks-only", action="store_true", help="with --grid: the networks as wholes, not layers")
    options = parser.parse_args()
    if options.networks_only and not options.grid:
        parser.error("--networks-only: without --grid nothing says what layers take")
    grid = options.grid
    of = ("grid-networks" if options.networks_only else "grid") if grid else ""
    run = Run.of(options, f"predict-{of}".rstrip("-"))
    path = options.table or table_file(run, of)
    timed = options.networks if options.networks_only or not grid else ()
    measurements = {GRID if grid else TABLE: partial(make_table, path, timed, grid)}
    measurements |= {
        f"{name} {plan}": partial(measure_network, name, plan, path, grid)
        for name in options.networks
        for plan in PLANS
    }
    measurements |= {"densities": partial(measure_densities, path), "settings": partial(estimate_settings, path)}
    measure_rows(run, Result[PredictionRow], measurements, print_result)


if __name__ == "__main__":
    main()
