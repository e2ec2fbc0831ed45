"""Proof: what a compiled network computes (verify), and how fast it is beside other engines (bench)."""

from prunemap.bench.benchmark import BenchResult, EngineResult, bench, bench_model, find_source, open_subject
from prunemap.bench.compare import QUICK, Effort
from prunemap.bench.engines import ENGINES, Subject
from prunemap.bench.verify import OutputError, VerifyResult, verify

__all__ = [
    "ENGINES",
    "QUICK",
    "BenchResult",
    "Effort",
    "EngineResult",
    "OutputError",
    "Subject",
    "VerifyResult",
    "bench",
    "bench_model",
    "find_source",
    "open_subject",
    "verify",
]
