"""The results of ``kernels.py``: rows, what their medians must reach, the files and the tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from prunemap.core.files import write_text
from prunemap.core.latency_table import Machine
from prunemap.core.scheme_spec import DENSE
from prunemap.core.value import Value, read_json
from prunemap.devices import Limits
from prunemap.errors import UserError
from prunemap.report.text import new_table

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
    "lstm, weights beyond L2": {0: 0.60},
    "gru, weights beyond L2": {0: 0.60},
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
    """A figure beside what it must be; None where nothing was asked of it."""

    what: str
    cases: int
    value: float
    bar: float | None
    passed: bool | None


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
    return [*checks, *_other_medians(rows), *_speed_up_checks(rows), *_pattern_checks(rows)]


def _other_medians(rows: Sequence[Row]) -> list[Check]:
    """The families without a bar, the dense ones of the zoo apart."""
    shares: dict[str, list[float]] = {}
    for row in rows:
        if row.family not in (*BARS, str(DENSE)):
            shares.setdefault(row.family, []).append(row.share)
    return [
        Check(
            what=f"median share of the limit, {family}",
            cases=len(of_family),
            value=float(np.median(of_family)),
            bar=None,
            passed=None,
        )
        for family, of_family in shares.items()
    ]


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
        verdict, bar = "", "" if check.bar is None else f"{check.bar:.2f}"
        if check.bar is not None:
            verdict = "[green]PASS[/]" if check.passed else f"[red]MISS by {abs(check.value - check.bar):.2f}[/]"
        table.add_row(check.what, str(check.cases), f"{check.value:.2f}", bar, verdict)
    console.print(table)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Row.model_fields))
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[Row]:
    """Return the rows that a file has, none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Row.model_validate(row) for row in csv.DictReader(file)]


def commands_before(path: Path, machine: Machine, threads: int) -> list[str]:
    """Return the commands that made the rows so far.

    Raises:
        UserError: they were measured elsewhere.
    """
    summary = path.with_suffix(".json")
    if not path.exists() or not summary.exists():
        return []
    found = read_json(summary, Summary, "results")
    if (found.machine, found.threads) != (machine, threads):
        raise UserError(f"results: {summary} is of another machine or number of threads; name another file (-o)")
    return found.command.split(" && ")
