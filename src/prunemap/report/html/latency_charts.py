"""Per distinct layer its latency against density, a line per scheme, with what the plan chose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.latency import Predictor
from prunemap.report.html.chart import Chart, Line, Mark, Point, Scale, Tick, round_ticks, x_scale, y_scale
from prunemap.report.html.layer_rows import LayerRow
from prunemap.report.text import percent

CUT_AT = 1.5
"""Curves above so many times the dense latency are cut off."""
DENSITY_TICKS, DECADES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0), (1e-4, 1e-3, 0.01, 0.1, 1.0)
"""Labels of the axis; decades where it goes further down."""
CURVE_STEPS = 24
Times = Mapping[SchemeSpec, Mapping[float, float]]
"""Microseconds by scheme and density measured, as they are predicted: at one speed of the machine, in the network."""


@dataclass(frozen=True)
class LatencyFigure:
    """A chart, what was chosen there, and its numbers."""

    title: str
    chart: Chart
    chosen: tuple[str, ...]
    """A line of text per layer of this setting."""
    densities: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Scheme, and its latency in microseconds at every density; "" where it was not measured."""


def latency_figures(
    table: LatencyTable, rows: Sequence[LayerRow], styles: Mapping[SchemeSpec, str], predictor: Predictor
) -> list[LatencyFigure]:
    """Return one figure per layer setting: those of the network in its order; all of the table if there is none.

    Args:
        rows: the layers of the plan.
        styles: of every scheme in the table.
        predictor: of the table: its curves are drawn, and its times are those of the points.
    """
    times_us: dict[LayerSetting, dict[SchemeSpec, dict[float, float]]] = {}
    for point in table.points:
        asked = (point.setting, point.scheme, point.density)
        of_scheme = times_us.setdefault(point.setting, {}).setdefault(point.scheme, {})
        of_scheme[point.density] = predictor.latency_us(*asked)
    wanted = dict.fromkeys(row.setting for row in rows if row.setting is not None) or dict.fromkeys(times_us)
    return [
        _figure(setting, times_us[setting], [row for row in rows if row.setting == setting], styles, predictor)
        for setting in wanted
        if setting in times_us
    ]


def _figure(
    setting: LayerSetting,
    times_us: Times,
    rows: Sequence[LayerRow],
    styles: Mapping[SchemeSpec, str],
    predictor: Predictor,
) -> LatencyFigure:
    densities = sorted({density for of_scheme in times_us.values() for density in of_scheme})
    numbers = [
        (str(scheme), tuple(f"{at[density]:.1f}" if density in at else "" for density in densities))
        for scheme in styles
        if (at := times_us.get(scheme))
    ]
    return LatencyFigure(
        title=str(setting),
        chart=_chart(setting, times_us, rows, styles, predictor),
        chosen=tuple(f"{row.name}: {_choice(row)}" for row in rows),
        densities=tuple(percent(density) for density in densities),
        rows=tuple(numbers),
    )


def density_ticks(x: Scale) -> tuple[Tick, ...]:
    """Return the ticks of an axis of densities, which is logarithmic."""
    ticks = DENSITY_TICKS if x.low >= DENSITY_TICKS[0] else DECADES
    return tuple(Tick(x(tick), f"{100 * tick:g} %") for tick in ticks if tick >= x.low * 0.999)


def _choice(row: LayerRow) -> str:
    what = str(row.scheme) if row.scheme == DENSE else f"{row.scheme} at {percent(row.density)}"
    if row.pruned_us is None:
        return f"{what}, not measured"
    gain = "" if row.scheme == DENSE or not row.dense_us else f", {row.dense_us / row.pruned_us:.1f}x faster than dense"
    return f"{what}, {row.pruned_us:.1f} µs{gain}"


def _chart(
    setting: LayerSetting,
    times_us: Times,
    rows: Sequence[LayerRow],
    styles: Mapping[SchemeSpec, str],
    predictor: Predictor,
) -> Chart:
    chosen = [(row.scheme, row.density, row.pruned_us, row) for row in rows if row.pruned_us is not None]
    measured = [place for of_scheme in times_us.values() for place in of_scheme.items()]
    limits = [CUT_AT * us for us in times_us.get(DENSE, {}).values()]
    top = min([max([*(us for _, us in measured), *(us for _, _, us, _ in chosen)]), *limits])
    x = x_scale(min([0.5, *(at for at, _ in measured), *(at for _, at, _, _ in chosen)]), 1.0, is_log=True)
    y = y_scale(0, 1.05 * top)
    lines = []
    for scheme in (scheme for scheme in styles if scheme in times_us):
        own = sorted(times_us[scheme].items())
        drawn = [at for at, _ in own] + [at for of, at, _, _ in chosen if of == scheme]
        ends = (x.low, 1.0) if scheme == DENSE else (min(drawn), max(drawn))
        dots = tuple((x(at), y(us), f"{scheme} at {percent(at)}: {us:.1f} µs") for at, us in own)
        style = styles[scheme] + (" chosen" if any(row.scheme == scheme for row in rows) else "")
        curve = _curve(partial(predictor.latency_us, setting, scheme), times_us[scheme], *ends)
        lines.append(Line(style, dots, tuple((x(at), y(us)) for at, us in curve)))
    marks = {
        (scheme, density): Mark(styles[scheme], x(density), y(us), f"chosen for {row.name}: {_choice(row)}")
        for scheme, density, us, row in chosen
    }
    return Chart(
        label=f"Latency of {setting} in microseconds against density, a line per scheme",
        x_label="density",
        y_label="µs",
        x_ticks=density_ticks(x),
        y_ticks=round_ticks(y),
        lines=tuple(lines),
        marks=tuple(marks.values()),
    )


def _curve(time_us: Callable[[float], float], measured: Iterable[float], low: float, high: float) -> list[Point]:
    """Return (density, µs) along the prediction: straight between points, which an axis of logarithms bends."""
    between = (low * (high / low) ** (i / CURVE_STEPS) for i in range(CURVE_STEPS + 1))
    return [(density, time_us(density)) for density in sorted({*between, *measured})]
