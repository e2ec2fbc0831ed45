"""Results as tables for the terminal, which read well at 80 columns, and a run as one HTML page."""

from prunemap.report.demo import DemoSummary, demo_tables
from prunemap.report.devices import device_bench_tables, device_check_tables, device_list_table, sustained_table
from prunemap.report.html import write_report
from prunemap.report.networks import (
    compiled_tables,
    inspection_tables,
    onnx_pruning_table,
    plan_tables,
    training_table,
)
from prunemap.report.pruning import recipe_tables, training_tables
from prunemap.report.search import search_tables
from prunemap.report.sensitivity import sensitivity_tables
from prunemap.report.sensitivity_plot import check_plot, write_sensitivity_plot
from prunemap.report.table_check import check_tables
from prunemap.report.timings import bench_table, bench_tables, latency_tables, verify_table

__all__ = [
    "DemoSummary",
    "bench_table",
    "bench_tables",
    "check_plot",
    "check_tables",
    "compiled_tables",
    "demo_tables",
    "device_bench_tables",
    "device_check_tables",
    "device_list_table",
    "inspection_tables",
    "latency_tables",
    "onnx_pruning_table",
    "plan_tables",
    "recipe_tables",
    "search_tables",
    "sensitivity_tables",
    "sustained_table",
    "training_table",
    "training_tables",
    "verify_table",
    "write_report",
    "write_sensitivity_plot",
]
