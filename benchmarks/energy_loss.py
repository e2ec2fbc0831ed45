"""Does the energy that a scheme keeps say what accuracy it costs, whatever the scheme?

Rows of cifar10.py that were pruned in one shot, beside their control: the mean over the layers that may be pruned of
the energy kept, Σ kept w² / Σ w², as `prunemap map` counts it: layers behind lost filters lose with them; and the loss
of accuracy after retraining. The figure is the rank correlation between energy lost and accuracy lost, over all schemes
and densities of a network that were retrained equally long. Beside it that of the energy of the layers alone, and that
of the multiply-accumulates pruned, which know nothing of the scheme.

    .venv/bin/python benchmarks/energy_loss.py RESULTS.csv… [-o RESULT.json] [--plot PLOT.png]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
from cifar10 import Row, all_rows, make_plan, plan_file
from cifar10_latency import checkpoint_of, control_of, exported, network_of, read_lines
from cifar10_rows import Pruning
from matplotlib.figure import Figure
from rich.console import Console
from scheme_marks import COLOURS, MARKS
from surrogate import spearman
from zoo import macs_run

from prunemap.compiler import ModelLayer, read_layers, read_wiring
from prunemap.core.plan import Plan
from prunemap.core.value import Value, now, read_json, write_json
from prunemap.mapping import why_fixed
from prunemap.mapping.energy import kept_share
from prunemap.mapping.importance import EQUAL
from prunemap.mapping.network_energy import NetworkEnergy
from prunemap.report.text import new_table, percent


class EnergyLoss(Value):
    """A network pruned and retrained. Shares are 0 to 1."""

    name: str
    network: str
    scheme: str
    epochs: int
    energy_kept: float
    share_kept: float
    """The same of the layers alone."""
    macs_kept: float
    """That a program runs, of those of the convolutions."""
    loss: float
    """Accuracy of the control − its own."""


class Correlation(Value):
    """Rank correlations with the loss of accuracy."""

    network: str
    epochs: int
    rows: int
    energy_lost: float
    share_lost: float
    macs_pruned: float


class Result(Value):
    """The JSON file."""

    rows: tuple[EnergyLoss, ...]
    correlations: tuple[Correlation, ...]
    command: str
    date: str


@cache
def dense_layers(name: str) -> dict[str, ModelLayer]:
    """Return the layers of a trained dense network by module, batch norm folded in."""
    return {layer.spec.module: layer for layer in read_layers(exported(name))}


def plan_of(row: Row) -> Plan | None:
    """Return the plan of a row pruned in one shot, None of any other."""
    way = row.way
    if way is None or way.pruning is None or way.method != "one_shot" or way.density is not None:
        return None
    if isinstance(way.pruning, Pruning):
        return make_plan(checkpoint_of(row.start.name), way.pruning)
    return read_json(plan_file(row), Plan, "plan")


def energies_kept(plan: Plan, name: str) -> tuple[float, float]:
    """Return the mean over the layers that may be pruned of the energy kept, as it counts and in the layers alone."""
    layers = dense_layers(name)
    fixed, shares = why_fixed(list(layers.values())), {}
    for entry in plan.layers:
        layer = layers[entry.module or entry.name]
        if layer.spec.name not in fixed:
            _, share = kept_share(layer.weight, entry.scheme)(entry.density)
            shares[layer.spec.name] = entry.scheme, share
    specs = [layer.spec for layer in layers.values()]
    counted = NetworkEnergy(specs, read_wiring(exported(name)), EQUAL).kept(shares)
    return counted, float(np.mean([share for _, share in shares.values()]))


def compare(paths: Sequence[Path]) -> tuple[EnergyLoss, ...]:
    """Return the rows that have a control, were pruned in one shot, and whose dense network is kept."""
    lines, found = read_lines(paths), []
    rows = {row.name: row for row in all_rows()}
    for line in lines:
        row, control = rows.get(line["name"]), control_of(line, lines)
        if row is None or control is None or not checkpoint_of(row.start.name).exists():
            continue
        plan = plan_of(row)
        if plan is None:
            continue
        energy, share = energies_kept(plan, row.start.name)
        found.append(
            EnergyLoss(
                name=row.name,
                network=network_of(line),
                scheme=line["scheme"],
                epochs=int(line["epochs"]),
                energy_kept=energy,
                share_kept=share,
                macs_kept=float(line["conv_macs_kept"]) * macs_run(exported(row.name)),
                loss=control - float(line["test_accuracy"]),
            )
        )
    return tuple(sorted(found, key=lambda each: (each.network, each.epochs, -each.energy_kept)))


def correlate(rows: Sequence[EnergyLoss]) -> tuple[Correlation, ...]:
    """Return a line per network and epochs with rows of several schemes."""
    found = []
    for (network, epochs), group in groupby(rows, key=lambda each: (each.network, each.epochs)):
        own = list(group)
        if len({each.scheme for each in own}) > 1:
            losses = [each.loss for each in own]
            kept = ("energy_kept", "share_kept", "macs_kept")
            energy, share, macs = (spearman([-getattr(each, name) for each in own], losses) for name in kept)
            found.append(
                Correlation(
                    network=network,
                    epochs=epochs,
                    rows=len(own),
                    energy_lost=energy,
                    share_lost=share,
                    macs_pruned=macs,
                )
            )
    return tuple(found)


def print_result(result: Result, console: Console) -> None:
    table = new_table("energy and accuracy lost", "network", "scheme", "energy kept", "MACs kept", "loss", left=2)
    for row in result.rows:
        table.add_row(row.name, row.scheme, percent(row.energy_kept), percent(row.macs_kept), f"{100 * row.loss:.2f}")
    console.print(table)
    for each in result.correlations:
        console.print(
            f"{each.network}, {each.rows} rows of {each.epochs} epochs: rank correlation with the loss: energy lost "
            f"{each.energy_lost:.3f}, of the layers alone {each.share_lost:.3f}, MACs pruned {each.macs_pruned:.3f}"
        )


def write_plot(result: Result, path: Path) -> None:
    """Draw accuracy lost against multiply-adds pruned and against energy lost, a row of panels per network."""
    figure = Figure(figsize=(8, 3.2 * len(result.correlations)), layout="constrained")
    grid = figure.subplots(len(result.correlations), 2, squeeze=False, sharey="row")
    for line, panels in zip(result.correlations, grid, strict=True):
        own = [row for row in result.rows if (row.network, row.epochs) == (line.network, line.epochs)]
        for scheme in (name for name in COLOURS if any(row.scheme == name for row in result.rows)):
            rows = [row for row in own if row.scheme == scheme]
            losses = [100 * row.loss for row in rows]
            marker, colour = MARKS[scheme.partition(":")[0]], COLOURS[scheme]
            for panel, kept in zip(panels, ("macs_kept", "energy_kept"), strict=True):
                pruned = [100 * (1 - getattr(row, kept)) for row in rows]
                panel.scatter(pruned, losses, marker=marker, color=colour, label=scheme)
        for panel, what, rank in zip(
            panels, ("multiply-adds pruned", "energy lost"), (line.macs_pruned, line.energy_lost), strict=True
        ):
            panel.set(xlabel=f"{what}, %", title=f"{line.network}: rank correlation {rank:.2f}", xlim=(0, 100))
            panel.spines[["top", "right"]].set_visible(False)
        panels[0].set(ylabel="accuracy lost, points", ylim=(0, None))
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="result files of cifar10.py")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    rows = compare(given.results)
    command = shlex.join(["python", *sys.argv])
    result = Result(rows=rows, correlations=correlate(rows), command=command, date=now())
    print_result(result, Console())
    if given.output:
        write_json(given.output, result)
    if given.plot:
        write_plot(result, given.plot)


if __name__ == "__main__":
    main()
