"""Tables of pruned networks: what every layer keeps, and what a recipe reached."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from rich.table import Table

from prunemap.report.networks import training_table
from prunemap.report.text import count, milliseconds, new_table, percent, shape

if TYPE_CHECKING:  # importing pruning imports torch, which inspecting and compiling must not need
    from prunemap.pruning import PrunedRates, TrainReport
    from prunemap.pruning.recipes.summary import RecipeSummary, Spread


def training_tables(report: TrainReport) -> list[Table]:
    """Return what every pruned layer keeps, if any is pruned, and what the stage reached."""
    return [*([] if report.rates is None else [rates_table(report.rates)]), training_table(report)]


def rates_table(rates: PrunedRates) -> Table:
    """Return what every pruned layer keeps."""
    caption = (
        f"of these layers {percent(rates.density)} of the MACs are kept; of all layers {percent(rates.macs_kept)} of "
        f"the MACs,\n{percent(rates.weights_kept)} of the weights; energy: Σ w² of the dense network's weights"
    )
    if rates.latency_ms is not None:
        caption += f"\npredicted latency {milliseconds(rates.latency_ms)} ms"
    headers = ("layer", "shape", "scheme", "density", "energy", "MACs kept")
    table = new_table("pruned layers", *headers, caption=caption, left=3)
    for layer in rates.layers:
        energy = "" if layer.energy is None else percent(layer.energy)
        cells = (shape(layer.shape), str(layer.scheme), percent(layer.density), energy)
        table.add_row(layer.name, *cells, count(layer.macs * layer.density))
    return table


def recipe_tables(summary: RecipeSummary) -> list[Table]:
    """Return what every pruned layer keeps, and the accuracies of every seed with mean and standard deviation."""
    against = "control" if summary.control else "dense"
    error = 100 * sqrt(summary.pruned.mean * (1 - summary.pruned.mean) / summary.test_images)
    caption = f"{summary.test_images} test images: ± {error:.1f} points each; points: pruned − {against};\n"
    caption += "MACs and weights: what is kept"
    if summary.control:
        caption += "\ncontrol: the dense network trained on for as many epochs as the pruned one"
    headers = ("seed", "dense", *(["control"] if summary.control else []), "pruned", "points", "MACs", "weights")
    table = new_table(f"{summary.model} on {summary.dataset}", *headers, caption=caption)
    for each in summary.seeds:
        control = [] if each.control is None else [percent(each.control)]
        kept = (percent(each.macs_kept), percent(each.weights_kept))
        table.add_row(
            str(each.seed), percent(each.dense), *control, percent(each.pruned), f"{-100 * each.loss:+.1f}", *kept
        )
    if len(summary.seeds) > 1:
        control = [] if summary.control is None else [mean_std(summary.control)]
        kept = (mean_std(summary.macs_kept), mean_std(summary.weights_kept))
        points = f"{-100 * summary.loss.mean:+.1f} ± {100 * (summary.loss.std or 0):.1f}"
        table.add_row("mean", mean_std(summary.dense), *control, mean_std(summary.pruned), points, *kept, style="bold")
    return [rates_table(summary.rates), table]


def mean_std(spread: Spread) -> str:
    """Return shares over seeds as 88.5 ± 0.7, of one seed as 88.5: in percent, for whose sign a table has no room."""
    return f"{100 * spread.mean:.1f}" + ("" if spread.std is None else f" ± {100 * spread.std:.1f}")
