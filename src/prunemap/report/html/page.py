"""write_report: a run folder into one HTML file that needs nothing else, neither the net nor a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prunemap.core.files import check_writable, write_text
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.report.html import chart
from prunemap.report.html.chart import Bars, Chart, bars
from prunemap.report.html.conditions import Grid, engines, sections, seeds
from prunemap.report.html.energy_charts import energy_figures
from prunemap.report.html.headline import tiles, title_of
from prunemap.report.html.latency_charts import CUT_AT, latency_figures
from prunemap.report.html.layer_rows import LayerRow, SharedTime, layer_rows, predictor_of, shared_times
from prunemap.report.html.run_folder import Run, read_run
from prunemap.report.html.search_charts import search_figures
from prunemap.report.html.sensitivity_charts import sensitivity_figures
from prunemap.report.html.styles import scheme_styles
from prunemap.report.html.training_charts import training_figures
from prunemap.report.text import count, percent, shape

SAME_DENSITY = 0.01
"""Densities closer than that are one: a mask meets the plan's to within a group of weights."""
TEMPLATES = Path(__file__).parent / "templates"


def write_report(run: str | Path, output: str | Path) -> None:
    """Write the report of a run folder, whole or not at all.

    Args:
        run: a folder of ``prunemap demo`` or ``prunemap prune --recipe``; what it lacks is left out.

    Raises:
        UserError: jinja2 is not installed, the folder has nothing of a run or a file that cannot be used, or the
            output cannot be written.
    """
    if find_spec("jinja2") is None:
        raise UserError("report: jinja2 is not installed; pip install 'prunemap[report]'")
    found = read_run(run)
    check_writable(output)
    write_text(output, render(found))


def render(run: Run) -> str:
    """Return the page.

    Raises:
        UserError: the plan does not fit the network in the folder.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 (optional)

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(_content(run))


def _content(run: Run) -> dict[str, Any]:
    """Return what the template reads."""
    rows, predictor = layer_rows(run), predictor_of(run)
    measured = run.latency.points if run.latency else ()
    tried = run.sensitivity.schemes() if run.sensitivity else []
    styles = scheme_styles([DENSE, *(point.scheme for point in measured), *(row.scheme for row in rows)])
    tried_styles = scheme_styles([*styles, *tried])
    weighed = energy_figures(run, rows, styles)
    timed = latency_figures(run.latency, rows, styles, predictor) if run.latency and predictor else []
    return {
        "title": title_of(run),
        "folder": run.folder.resolve().name,
        "version": version("prunemap"),
        "tiles": tiles(run, rows),
        "engines": engines(run),
        "seeds": seeds(run),
        "strips": _strips(rows, styles),
        "layers": _layer_grid(rows),
        "shared": _shared_grid(shared_times(run, rows)),
        "energy_figures": weighed,
        "energy_schemes": _legend(styles, [figure.chart for figure in weighed]),
        "sensitivity": sensitivity_figures(run.sensitivity, tried_styles),
        "search": search_figures(run.searches),
        "schemes_tried": [(tried_styles[s], str(s)) for s in tried_styles if s == DENSE or s in tried],
        "schemes_chosen": [(styles[scheme], str(scheme)) for scheme in styles if scheme in {r.scheme for r in rows}],
        "latency_figures": timed,
        "latency_schemes": _legend(styles, [figure.chart for figure in timed]),
        "cut_at": CUT_AT,
        "training_figures": training_figures(run.trainings),
        "conditions": sections(run),
        "chart": chart,
    }


def _legend(styles: Mapping[SchemeSpec, str], charts: Iterable[Chart]) -> list[tuple[str, str]]:
    """Return style and name of the schemes that have a line in one of the charts."""
    drawn = [line.style for each in charts for line in each.lines]
    return [(style, str(s)) for s, style in styles.items() if any(line.startswith(style) for line in drawn)]


def _layer_grid(rows: Sequence[LayerRow]) -> Grid | None:
    """Return the table of the layers; columns of which nothing is known are left out."""
    if not rows:
        return None
    columns = (
        ("layer", "name", [row.name for row in rows]),
        ("scheme", "name", [str(row.scheme) for row in rows]),
        ("predicted, µs", "number", [_microseconds(row.pruned_us) for row in rows]),
        ("measured, µs", "number", [_microseconds(row.measured_us) for row in rows]),
        ("dense, µs", "number", [_microseconds(row.dense_us) for row in rows]),
        ("density", "number", [percent(row.density) for row in rows]),
        ("kept", "number", _kept(rows)),
        ("energy", "number", ["" if row.energy is None else percent(row.energy) for row in rows]),
        ("weights", "name", [f"{row.kind} {shape(row.weight_shape)}" for row in rows]),
        ("MACs", "number", ["" if row.macs is None else count(row.macs) for row in rows]),
        ("reason", "long", [row.reason for row in rows]),
    )
    headers, kinds, cells = zip(*(column for column in columns if any(column[2])), strict=True)
    return Grid(headers, tuple(zip(*cells, strict=True)), kinds)


def _shared_grid(times: Sequence[SharedTime]) -> Grid | None:
    """Return the table of the LSTM and GRU layers; nothing where there are none or nothing is known of them."""
    headers = ("layer", "made of", "dense, µs", "predicted, µs", "measured, µs")
    cells = [
        (
            each.node,
            "; ".join(f"{row.name}: {row.scheme} at {percent(row.density)}" for row in each.rows),
            *map(_microseconds, (each.dense_us, each.pruned_us, each.measured_us)),
        )
        for each in times
    ]
    known = any(any(row[2:]) for row in cells)
    return Grid(headers, tuple(cells), ("name", "long", "number", "number", "number")) if known else None


def _kept(rows: Sequence[LayerRow]) -> list[str]:
    """Return the density that each pruned layer ended with; nothing where all are as planned."""
    found = ["" if row.kept is None else percent(row.kept) for row in rows]
    as_planned = all(row.kept is None or abs(row.kept - row.density) < SAME_DENSITY for row in rows)
    return [""] * len(rows) if as_planned else found


def _microseconds(time_us: float | None) -> str:
    return "" if time_us is None else f"{time_us:.1f}"


def _strips(rows: Sequence[LayerRow], styles: dict[SchemeSpec, str]) -> list[Bars]:
    """Return the network as bars, first layer first: density, and predicted latency where it is known."""
    if not rows:
        return []
    densities = [
        (styles[row.scheme], row.density, 1.0, f"{row.name}: {row.scheme}, {percent(row.density)}") for row in rows
    ]
    found = [bars("density of every layer", "100 %", densities)]
    known = [
        (styles[row.scheme], row.pruned_us, row.dense_us or 0.0, f"{row.name}: {row.scheme}, {row.pruned_us:.1f} µs")
        for row in rows
        if row.pruned_us is not None
    ]
    if known:
        largest = max(max(part, whole) for _, part, whole, _ in known)
        found.append(bars("predicted latency of every layer, before a pale dense one", f"{largest:.0f} µs", known))
    return found
