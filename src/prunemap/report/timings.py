"""Tables of what was measured: profile, verify and bench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table

from prunemap.benchmarking import BenchResult, EngineResult, VerifyResult
from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE
from prunemap.report.layers import faked_tables, layer_tables
from prunemap.report.text import milliseconds, new_table, shape, times

MAX_DENSITIES = 3


def latency_table(table: LatencyTable) -> Table:
    """Return, per layer setting, the dense latency and the fastest scheme at a few of the densities measured.

    All at one speed of the machine, as `map` takes them: dense and pruned may have been measured at different ones.
    """
    densities = _shown_densities(table)
    by_setting: dict[LayerSetting, list[LatencyPoint]] = {}
    for point in table.points:
        by_setting.setdefault(point.setting, []).append(point)
    anchor_us = table.anchor_us
    lines = [
        "per density the fastest scheme: µs, times faster than dense",
        f"{point_count(table)}; {thread_count(table.threads)}, {machine_name(table.machine)}",
        *table.notes,
    ]
    caption = "\n".join(lines)
    headers = (f"density {density:g}" for density in densities)
    shown = new_table("latency of layers", "layer", "dense, µs", *headers, caption=caption)
    for setting, points in by_setting.items():
        dense_us = next((point.at_anchor(anchor_us) for point in points if point.scheme == DENSE), None)
        cells = [_fastest(points, density, dense_us, anchor_us) for density in densities]
        shown.add_row(str(setting), "" if dense_us is None else f"{dense_us:.1f}", *cells)
    return shown


def latency_tables(table: LatencyTable) -> list[Table]:
    """Return the layers and the networks of a latency table, without what it has none of."""
    return [
        *([latency_table(table)] if table.points or not table.networks else []),
        *([networks_table(table)] if table.networks else []),
    ]


def networks_table(table: LatencyTable) -> Table:
    """Return what the dense networks took as wholes, at the speed of the machine that the layers are shown at."""
    shown = new_table("dense networks as wholes", "network", "latency, ms", "between its layers, ms")
    anchor_us = table.anchor_us
    for network in table.networks:
        scale = anchor_us / network.anchor_us if anchor_us and network.anchor_us else 1.0
        glue_us = sum(slot.median_us for slot in network.glue)
        whole_us = glue_us + sum(layer.median_us for layer in network.layers)
        shown.add_row(network.name, *(milliseconds(scale * us / 1e3) for us in (whole_us, glue_us)))
    return shown


def point_count(table: LatencyTable) -> str:
    """Return how many points there are, and how many of them are unstable."""
    unstable = sum(point.unstable for point in table.points)
    return f"{len(table.points)} points{f', {unstable} of them unstable' if unstable else ''}"


def _shown_densities(table: LatencyTable) -> list[float]:
    """Return the lowest, a middle and the highest density at which the most schemes were measured."""
    schemes: dict[float, set[str]] = {}
    for point in table.points:
        if point.scheme != DENSE:
            schemes.setdefault(point.density, set()).add(str(point.scheme))
    most = max(map(len, schemes.values()), default=0)
    common = sorted(density for density, names in schemes.items() if 2 * len(names) > most)
    if len(common) <= MAX_DENSITIES:
        return common
    return [common[0], common[len(common) // 2], common[-1]]


def _fastest(points: list[LatencyPoint], density: float, dense_us: float | None, anchor_us: float | None) -> str:
    candidates = [point for point in points if point.density == density and point.scheme != DENSE]
    if not candidates:
        return ""
    best = min(candidates, key=lambda point: point.at_anchor(anchor_us))
    best_us = best.at_anchor(anchor_us)
    gain = "" if dense_us is None else f", {dense_us / best_us:.1f}x"
    return f"{best_us:.1f}{gain}\n{best.scheme}"


def machine_name(machine: Machine) -> str:
    """Return the machine in a few words."""
    return f"{machine.cpu}, {machine.cores} cores, {machine.system}"


def thread_count(threads: int) -> str:
    """Return 1 thread, 2 threads, …"""
    return "1 thread" if threads == 1 else f"{threads} threads"


def batch_count(batches: int) -> str:
    """Return 1 batch, 2 batches, …"""
    return "1 batch" if batches == 1 else f"{batches} batches"


def threads_and_cpus(result: BenchResult) -> str:
    """Return how many threads ran, and on which CPUs."""
    pinned = f"pinned to CPU {', '.join(map(str, result.pinned_cpus))}" if result.pinned_cpus else "not pinned"
    return f"{thread_count(result.threads)} {pinned}"


def verify_table(result: VerifyResult) -> Table:
    """Return the error of every output and whether it is inside the tolerance."""
    verdict = "[green]all inside[/]" if result.passed else "[red]NOT all inside[/]"
    caption = f"{verdict} the tolerance {result.tolerance:g}; {batch_count(result.batches)} against {result.reference}"
    table = new_table("verify", "output", "shape", "largest relative error", caption=caption)
    for output in result.outputs:
        inside = output.max_relative_error <= result.tolerance
        error = f"{output.max_relative_error:.2g}"
        table.add_row(output.name, shape(output.shape), error if inside else f"[red]{error}[/]")
    return table


def bench_tables(result: BenchResult) -> list[Table]:
    """Return the engines side by side and, where asked for, what fake sparsity made and where the time goes."""
    return [*faked_tables(result), bench_table(result), *layer_tables(result)]


def bench_table(result: BenchResult) -> Table:
    """Return what every engine took, beside how many times longer than ours."""
    caption = (
        f"{threads_and_cpus(result)}, {result.rounds} interleaved rounds\n"
        f"{machine_name(result.machine)}\n"
        f"largest relative error of prunemap against {result.reference}: {result.max_relative_error:.2g}"
    )
    return engine_table(result.model, "engine", result.results, result.ratios, caption)


def engine_table(
    title: str, what: str, results: Iterable[EngineResult], ratios: Mapping[str, float], caption: str
) -> Table:
    """Return the times of engines side by side; ours, which has no ratio, in bold.

    Args:
        what: heads the column of their names.
        ratios: how many times longer than ours each other engine took.
    """
    table = new_table(title, what, "median, ms", "p10", "p90", "runs", "prunemap is faster", caption=caption)
    for each in results:
        ratio = ratios.get(each.engine)
        figures = map(milliseconds, (each.median_ms, each.p10_ms, each.p90_ms))
        style = "bold" if ratio is None else None
        table.add_row(each.engine, *figures, str(each.runs), "" if ratio is None else times(ratio), style=style)
    return table
