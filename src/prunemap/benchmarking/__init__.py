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
from prunemap.benchmarking.compare import QUICK, Effort
from prunemap.benchmarking.engines import ENGINES, Subject
from prunemap.benchmarking.layers import LayerResult
from prunemap.benchmarking.verify import TOLERANCE, OutputError, VerifyResult, verify

__all__ = [
    "ENGINES",
    "QUICK",
    "TOLERANCE",
    "BenchResult",
    "Effort",
    "EngineResult",
    "LayerResult",
    "OutputError",
    "Subject",
    "VerifyResult",
    "bench",
    "bench_model",
    "find_source",
    "open_subject",
    "opened_subject",
    "verify",
]
