"""Tables of a sensitivity file: which layers are sensitive, and how far each can be pruned."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from rich.table import Table

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityRow
from prunemap.mapping.importance import fit
from prunemap.report.text import new_table, percent

TOLERATED = 0.02
"""Loss of accuracy that counts as none in the overview."""


def sensitivity_tables(result: Sensitivity) -> list[Table]:
    """Return the overview, most sensitive layer first, and layer × density for the scheme that most layers can have."""
    return [*([_by_density(result, _commonest(result))] if result.rows else []), _overview(result)]


def _overview(result: Sensitivity) -> Table:
    conditions, p = result.conditions, result.baseline_accuracy
    error = sqrt(p * (1 - p) / conditions.images)
    caption = (
        f"scheme: lowest density within {100 * TOLERATED:g} points of the dense accuracy, {percent(p)} on\n"
        f"{conditions.images} held-out images (± {100 * error:.1f}); one layer pruned at a time, nothing retrained\n"
        "loss: cross-entropy added per share of the weight energy lost"
    )
    headers = ("layer", "loss", *(str(scheme).replace(":", ":\n") for scheme in result.schemes()))
    table = new_table(f"sensitivity of {result.model.name}", *headers, caption=caption)
    for row in overview_rows(result):
        table.add_row(*row)
    return table


def overview_rows(result: Sensitivity) -> list[tuple[str, ...]]:
    """Return layer, loss, and per scheme the lowest density that costs nothing; the most sensitive layer first."""
    schemes, of_layers = result.schemes(), result.of_layers()
    fits = {name: fit(rows, result.baseline_loss) for name, rows in of_layers.items()}
    found = []
    for name, rows in sorted(of_layers.items(), key=lambda item: -fits[item[0]]):
        by_scheme = ([row for row in rows if row.scheme == scheme] for scheme in schemes)
        found.append((name, f"{fits[name]:.2f}", *(_lowest(each, result.baseline_accuracy) for each in by_scheme)))
    return found


def _lowest(rows: Sequence[SensitivityRow], baseline: float) -> str:
    """Return the lowest density from which on all measured ones keep the accuracy."""
    if not rows:
        return ""
    kept: list[float] = []
    for row in sorted(rows, key=lambda row: -row.density):
        if row.accuracy < baseline - TOLERATED:
            break
        kept.append(row.density)
    return f"{kept[-1]:g}" if kept else "–"


def _by_density(result: Sensitivity, scheme: SchemeSpec) -> Table:
    chosen = [row for row in result.rows if row.scheme == scheme]
    densities = sorted({row.density for row in chosen})
    title = f"accuracy of {result.model.name} with one layer pruned by {scheme}, points from the dense network's"
    table = new_table(title, "layer", *(f"{density:g}" for density in densities))
    for name, rows in result.of_layers().items():
        change = {row.density: row.accuracy - result.baseline_accuracy for row in rows if row.scheme == scheme}
        if change:
            table.add_row(name, *(f"{100 * change[d]:+.1f}" if d in change else "" for d in densities))
    return table


def _commonest(result: Sensitivity) -> SchemeSpec:
    """Return the scheme that the most layers were measured with, the first of those at a tie."""
    layers = {scheme: {row.layer for row in result.rows if row.scheme == scheme} for scheme in result.schemes()}
    return max(layers, key=lambda scheme: len(layers[scheme]))
