"""The claim of the project: how much faster the rules' plan is than one scheme everywhere, at equal accuracy.

Reads a result file of cifar10_latency.py. A family is one scheme for all layers, at several densities; its curve gives
the latency at the dense control's accuracy minus 0.5 points, interpolated between its networks. The range beside it is
that of accuracies one standard error of a test (0.3 points) lower and higher. Where no network of a family keeps so
much accuracy, or all do, the family is bounded from one side only: > or <.

    .venv/bin/python benchmarks/claim.py LATENCY.json [-o RESULT.json]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from cifar10_latency import LatencyRow
from rich.console import Console
from rows import Result, now

from prunemap.core.latency_table import Machine
from prunemap.core.value import Value, read_json, write_json
from prunemap.report.text import new_table, percent

LOSS, STANDARD_ERROR = 0.005, 0.003
RULES = "rules"


class Crossing(Value):
    """Where a family's curve reaches an accuracy, in milliseconds."""

    ms: float
    bound: str = ""
    """"<": all its networks keep more, ">": none keeps so much."""


class FamilyRow(Value):
    """One network pruned by one family."""

    network: str
    family: str
    densities: tuple[str, ...]
    at: Crossing
    slow: Crossing
    """At an accuracy one standard error higher."""
    fast: Crossing
    """One lower."""
    over_rules: float | None
    """How many times as long as the rules' network; None where that is not known or bounded from one side only."""
    limit_share: float | None
    """Mean over its networks."""


class Claim(Value):
    """The JSON file."""

    machine: Machine
    threads: int
    loss: float
    rows: tuple[FamilyRow, ...]
    command: str
    date: str


def families(rows: Iterable[LatencyRow]) -> dict[tuple[str, str], list[LatencyRow]]:
    """Return the rows by network and family; rows are called NETWORK-FAMILY@DENSITY-sSEED."""
    found: dict[tuple[str, str], list[LatencyRow]] = {}
    for row in rows:
        network, way, _ = row.name.rsplit("-", 2)
        family, at, _ = way.partition("@")
        if at and row.control_accuracy is not None:
            found.setdefault((network, family), []).append(row)
    return found


def crossing(rows: Iterable[LatencyRow], shift: float = 0.0) -> Crossing:
    """Return the least latency at which the family keeps the control's accuracy but for LOSS; ``shift`` is added."""
    curve = sorted((row.ours_ms, row.test_accuracy - _control(row) + LOSS - shift) for row in rows)
    if curve[0][1] >= 0:
        return Crossing(ms=curve[0][0], bound="<")
    for (fast_ms, low), (slow_ms, high) in pairwise(curve):
        if high >= 0:
            return Crossing(ms=float(np.interp(0, (low, high), (fast_ms, slow_ms))))
    return Crossing(ms=curve[-1][0], bound=">")


def _control(row: LatencyRow) -> float:
    assert row.control_accuracy is not None, "rows without a control were left out"
    return row.control_accuracy


def compare(rows: Iterable[LatencyRow]) -> tuple[FamilyRow, ...]:
    by_family = families(rows)
    lines = []
    for (network, family), members in by_family.items():
        at, rules = crossing(members), crossing(by_family.get((network, RULES), members))
        comparable = (network, RULES) in by_family and not rules.bound
        shares = [row.limit_share for row in members if row.limit_share is not None]
        lines.append(
            FamilyRow(
                network=network,
                family=family,
                densities=tuple(sorted(row.name.partition("@")[2].rsplit("-", 1)[0] for row in members)),
                at=at,
                slow=crossing(members, STANDARD_ERROR),
                fast=crossing(members, -STANDARD_ERROR),
                over_rules=at.ms / rules.ms if comparable else None,
                limit_share=float(np.mean(shares)) if shares else None,
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.network, line.at.ms)))


def print_claim(claim: Claim, console: Console) -> None:
    headers = ("network", "family", "densities", "ms", "from", "to", "x rules", "of the limit")
    table = new_table(f"Latency at {claim.loss * 100:g} points below the dense control", *headers, left=3)
    for row in claim.rows:
        table.add_row(
            row.network,
            row.family,
            " ".join(row.densities),
            *(f"{each.bound}{each.ms:.3f}" for each in (row.at, row.fast, row.slow)),
            "" if row.over_rules is None else f"{row.at.bound}{row.over_rules:.2f}",
            "" if row.limit_share is None else percent(row.limit_share),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latency", type=Path, help="result file of cifar10_latency.py")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    measured = read_json(given.latency, Result[LatencyRow], "LATENCY.json")
    claim = Claim(
        machine=measured.machine,
        threads=measured.threads,
        loss=LOSS,
        rows=compare(measured.rows),
        command=shlex.join(["python", *sys.argv]),
        date=now(),
    )
    print_claim(claim, Console())
    if given.output:
        write_json(given.output, claim)


if __name__ == "__main__":
    main()
