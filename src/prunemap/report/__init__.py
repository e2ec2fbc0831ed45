"""Results as tables for the terminal: value in, rich table out; made to read well at 80 columns."""

from prunemap.report.demo import DemoSummary, demo_tables
from prunemap.report.networks import (
    compiled_tables,
    inspection_tables,
    onnx_pruning_table,
    plan_tables,
    training_table,
)
from prunemap.report.timings import bench_table, bench_tables, latency_table, verify_table

__all__ = [
    "DemoSummary",
    "bench_table",
    "bench_tables",
    "compiled_tables",
    "demo_tables",
    "inspection_tables",
    "latency_table",
    "onnx_pruning_table",
    "plan_tables",
    "training_table",
    "verify_table",
]
