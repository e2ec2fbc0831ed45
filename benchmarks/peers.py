"""Our pruned networks beside other engines on the CPU, interleaved in one run: same inputs, threads pinned.

ONNX Runtime, OpenVINO, MNN and ncnn run the dense network (zeros cost them what other weights do), DeepSparse the
pruned one, which is what it is made for. An engine that is not installed, or that refuses a network, is left out with
a notice. ncnn needs the converter of ``pip install pnnx``, DeepSparse an environment of its own:

    python3.11 -m venv DIR && DIR/bin/pip install deepsparse==1.8.0
    .venv/bin/python benchmarks/peers.py --deepsparse DIR/bin/python [--pnnx PNNX] [--quick] [--threads N]
"""

from __future__ import annotations

import argparse
import shlex
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from peer_engines import Peer, peer_rows
from rich.console import Console
from zoo import LARGE, RESULTS, dense_model, sparse_model

from prunemap.benchmarking import ENGINES, QUICK, Effort, Subject, open_subject
from prunemap.benchmarking.compare import interleave, ratio
from prunemap.benchmarking.engines import Batch, BenchEngine, LoadedEngine, LoadedOnnxRuntime
from prunemap.benchmarking.verify import relative_error
from prunemap.core.latency_table import Machine
from prunemap.core.value import Value, now, write_json
from prunemap.devices import float_mode_kept, pinned, read_machine
from prunemap.errors import PrunemapError
from prunemap.report.text import milliseconds, new_table, times
from prunemap.runtime import random_inputs

OURS, DEEPSPARSE = "prunemap", "deepsparse"
SPARSITIES = {"mobilenetv2": "block:8x4@0.1"}
"""Its narrow layers would lose most of their channels to whole blocks."""
SPARSITY = "punched:8x4@0.1"
RUN_SPARSE = (OURS, DEEPSPARSE)
DEEPSPARSE_BAR = 0.5
"""Ours / DeepSparse's time on the same file, at most."""


class PeerRow(Value):
    """What one engine took for one network."""

    network: str
    engine: str
    version: str
    weights: str
    """dense, or the sparsity of the file that the engine ran."""
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    """Median over the rounds of theirs / ours."""
    max_relative_error: float | None
    """Against ONNX Runtime on the same file, where it was converted."""


class PeerResult(Value):
    """The JSON file."""

    machine: Machine
    threads: int
    quick: bool
    command: str
    date: str
    rows: tuple[PeerRow, ...] = ()
    left_out: tuple[str, ...] = ()


def load_all(
    rows: list[BenchEngine], subject: Subject, batch: Batch, stack: ExitStack
) -> tuple[dict[str, LoadedEngine], dict[str, float], list[str]]:
    """Return the engines that can run the network, the errors of those that were converted, and who cannot and why."""
    engines: dict[str, LoadedEngine] = {}
    errors: dict[str, float] = {}
    left_out = []
    for row in rows:
        try:
            engine = stack.enter_context(row.load(subject))
            if isinstance(engine, Peer):
                model = subject.onnx if row.name in RUN_SPARSE else subject.given
                (wanted,), (found,) = LoadedOnnxRuntime(model).run(batch), engine.run(batch)
                errors[row.name] = relative_error(found.reshape(wanted.shape), wanted)
            engines[row.name] = engine
        except (PrunemapError, ValueError, RuntimeError, OSError) as error:
            left_out.append(f"{row.name} on {subject.given.stem}: {error}")
            Console(stderr=True).print(f"left out: {left_out[-1]}", markup=False)
    return engines, errors, left_out


@float_mode_kept()
def measure_network(
    name: str, rows: list[BenchEngine], threads: int, effort: Effort, tune: bool
) -> tuple[list[PeerRow], list[str]]:
    """Return the rows of one network, and who was left out."""
    dense, sparsity = dense_model(name), SPARSITIES.get(name, SPARSITY)
    subject = replace(open_subject(sparse_model(name, sparsity), threads, tune=tune), dense=dense)
    batch = random_inputs(subject.program.manifest.inputs)
    with pinned(threads), ExitStack() as stack:
        engines, errors, left_out = load_all(rows, subject, batch, stack)
        samples = interleave(engines, batch, effort)
        versions = {each: engine.version for each, engine in engines.items()}
    found = []
    for engine, each in samples.items():
        p10, median, p90 = (each.percentile_ms(percent) for percent in (10, 50, 90))
        found.append(
            PeerRow(
                network=name,
                engine=engine,
                version=versions[engine],
                weights=sparsity if engine in RUN_SPARSE else "dense",
                median_ms=median,
                p10_ms=p10,
                p90_ms=p90,
                ratio=ratio(each, samples[OURS]),
                max_relative_error=errors.get(engine),
            )
        )
    return found, left_out


def print_result(result: PeerResult, console: Console) -> None:
    table = new_table("peers", "network", "engine", "weights", "ms", "p10", "p90", "prunemap is faster", left=3)
    for row in result.rows:
        figures = map(milliseconds, (row.median_ms, row.p10_ms, row.p90_ms))
        table.add_row(row.network, row.version, row.weights, *figures, "" if row.engine == OURS else times(row.ratio))
    console.print(table)
    for row in result.rows:
        if row.engine == DEEPSPARSE:
            verdict = "PASS" if 1 / row.ratio <= DEEPSPARSE_BAR else "MISS"
            console.print(f"{row.network}: ours / DeepSparse {1 / row.ratio:.2f}, at most {DEEPSPARSE_BAR}: {verdict}")
    console.print(markdown(result), markup=False, highlight=False)


def markdown(result: PeerResult) -> str:
    """Return the table for the README: one line per engine, one column per network, in ms."""
    networks = list(dict.fromkeys(row.network for row in result.rows))
    cells = {(row.engine, row.network): row for row in result.rows}
    labels = {
        row.engine: f"{row.version.split('-', 1)[0]}, {'10 %' if row.engine in RUN_SPARSE else 'dense'}"
        for row in result.rows
    }
    lines = [f"| ms | {' | '.join(networks)} |", "|---" * (len(networks) + 1) + "|"]
    for engine, label in labels.items():
        found = (cells.get((engine, network)) for network in networks)
        lines.append(f"| {label} | {' | '.join(milliseconds(row.median_ms) if row else '–' for row in found)} |")
    threads = "1 thread" if result.threads == 1 else f"{result.threads} threads"
    return "\n".join(
        [
            *lines,
            "",
            f"{result.machine.cpu}, {threads}, batch 1, fp32, {result.date[:10]}; 10 %: {SPARSITY}, "
            f"{', '.join(f'{name} {sparsity}' for name, sparsity in SPARSITIES.items())}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, tiles not tuned")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", default=LARGE, choices=LARGE)
    parser.add_argument("--deepsparse", metavar="PYTHON", help="interpreter of the environment with DeepSparse")
    parser.add_argument("--pnnx", metavar="PNNX", help="converter for ncnn; default: the installed one")
    parser.add_argument("-o", "--output", type=Path, help="default: benchmarks/results/peers-TARGET-DATE.json")
    options = parser.parse_args()
    rows = [ENGINES[name] for name in (OURS, "dense", "onnxruntime", "openvino")]
    rows += peer_rows({"pnnx": options.pnnx, "deepsparse": options.deepsparse})
    result = PeerResult(
        machine=read_machine(),
        threads=options.threads,
        quick=options.quick,
        command=shlex.join(["python", *sys.argv]),
        date=now(),
    )
    effort = QUICK if options.quick else Effort()
    for name in options.networks:
        found, left_out = measure_network(name, rows, options.threads, effort, tune=not options.quick)
        update = {"rows": (*result.rows, *found), "left_out": (*result.left_out, *left_out)}
        result = result.model_copy(update=update)
        write_json(options.output or RESULTS / f"peers-{result.date[:10]}.json", result)
    print_result(result, Console(width=None if sys.stdout.isatty() else 120))


if __name__ == "__main__":
    main()
