"""The claim of the project: how much faster the rules' plan is than one scheme everywhere, at equal accuracy.

Reads a result file of cifar10_latency.py. A family is one scheme for all layers, at several densities (accuracy and
latency: means over the seeds); the dense network is the end of every family's curve. Latency is that of the compiled
network / that of our dense program in the same rounds. The figure is the latency, interpolated, at the dense control's
accuracy minus 0.5 points. The range beside it is that of accuracies one standard error of a test lower and higher (0.3
points / √seeds). A family whose networks all keep so much accuracy is bounded from one side only: <.

    .venv/bin/python benchmarks/claim.py LATENCY.json [-o RESULT.json] [--plot PLOT.png]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable
from itertools import groupby, pairwise
from math import sqrt
from pathlib import Path

import numpy as np
from cifar10_latency import LatencyRow
from matplotlib.figure import Figure
from rich.console import Console
from rows import Result
from scheme_marks import COLOURS, MARKS

from prunemap.core.latency_table import Machine
from prunemap.core.value import Value, now, read_json, write_json
from prunemap.report.text import new_table, percent, times

LOSS, STANDARD_ERROR = 0.005, 0.003
RULES, RULES_BY_MACS, PATTERN = "rules_energy", "rules", "pattern"
"""The rules: what `map --keep-energy` says, and what `map --density` says."""
OTHER_BETAS = "rules_beta"
"""How families begin that ask another question: docs/results.md, "Which β"."""
BAR_OVER_PATTERN = {"vgg16-half": 1.7}
"""How many times as fast as ``pattern`` everywhere the rules are to be."""


class Network(Value):
    """A family at one density."""

    density: str
    latency: float
    """Over that of the dense program; mean over the seeds."""
    loss: float
    """Accuracy of the control − its own; mean over the seeds."""
    seeds: int
    limit_share: float | None


DENSE = Network(density="1", latency=1.0, loss=0.0, seeds=1, limit_share=None)


class Crossing(Value):
    """Where a family's curve reaches an accuracy, in latencies of the dense program."""

    latency: float
    bound: str = ""
    """"<": all its networks keep more."""


class FamilyRow(Value):
    """One network pruned by one family."""

    network: str
    family: str
    points: tuple[Network, ...]
    at: Crossing
    slow: Crossing
    """At an accuracy one standard error higher."""
    fast: Crossing
    """One lower."""
    over_rules: float | None
    """How many times as long as the rules' network; None where that is not known or bounded from one side only."""
    beats_rules: bool
    """Whether it is faster than the rules beyond the ranges of both."""
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


def families(rows: Iterable[LatencyRow]) -> dict[tuple[str, str], list[Network]]:
    """Return the points of every family by network and family; rows are called NETWORK-FAMILY@DENSITY-sSEED."""
    found: dict[tuple[str, str], list[Network]] = {}
    named = [(row.name.rsplit("-s", 1)[0], row) for row in rows if "@" in row.name and row.control_accuracy is not None]
    for name, group in groupby(sorted(named, key=lambda each: each[0]), key=lambda each: each[0]):
        members = [row for _, row in group]
        before, _, density = name.partition("@")
        network, _, family = before.rpartition("-")
        if not family.startswith(OTHER_BETAS):
            found.setdefault((network, family), []).append(_mean(density, members))
    return found


def _mean(density: str, rows: list[LatencyRow]) -> Network:
    shares = [row.limit_share for row in rows if row.limit_share is not None]
    return Network(
        density=density,
        latency=float(np.mean([1 / row.over_dense for row in rows])),
        loss=float(np.mean([(row.control_accuracy or 0.0) - row.test_accuracy for row in rows])),
        seeds=len(rows),
        limit_share=float(np.mean(shares)) if shares else None,
    )


def crossing(points: Iterable[Network], errors: float = 0.0) -> Crossing:
    """Return the least latency at which a family loses LOSS at most, if it lost ``errors`` standard errors more."""
    own = [(each.latency, LOSS - each.loss - errors * STANDARD_ERROR / sqrt(each.seeds)) for each in points]
    curve = sorted([*own, (DENSE.latency, LOSS)])
    if curve[0][1] >= 0:
        return Crossing(latency=curve[0][0], bound="<")
    for (fast, low), (slow, high) in pairwise(curve):
        if high >= 0:
            return Crossing(latency=float(np.interp(0, (low, high), (fast, slow))))
    raise AssertionError("the dense network loses nothing")


def compare(rows: Iterable[LatencyRow]) -> tuple[FamilyRow, ...]:
    by_family = families(rows)
    lines = []
    for (network, family), points in by_family.items():
        rules = by_family.get((network, RULES))
        at, of_rules = crossing(points), None if rules is None else crossing(rules)
        comparable = of_rules is not None and not of_rules.bound and not at.bound
        shares = [each.limit_share for each in points if each.limit_share is not None]
        slow, fast = crossing(points, 1), crossing(points, -1)
        lines.append(
            FamilyRow(
                network=network,
                family=family,
                points=tuple(points),
                at=at,
                slow=slow,
                fast=fast,
                over_rules=at.latency / of_rules.latency if of_rules is not None and comparable else None,
                beats_rules=rules is not None and slow.latency < crossing(rules, -1).latency,
                limit_share=float(np.mean(shares)) if shares else None,
            )
        )
    return tuple(sorted(lines, key=lambda line: (line.network, line.at.latency)))


def print_claim(claim: Claim, console: Console) -> None:
    headers = ("network", "family", "densities", "latency", "from", "to", "x rules", "of the limit")
    title = f"Latency at {claim.loss * 100:g} points below the dense control, of the dense program's"
    table = new_table(title, *headers, left=3)
    for row in claim.rows:
        table.add_row(
            row.network,
            row.family,
            " ".join(each.density for each in row.points),
            *(f"{each.bound}{each.latency:.3f}" for each in (row.at, row.fast, row.slow)),
            "" if row.over_rules is None else times(row.over_rules),
            "" if row.limit_share is None else percent(row.limit_share),
        )
    console.print(table)
    if all(row.family != RULES for row in claim.rows):
        console.print(f"no network of the family {RULES} is in the file: nothing is compared with it")
        return
    beaten = [f"{row.network} {row.family}" for row in claim.rows if row.beats_rules]
    console.print(f"faster than the rules beyond the ranges: {', '.join(beaten) or 'none'}")
    for row in claim.rows:
        bar = BAR_OVER_PATTERN.get(row.network)
        if bar is not None and row.family == PATTERN:
            got = "not known" if row.over_rules is None else times(row.over_rules)
            console.print(f"{row.network}: the rules over pattern everywhere: {got}, asked for is {times(bar)}")


def write_plot(rows: Iterable[FamilyRow], path: Path) -> None:
    """Draw accuracy lost against latency, a panel per network and a line per family; the rules' line is bold."""
    by_network = {name: list(own) for name, own in groupby(rows, key=lambda row: row.network)}
    figure = Figure(figsize=(4.2 * len(by_network), 4), layout="constrained")
    panels = figure.subplots(1, len(by_network), squeeze=False)[0]
    for panel, (name, own) in zip(panels, by_network.items(), strict=True):
        for family in COLOURS:
            for row in (row for row in own if _drawn_as(row.family) == family):
                points = sorted((each.latency, 100 * each.loss) for each in (*row.points, DENSE))
                panel.plot(
                    *zip(*points, strict=True),
                    color=COLOURS[family],
                    marker=MARKS[family.partition(":")[0]],
                    linewidth=2.5 if row.family == RULES else 1,
                    linestyle="--" if row.family == RULES_BY_MACS else "-",
                    label=f"{family}, by MACs" if row.family == RULES_BY_MACS else family,
                )
        panel.axhline(100 * LOSS, color="#999999", linestyle=":", linewidth=1)
        panel.set(title=name, xlabel="latency, of the dense program's", xlim=(0, None), ylim=(-0.3, 4))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="accuracy lost, points")
    drawn = {line.get_label(): line for panel in panels for line in panel.get_legend_handles_labels()[0]}
    order = list(COLOURS)
    lines = [drawn[label] for label in sorted(drawn, key=lambda label: order.index(str(label).partition(",")[0]))]
    figure.legend(handles=lines, loc="outside lower center", ncols=2 * len(by_network) + 1, frameon=False)
    figure.savefig(path, dpi=110)


def _drawn_as(family: str) -> str:
    """Return the scheme whose marks a family has; "" for one that is not drawn."""
    name = "rules" if family == RULES else family.replace("punched", "punched:")
    return name if name in COLOURS else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latency", type=Path, help="result file of cifar10_latency.py")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--plot", type=Path)
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
    if given.plot:
        write_plot(claim.rows, given.plot)


if __name__ == "__main__":
    main()
