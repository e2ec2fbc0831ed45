"""Per layer the weight energy kept against latency, a line per scheme, with what the plan chose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from prunemap.core.latency_table import LatencyTable
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.mapping import LayerChoices, Option, why_fixed
from prunemap.report.html.chart import Chart, Line, Mark, round_ticks, x_scale, y_scale
from prunemap.report.html.latency_charts import CUT_AT
from prunemap.report.html.layer_rows import LayerRow, predictor_of
from prunemap.report.html.run_folder import Run
from prunemap.report.text import percent
from prunemap.schemes import SCHEMES

STEPS = 16
"""Places on a curve between the lowest and the highest density measured."""


@dataclass(frozen=True)
class EnergyFigure:
    """The chart of one layer, and what was chosen for it."""

    title: str
    chart: Chart
    chosen: str
    reason: str


def energy_figures(run: Run, rows: Sequence[LayerRow], styles: Mapping[SchemeSpec, str]) -> list[EnergyFigure]:
    """Return a figure for every layer that may be pruned; none without the dense network's weights and a table.

    Args:
        rows: the layers of the plan.
        styles: of every scheme in the table and the plan.
    """
    predictor = predictor_of(run)
    if run.latency is None or predictor is None or not run.layers:
        return []
    fixed = why_fixed(run.layers)
    by_name = {row.node: row for row in rows}
    found = []
    for layer in run.layers:
        name, setting = layer.spec.name, layer.spec.setting
        row = by_name.get(name)
        if row is None or name in fixed or setting is None or not predictor.schemes(setting):
            continue
        found.append(_figure(row, LayerChoices(layer, predictor, beta=0.0), run.latency, styles))
    return found


def _figure(
    row: LayerRow, choices: LayerChoices, table: LatencyTable, styles: Mapping[SchemeSpec, str]
) -> EnergyFigure:
    curves = {
        scheme: list(_curve(choices, scheme, table, row.density if scheme == row.scheme else None))
        for scheme in styles
        if choices.measured(scheme)
    }
    chosen = choices.dense if row.scheme == DENSE else None
    if choices.measured(row.scheme):
        chosen = choices.option(row.scheme, row.density)
    what = "dense" if row.scheme == DENSE else f"{row.scheme} at {percent(row.density)}"
    told = f"{what}, not measured" if chosen is None else _told(what, chosen)
    return EnergyFigure(row.name, _chart(row, choices, curves, chosen, styles), told, row.reason)


def _curve(
    choices: LayerChoices, scheme: SchemeSpec, table: LatencyTable, chosen: float | None
) -> Iterator[tuple[Option, bool]]:
    """Yield what the layer takes and keeps along the densities, and whether its latency was measured there.

    Args:
        chosen: the density in the plan, which the curve reaches.
    """
    setting = choices.spec.setting
    measured = sorted(p.density for p in table.points if (p.setting, p.scheme) == (setting, scheme))
    wanted = [*measured, *([] if chosen is None else [chosen])]
    low, high = min(wanted), min(max(wanted), SCHEMES[scheme.name].max_density)
    between = (low * (high / low) ** (i / STEPS) for i in range(STEPS + 1))
    for density in sorted({*between, *wanted}):
        yield choices.option(scheme, density), density in measured


def _chart(
    row: LayerRow,
    choices: LayerChoices,
    curves: Mapping[SchemeSpec, Sequence[tuple[Option, bool]]],
    chosen: Option | None,
    styles: Mapping[SchemeSpec, str],
) -> Chart:
    dense_us = choices.dense.latency_us
    slowest = max([dense_us, *(option.latency_us for curve in curves.values() for option, _ in curve)])
    x, y = x_scale(0, min(CUT_AT * dense_us, 1.05 * slowest)), y_scale(0, 100)
    lines = [Line(styles[DENSE], (), ((x(dense_us), y(0)), (x(dense_us), y(100))))] if DENSE in styles else []
    for scheme, curve in curves.items():
        places = [(x(option.latency_us), y(100 * option.energy), option, known) for option, known in curve]
        dots = tuple((at, up, _told(f"{scheme} at {percent(o.density)}", o)) for at, up, o, known in places if known)
        style = styles[scheme] + (" chosen" if scheme == row.scheme else "")
        lines.append(Line(style, dots, tuple((at, up) for at, up, *_ in places)))
    ring = (
        ()
        if chosen is None
        else (Mark(styles[chosen.scheme], x(chosen.latency_us), y(100 * chosen.energy), f"chosen: {chosen.scheme}"),)
    )
    return Chart(
        label=f"Share of the weight energy that {row.name} keeps against its latency, a line per scheme",
        x_label="µs",
        y_label="%",
        x_ticks=round_ticks(x),
        y_ticks=round_ticks(y),
        lines=tuple(lines),
        marks=ring,
    )


def _told(what: str, option: Option) -> str:
    return f"{what}: {option.latency_us:.1f} µs, {percent(option.energy)} of the energy"
