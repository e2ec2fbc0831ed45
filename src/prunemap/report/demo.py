"""What the demo ends in, and its table."""

from __future__ import annotations

from math import sqrt

from rich.table import Table

from prunemap.benchmarking import BenchResult, VerifyResult
from prunemap.core.value import Value
from prunemap.report.text import milliseconds, new_table, percent, size, times
from prunemap.report.timings import machine_name, thread_count


class DemoSummary(Value):
    """Dense against pruned. Accuracies and kept parts are shares, 0 to 1."""

    model: str
    data: str
    test_images: int
    control_accuracy: float
    """Of the dense network trained for as many epochs as the pruned one in all."""
    pruned_accuracy: float
    conv_macs_kept: float
    macs_kept: float
    weights_kept: float
    dense_pmap_bytes: int
    pruned_pmap_bytes: int
    verify: VerifyResult
    bench: BenchResult


def demo_tables(summary: DemoSummary) -> list[Table]:
    """Return the one table that the demo ends in: dense beside pruned, and what pruning gained or lost."""
    bench = summary.bench
    medians = {each.engine: each.median_ms for each in bench.results}
    accuracy = summary.pruned_accuracy
    standard_error = 100 * sqrt(accuracy * (1 - accuracy) / summary.test_images)
    points = 100 * (accuracy - summary.control_accuracy)
    caption = (
        f"dense accuracy: a control trained for as many epochs in all; {summary.test_images} test images\n"
        f"latency: {thread_count(bench.threads)}, median of {bench.rounds} interleaved rounds\n"
        f"{machine_name(bench.machine)}\n"
        f"largest relative error against {summary.verify.reference}: "
        f"{summary.verify.max_relative_error:.2g}, on {summary.verify.batches} images"
    )
    table = new_table(f"{summary.model} on {summary.data}", "", "dense", "pruned", "pruning gives", caption=caption)
    table.add_row(
        "accuracy",
        percent(summary.control_accuracy),
        percent(accuracy),
        f"{points:+.1f} points (±{standard_error:.1f})",
    )
    for name, share in (
        ("weights kept", summary.weights_kept),
        ("MACs kept", summary.macs_kept),
        ("MACs kept, conv layers", summary.conv_macs_kept),
    ):
        table.add_row(name, percent(1), percent(share), f"{times(1 / share)} fewer")
    sizes = (summary.dense_pmap_bytes, summary.pruned_pmap_bytes)
    table.add_row("file", *map(size, sizes), f"{times(sizes[0] / sizes[1])} smaller")
    for engine, ratio in bench.ratios.items():
        ours = engine == "dense"
        name, pruned = ("prunemap", milliseconds(medians["prunemap"])) if ours else (engine, "")
        gain = f"{times(ratio)} faster" if ours else f"prunemap {times(ratio)} faster"
        table.add_row(f"latency, {name}, ms", milliseconds(medians[engine]), pruned, gain)
    return [table]
