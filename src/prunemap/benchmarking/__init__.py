"""Proof: what a compiled network computes (verify), and how fast it is beside other engines (bench)."""

from prunemap.benchmarking.benchmark import (
    BenchResult,
    EngineResult,
    bench,
    bench_model,
    find_source,
    open_subject,
    opened_subject,
)
from prunemap.benchmarking.checked_plans import PLANS, Predicted
from prunemap.benchmarking.compare import QUICK, Effort
from prunemap.benchmarking.engines import ENGINES, Subject
from prunemap.benchmarking.layers import LayerResult
from prunemap.benchmarking.table_check import NetworkCheck, TableCheck, check_network, check_table
from prunemap.benchmarking.verify import TOLERANCE, OutputError, VerifyResult, verify

__all__ = [
    "ENGINES",
    "PLANS",
    "QUICK",
    "TOLERANCE",
    "BenchResult",
    "Effort",
    "EngineResult",
    "LayerResult",
    "NetworkCheck",
    "OutputError",
    "Predicted",
    "Subject",
    "TableCheck",
    "VerifyResult",
    "bench",
    "bench_model",
    "check_network",
    "check_table",
    "find_source",
    "open_subject",
    "opened_subject",
    "verify",
]
