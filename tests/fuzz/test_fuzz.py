"""Some hundred mutations of valid files, each ending in a result or in a clear error; benchmarks/fuzz.py runs more."""

from __future__ import annotations

import resource
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.seeds import seed_models, seed_programs
from tests.fuzz.trial import DEFECT, Result, try_onnx, try_pmap

SEED = 20
PER_TEST = 150
LIMIT_SECONDS = 20
LIMIT_BYTES = 3 << 30
"""Beyond what the process has when it starts."""
COMPILED_SHARE = 0.01


class Hang(BaseException):
    """A trial took too long."""


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the time and the memory of a trial."""

    def stop(*_: object) -> None:
        raise Hang(f"more than {LIMIT_SECONDS} s")

    before, (soft, hard) = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT_BYTES, hard))
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def check(results: list[Result], outcomes: set[str]) -> None:
    """No trial shows a defect, and the mutations reach as deep as ``outcomes`` say."""
    assert not [result for result in results if result.outcome == DEFECT]
    assert outcomes <= set(Counter(result.outcome for result in results))
    assert all(result.detail for result in results if not result.outcome.startswith(("lowered", "ran")))


@pytest.mark.parametrize("part", range(5))
def test_mutated_models_end_in_a_result_or_a_clear_error(part: int, tmp_path: Path) -> None:
    results = []
    for number in range(part * PER_TEST, (part + 1) * PER_TEST):
        with bounded():
            results.append(try_onnx(seed_models(), np.random.default_rng([SEED, number]), tmp_path, COMPILED_SHARE))
    check(results, {"lowered", "refused: read", "unsupported: import"})


@pytest.mark.parametrize("part", range(2))
def test_mutated_programs_run_or_are_refused(part: int, tmp_path: Path) -> None:
    results = []
    for number in range(part * PER_TEST, (part + 1) * PER_TEST):
        with bounded():
            results.append(try_pmap(seed_programs(), np.random.default_rng([SEED, part, number]), tmp_path))
    check(results, {"ran", "refused: read"})
