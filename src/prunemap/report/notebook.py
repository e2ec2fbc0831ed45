"""Results in notebooks: the tables of the terminal as HTML tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from prunemap.core.shown import Shown
from prunemap.report.demo import demo_tables
from prunemap.report.devices import device_bench_tables, device_check_tables, device_list_table, sustained_table
from prunemap.report.networks import compiled_tables, inspection_tables, onnx_pruning_table, plan_table, plan_tables
from prunemap.report.pruning import rates_table, recipe_tables, training_tables
from prunemap.report.search import search_tables
from prunemap.report.sensitivity import sensitivity_tables
from prunemap.report.table_check import check_tables
from prunemap.report.timings import bench_tables, latency_tables, verify_table

TABLES: Mapping[str, Callable[[Any], Table | Iterable[Table]]] = {
    "BenchResult": bench_tables,
    "Pipeline": lambda pipeline: compiled_tables(pipeline.manifest),
    "Program": lambda program: compiled_tables(program.manifest),
    "DemoSummary": demo_tables,
    "DeviceBenchResult": device_bench_tables,
    "DeviceCheck": device_check_tables,
    "DeviceList": device_list_table,
    "Inspection": inspection_tables,
    "LatencyTable": latency_tables,
    "MapResult": plan_tables,
    "OnnxPruning": lambda result: onnx_pruning_table(result, "pruned layers"),
    "Plan": plan_table,
    "PrunedRates": rates_table,
    "RecipeSummary": recipe_tables,
    "SearchRecord": search_tables,
    "Sensitivity": sensitivity_tables,
    "SustainedResult": sustained_table,
    "TableCheck": check_tables,
    "TrainReport": training_tables,
    "VerifyResult": verify_table,
}
"""The tables of a result, by the name of its class: importing some of the classes imports torch."""
_CELL = "padding: 2px 8px; vertical-align: top; text-align: {}; white-space: {}"
_STYLES = {"bold": "font-weight: bold", "dim": "opacity: 0.65"}
LONG = 40
"""A cell of more characters is broken into lines."""


def html_of(value: Shown) -> str | None:
    """Return a result as HTML; None for values that are no results."""
    tables = next((TABLES[kind.__name__] for kind in type(value).__mro__ if kind.__name__ in TABLES), None)
    if tables is None:
        return None
    found = tables(value)
    return "\n".join(map(html_table, [found] if isinstance(found, Table) else found))


def html_table(table: Table) -> str:
    """Return a table of the terminal as one of HTML, its texts escaped."""
    head = "".join(_cell("th", str(column.header), column) for column in table.columns) if table.show_header else ""
    rows = "".join(
        f'<tr style="{_STYLES.get(str(row.style or ""), "")}">'
        + "".join(_cell("td", str(cell), column) for cell, column in zip(cells, table.columns, strict=True))
        + "</tr>"
        for row, cells in zip(table.rows, zip(*(column.cells for column in table.columns), strict=True), strict=True)
    )
    title = f'<div style="font-weight: bold">{_text(str(table.title or "").strip())}</div>'
    caption = f'<div style="font-size: 90%; opacity: 0.65">{_text(str(table.caption or ""))}</div>'
    return (
        f'<div style="margin: 8px 0; overflow-x: auto">{title}<table style="border-collapse: collapse">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{caption}</div>"
    )


def _cell(tag: str, cell: str, column: Column) -> str:
    side = "right" if column.justify == "right" else "left"
    style = _CELL.format(side, "normal" if len(cell) > LONG else "nowrap")
    return f'<{tag} style="{style}">{_text(cell)}</{tag}>'


def _text(markup: str) -> str:
    return escape(Text.from_markup(markup).plain).replace("\n", "<br>")
