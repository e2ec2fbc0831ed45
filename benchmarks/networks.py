"""Whole networks at 224 px beside ONNX Runtime on the dense network, interleaved in one run.

Random weights, pruned by magnitude; the compiler finds the structure from the zeros, no plan is given. Every row also
says how long compiling took (cold: in an empty home, with the C compiler's own caches empty too; cached: again), how
large the packed weights are, and how much memory a process grows by. Rows that the result file has are not measured
again, so an interrupted run goes on where it was.

    .venv/bin/python benchmarks/networks.py [--quick] [--only REGEX]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from zoo import WORK, dense_model, macs_run, sparse_model, with_batch

from prunemap.benchmarking import bench, open_subject
from prunemap.benchmarking.compare import interleave, ratio
from prunemap.benchmarking.engines import Batch, LoadedEngine
from prunemap.compiler import Tuning, compile_model
from prunemap.compiler.cost import read_costs
from prunemap.core.value import now
from prunemap.devices import float_mode_kept, pinned
from prunemap.report.text import milliseconds, new_table, percent, size
from prunemap.runtime import Engine, Program, random_inputs

ORT = "onnxruntime"
BATCH = 8


@dataclass(frozen=True)
class Case:
    """A row of the table: ours / ONNX Runtime's time, at most ``bar``."""

    network: str
    sparsity: str
    """Empty = dense."""
    bar: float
    packed_bar: float | None = None
    """Packed weights / 4 bytes per weight that is not zero, at most."""

    @property
    def name(self) -> str:
        return f"{self.network} {self.sparsity or 'dense'}"


CASES = (
    Case("resnet50", "punched:8x4@0.1", 0.20, 1.08),
    Case("resnet50", "block:8x4@0.1", 0.20, 1.08),
    Case("resnet50", "punched:4x1@0.1", 0.20, 1.3),
    Case("resnet50", "block:4x1@0.1", 0.20, 1.3),
    Case("resnet50", "punched:8x4@0.2", 0.33, 1.08),
    Case("resnet50", "unstructured@0.1", 0.35),
    Case("vgg16", "punched:8x4@0.1", 0.16, 1.08),
    Case("mobilenetv2", "block:8x4@0.1", 0.42, 1.08),
    Case("mobilenetv2", "punched:8x4@0.1", 0.42, 1.08),
    Case("resnet50", "", 1.15),
    Case("mobilenetv2", "", 1.15),
    Case("vgg16", "", 1.15),
)
SCALED = CASES[0]
"""The network of the rows with two threads and with a batch."""
SCALING_BAR, BATCH_BAR = 1.7, 1.0


class NetworkRow(Row):
    """What was measured of a case; the first three figures are what has a bar."""

    value: float
    """ours / ONNX Runtime's; or how many times faster."""
    bar: float
    passed: bool
    ours_ms: float
    other: str
    other_ms: float
    rounds: int
    seconds_per_engine: float
    max_relative_error: float | None = None
    macs_run: float | None = None
    """Share of the kept multiply-adds that are run; the others feed channels that are constant or that nobody reads."""
    cold_compile_s: float | None = None
    cached_compile_s: float | None = None
    packed_bytes: int | None = None
    packed_per_nonzero: float | None = None
    """Packed weights / 4 bytes per weight that is not zero."""
    packed_bar: float | None = None
    arena_bytes: int | None = None
    memory_bytes: int | None = None
    """By which a process grows; likewise ONNX Runtime's."""
    memory_onnxruntime_bytes: int | None = None


def compile_in_process(model: Path, pmap: Path, run: Run) -> tuple[float, float]:
    """Compile from the command line in an empty home, twice; return the seconds cold and cached."""
    command = [sys.executable, "-m", "prunemap", "compile", str(model), "-o", str(pmap), "--json"]
    command += ["--no-tune"] if run.quick else []
    seconds = []
    with tempfile.TemporaryDirectory(prefix="prunemap-home-") as home:
        environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"} | {"HOME": home}
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def grown_bytes(kind: str, model: Path, threads: int) -> int:
    """Return the memory that an engine needs, from a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("memory.py")), kind, str(model), str(threads)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def measure_case(case: Case, run: Run) -> NetworkRow:
    """Compile, verify, and time beside ONNX Runtime on the dense network."""
    dense = dense_model(case.network)
    model = sparse_model(case.network, case.sparsity) if case.sparsity else dense
    pmap = WORK / f"{model.stem}.pmap"
    cold_s, cached_s = compile_in_process(model, pmap, run)
    subject = replace(open_subject(pmap, run.threads, reference=model), dense=dense)
    result = bench(subject, [ORT], effort=run.effort)
    medians = {each.engine: each.median_ms for each in result.results}
    program = subject.program
    nonzeros = sum(cost.kept_weights for cost in read_costs(model).values())
    value = 1 / result.ratios[ORT]
    return NetworkRow(
        name=case.name,
        value=value,
        bar=case.bar,
        passed=value <= case.bar,
        ours_ms=medians["prunemap"],
        other=f"{ORT} dense",
        other_ms=medians[ORT],
        rounds=result.rounds,
        seconds_per_engine=result.seconds / 2,
        max_relative_error=result.max_relative_error,
        macs_run=macs_run(model),
        cold_compile_s=cold_s,
        cached_compile_s=cached_s,
        packed_bytes=program.weights_size,
        packed_per_nonzero=program.weights_size / (4 * nonzeros),
        packed_bar=case.packed_bar,
        arena_bytes=program.manifest.arena_bytes,
        memory_bytes=grown_bytes("prunemap", pmap, run.threads),
        memory_onnxruntime_bytes=grown_bytes(ORT, dense, run.threads),
        command=run.command,
        date=now(),
    )


class OwnInputs(LoadedEngine):
    """A compiled program on inputs of its own, so that programs of different batches can take turns."""

    def __init__(self, program: Program, threads: int) -> None:
        self._engine = Engine(program, threads)
        self._inputs = random_inputs(self._engine.inputs)
        self.version = f"prunemap {program.manifest.prunemap}"

    def time_runs(self, inputs: Batch, runs: int) -> np.ndarray:
        return self._engine.time_runs(self._inputs, runs)

    def close(self) -> None:
        self._engine.close()


@float_mode_kept()
def compare_ours(name: str, bar: float, ours: OwnInputs, other: OwnInputs, images: int, run: Run) -> NetworkRow:
    """Return how many times more images per second ``ours`` makes."""
    with ours, other:
        samples = interleave({"ours": ours, "other": other}, {}, run.effort)
    value = ratio(samples["other"], samples["ours"]) * images
    return NetworkRow(
        name=name,
        value=value,
        bar=bar,
        passed=value >= bar,
        ours_ms=samples["ours"].percentile_ms(50),
        other="batch 1, 1 thread",
        other_ms=samples["other"].percentile_ms(50),
        rounds=len(samples["ours"].seconds),
        seconds_per_engine=run.effort.seconds / 2,
        command=run.command,
        date=now(),
    )


def measure_threads(run: Run) -> NetworkRow:
    """Two threads beside one."""
    model = sparse_model(SCALED.network, SCALED.sparsity)
    one = compile_model(model, tune=run.tuning)
    two = compile_model(model, tune=run.tuning and Tuning(2))
    with pinned(2):
        return compare_ours(_SCALING, SCALING_BAR, OwnInputs(two, 2), OwnInputs(one, 1), 1, run)


def measure_batch(run: Run) -> NetworkRow:
    """A batch beside one image at a time, both with one thread."""
    model = sparse_model(SCALED.network, SCALED.sparsity)
    one = compile_model(model, tune=run.tuning)
    many = compile_model(with_batch(model, BATCH), tune=run.tuning)
    with pinned(1):
        return compare_ours(_BATCHED, BATCH_BAR, OwnInputs(many, 1), OwnInputs(one, 1), BATCH, run)


_SCALING = f"{SCALED.name}, 2 threads over 1: times faster"
_BATCHED = f"{SCALED.name}, batch {BATCH} over batch 1: times the throughput"


def measurements() -> dict[str, Callable[[Run], NetworkRow]]:
    """Return what measures each row, by its name."""
    cases = {case.name: partial(measure_case, case) for case in CASES}
    return {**cases, _SCALING: measure_threads, _BATCHED: measure_batch}


def print_result(result: Result[NetworkRow], console: Console) -> None:
    """Print the rows beside their bars, then what compiling took and what is stored."""
    table = new_table("whole networks", "network", "ours, ms", "other, ms", "ratio", "bar", "MACs run", "")
    costs = new_table(
        "compiling and memory", "network", "cold, s", "cached, s", "packed", "x non-zeros", "memory", "ORT"
    )
    for row in result.rows:
        verdict = "[green]PASS[/]" if row.passed else f"[red]MISS by {abs(row.value / row.bar - 1) * 100:.0f} %[/]"
        figures = (milliseconds(row.ours_ms), milliseconds(row.other_ms), f"{row.value:.3f}", f"{row.bar:g}")
        table.add_row(row.name, *figures, "" if row.macs_run is None else percent(row.macs_run), verdict)
        if row.cold_compile_s is None:
            continue
        over = row.packed_bar is not None and row.packed_per_nonzero > row.packed_bar
        costs.add_row(
            row.name,
            f"{row.cold_compile_s:.1f}",
            f"{row.cached_compile_s:.1f}",
            size(row.packed_bytes),
            f"{'[red]' if over else ''}{row.packed_per_nonzero:.3f}",
            size(row.memory_bytes),
            size(row.memory_onnxruntime_bytes),
        )
    console.print(table)
    console.print(costs)


def main() -> None:
    run = Run.of(options_parser(__doc__, "resnet50 punched:8x4").parse_args(), "networks")
    measure_rows(run, Result[NetworkRow], measurements(), print_result)


if __name__ == "__main__":
    main()
