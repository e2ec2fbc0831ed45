"""Tables of how far the predictions of a latency table are off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from prunemap.benchmarking import NetworkCheck, TableCheck
from prunemap.latency.check import PointCheck
from prunemap.report.text import milliseconds, new_table, percent
from prunemap.report.timings import machine_name, thread_count


def check_tables(result: TableCheck) -> list[Table]:
    """Return the networks, if any, and a summary of all errors."""
    networks = [network_check_table(result.networks)] if result.networks else []
    caption = f"{thread_count(result.threads)}, {machine_name(result.machine)}"
    summary = new_table("error of the predictions", "", "points", "median", "mean", "worst", caption=caption)
    rows: dict[str, Sequence[PointCheck] | Sequence[NetworkCheck]] = {
        "densities not in the table": result.densities,
        "settings left out, estimated from others": result.settings,
        "whole networks": result.networks,
    }
    for name, checks in rows.items():
        errors = [abs(check.error) for check in checks]
        if errors:
            figures = (float(np.median(errors)), float(np.mean(errors)), max(errors))
            summary.add_row(name, str(len(errors)), *map(percent, figures))
    return [*networks, summary]


def network_check_table(networks: Sequence[NetworkCheck]) -> Table:
    """Return every network and plan: in milliseconds at the speed of the measurement, and in anchors."""
    caption = (
        "predicted: scaled to the speed of the machine while it was measured, by the anchor's time;\n"
        "slots far below measured: the machine was interrupted; budget: measured beside the latency asked for"
    )
    headers = ("network", "plan", "predicted, ms", "measured, ms", "its slots", "anchor, µs", "error", "budget")
    table = new_table("whole networks", *headers, caption=caption, left=2)
    for each in networks:
        scale = each.anchor_us / (each.table_anchor_us or each.anchor_us)
        times_ms = (each.predicted_us * scale / 1e3, each.measured_us / 1e3, each.slots_us / 1e3)
        table.add_row(
            each.network,
            each.plan,
            *map(milliseconds, times_ms),
            f"{each.anchor_us:.1f}",
            f"{each.error * 100:+.1f} %",
            "" if each.over_budget is None else f"{each.over_budget * 100:+.1f} %",
        )
    return table
