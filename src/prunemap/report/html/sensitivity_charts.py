"""What pruning each layer alone costs: accuracy against density, a chart per layer, a line per scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityRow
from prunemap.report.html.chart import Chart, Line, Scale, round_ticks, x_scale, y_scale
from prunemap.report.html.conditions import Grid
from prunemap.report.html.latency_charts import density_ticks
from prunemap.report.sensitivity import TOLERATED, overview_rows
from prunemap.report.text import percent

SHOWN = 24
"""Layers with a chart, the most sensitive ones; all are in the table."""


@dataclass(frozen=True)
class SensitivityFigures:
    """The section of the page."""

    note: str
    grid: Grid
    charts: tuple[tuple[str, Chart], ...]
    """Layer and chart, the most sensitive layer first."""


def sensitivity_figures(result: Sensitivity | None, styles: Mapping[SchemeSpec, str]) -> SensitivityFigures | None:
    """Return the table and the charts; None where nothing was measured.

    Args:
        styles: of every scheme in the file.
    """
    if result is None or not result.rows:
        return None
    rows = overview_rows(result)
    headers = ("layer", "loss", *(str(scheme) for scheme in result.schemes()))
    of_layers = result.of_layers()
    values = [row.accuracy for row in result.rows] + [result.baseline_accuracy]
    y = y_scale(100 * min(values) - 2, 100 * max(values) + 2)
    x = x_scale(min([0.5, *(row.density for row in result.rows)]), 1.0, is_log=True)
    note = (
        f"One layer pruned at a time in one shot, nothing retrained; accuracy on {result.conditions.images} held-out "
        f"images, of the dense network {percent(result.baseline_accuracy)} (dashed). Loss: cross-entropy added per "
        f"share of the weight energy lost. Under a scheme: the lowest density within {100 * TOLERATED:g} points."
    )
    charts = tuple((name, _chart(name, of_layers[name], result, styles, x, y)) for name, *_ in rows[:SHOWN])
    return SensitivityFigures(note, Grid.of_figures(headers, rows), charts)


def _chart(
    name: str,
    rows: Sequence[SensitivityRow],
    result: Sensitivity,
    styles: Mapping[SchemeSpec, str],
    x: Scale,
    y: Scale,
) -> Chart:
    dense = y(100 * result.baseline_accuracy)
    lines = [Line(styles[DENSE], (), ((x(x.low), dense), (x(1.0), dense)))]
    for scheme in (scheme for scheme in styles if any(row.scheme == scheme for row in rows)):
        points = sorted((row.density, 100 * row.accuracy) for row in rows if row.scheme == scheme)
        told = ((x(at), y(value), f"{scheme} at {percent(at)}: {value:.1f} %") for at, value in points)
        lines.append(Line(styles[scheme], tuple(told)))
    return Chart(
        label=f"Accuracy in per cent with {name} pruned alone, against its density, a line per scheme",
        x_label="density",
        y_label="%",
        x_ticks=density_ticks(x),
        y_ticks=round_ticks(y),
        lines=tuple(lines),
    )
