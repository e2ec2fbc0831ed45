"""Whole networks at 224 px beside ONNX Runtime on the dense network, interleaved in one run.

Random weights, pruned by magnitude; the compiler finds the structure from the zeros, no plan is given. Every row also
says how long compiling took (cold: in an empty home, with the C compiler's own caches empty too; cached: again), how
large the packed weights are, and how much memory a process grows by. Rows that the result file has are not measured
again, so an interrupted run goes on where it was.

    .venv/bin/python benchmarks/networks.py [--quick] [--only REGEX]
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from zoo import RESULTS, WORK, dense_model, sparse_model, with_batch

from prunemap.benchmarking import QUICK, Effort, bench, open_subject
from prunemap.benchmarking.compare import interleave, ratio
from prunemap.benchmarking.engines import Batch, LoadedEngine
from prunemap.compiler import Tuning, compile_model
from prunemap.compiler.build import find_compiler
from prunemap.compiler.cost import costs_of, read_costs
from prunemap.compiler.onnx_file import read_onnx
from prunemap.compiler.onnx_import import import_graph
from prunemap.core.latency_table import Machine
from prunemap.core.value import Value, read_json, write_json
from prunemap.devices import float_mode_kept, pinned, read_machine
from prunemap.report.text import milliseconds, new_table, percent, size
from prunemap.runtime import Engine, Program, random_inputs
from prunemap.targets import resolve_target

ORT = "onnxruntime"
BATCH = 8
COLD_BAR_S, CACHED_BAR_S = 90, 5
"""Of compiling ResNet-50 on two cores."""


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


class Row(Value):
    """What was measured of a case; the first three figures are what has a bar."""

    name: str
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
    command: str
    date: str


class Result(Value):
    """The JSON file."""

    machine: Machine
    threads: int
    quick: bool
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Run:
    """How this run measures."""

    threads: int
    quick: bool
    command: str

    @property
    def effort(self) -> Effort:
        return QUICK if self.quick else Effort()

    @property
    def tuning(self) -> Tuning | None:
        return None if self.quick else Tuning(self.threads)


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


def measure_case(case: Case, run: Run) -> Row:
    """Compile, verify, and time beside ONNX Runtime on the dense network."""
    dense = dense_model(case.network)
    model = sparse_model(case.network, case.sparsity) if case.sparsity else dense
    pmap = WORK / f"{model.stem}.pmap"
    cold_s, cached_s = compile_in_process(model, pmap, run)
    subject = replace(open_subject(pmap, run.threads, reference=model), dense=dense)
    result = bench(subject, [ORT], effort=run.effort)
    medians = {each.engine: each.median_ms for each in result.results}
    program = subject.program
    run_costs, kept_costs = read_costs(model).values(), costs_of(import_graph(read_onnx(model))).values()
    nonzeros = sum(cost.kept_weights for cost in run_costs)
    value = 1 / result.ratios[ORT]
    return Row(
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
        macs_run=sum(cost.macs for cost in run_costs) / sum(cost.macs for cost in kept_costs),
        cold_compile_s=cold_s,
        cached_compile_s=cached_s,
        packed_bytes=program.weights_size,
        packed_per_nonzero=program.weights_size / (4 * nonzeros),
        packed_bar=case.packed_bar,
        arena_bytes=program.manifest.arena_bytes,
        memory_bytes=grown_bytes("prunemap", pmap, run.threads),
        memory_onnxruntime_bytes=grown_bytes(ORT, dense, run.threads),
        command=run.command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
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
def compare_ours(name: str, bar: float, ours: OwnInputs, other: OwnInputs, images: int, run: Run) -> Row:
    """Return how many times more images per second ``ours`` makes."""
    with ours, other:
        samples = interleave({"ours": ours, "other": other}, {}, run.effort)
    value = ratio(samples["other"], samples["ours"]) * images
    return Row(
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
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def measure_threads(run: Run) -> Row:
    """Two threads beside one."""
    model = sparse_model(SCALED.network, SCALED.sparsity)
    one = compile_model(model, tune=run.tuning)
    two = compile_model(model, tune=run.tuning and Tuning(2))
    with pinned(2):
        return compare_ours(_SCALING, SCALING_BAR, OwnInputs(two, 2), OwnInputs(one, 1), 1, run)


def measure_batch(run: Run) -> Row:
    """A batch beside one image at a time, both with one thread."""
    model = sparse_model(SCALED.network, SCALED.sparsity)
    one = compile_model(model, tune=run.tuning)
    many = compile_model(with_batch(model, BATCH), tune=run.tuning)
    with pinned(1):
        return compare_ours(_BATCHED, BATCH_BAR, OwnInputs(many, 1), OwnInputs(one, 1), BATCH, run)


_SCALING = f"{SCALED.name}, 2 threads over 1: times faster"
_BATCHED = f"{SCALED.name}, batch {BATCH} over batch 1: times the throughput"


def measurements() -> dict[str, Callable[[Run], Row]]:
    """Return what measures each row, by its name."""
    cases = {case.name: partial(measure_case, case) for case in CASES}
    return {**cases, _SCALING: measure_threads, _BATCHED: measure_batch}


def print_result(result: Result, console: Console) -> None:
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, tiles not tuned")
    parser.add_argument("--threads", type=int, default=1, help="of the rows beside ONNX Runtime")
    parser.add_argument("--only", default="", metavar="REGEX", help="rows, such as 'resnet50 punched:8x4'")
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results/networks-TARGET-DATE.json")
    options = parser.parse_args()
    run = Run(options.threads, options.quick, shlex.join(["python", *sys.argv]))
    machine = read_machine(resolve_target("native").name, find_compiler().version)
    path = options.output or RESULTS / f"networks-{machine.target}-{datetime.now(UTC).date()}.json"
    result = Result(machine=machine, threads=run.threads, quick=run.quick)
    if path.exists():
        result = read_json(path, Result, "--output")
        if (result.quick, result.threads, result.machine) != (run.quick, run.threads, machine):
            raise SystemExit(f"{path} was measured otherwise: name another file (-o), or delete it")
    console = Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as stack:
        stack.callback(lambda: print_result(read_json(path, Result, "--output"), console) if path.exists() else None)
        for name, measure in measurements().items():
            if re.search(options.only, name) and name not in {row.name for row in result.rows}:
                Console(stderr=True).print(name)
                result = result.model_copy(update={"rows": (*result.rows, measure(run))})
                write_json(path, result)


if __name__ == "__main__":
    main()
