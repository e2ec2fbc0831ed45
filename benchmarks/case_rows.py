"""What is measured of a case of cases.py beside ONNX Runtime on the dense network: rows, their table, the command."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from cases import Case, Network
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser

from prunemap.benchmarking import TOLERANCE, bench, open_subject, verify
from prunemap.benchmarking.engines import LoadedOnnxRuntime, Subject
from prunemap.benchmarking.verify import Input, named_batch
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.core.value import now
from prunemap.devices import float_mode_kept
from prunemap.report.text import milliseconds, new_table, percent, size
from prunemap.runtime import start

ORT = "onnxruntime"


class CaseRow(Row):
    """What was measured of a case."""

    source: str
    """The package of the weights."""
    value: float
    """ours / ONNX Runtime's on the dense network."""
    bar: float | None
    passed: bool
    """Verified, and within the bar if there is one."""
    ours_ms: float
    other: str
    other_ms: float
    rounds: int
    seconds_per_engine: float
    inputs: int
    """On so many it was verified."""
    output_errors: dict[str, float]
    """By output, the largest of all inputs, over the output's largest magnitude."""
    max_relative_error: float
    """Of the outputs that are judged: all but probabilities whose logits are there too."""
    same_answers: float | None = None
    """Share of the inputs with the answer (top-1 class, nearest sentence) that ONNX Runtime gives."""
    right_answers: float | None = None
    density: float
    """Kept / all weights of the layers; those that a scheme does not suit stay dense."""
    weights_bytes: int
    compile_s: float
    versions: dict[str, str]


def measure(case: Case, folder: Path, run: Run) -> CaseRow:
    """Compile, verify on all inputs, and time beside ONNX Runtime on the dense network."""
    network, model = case.network, case.model(folder)
    inputs = network.inputs(folder)
    begin = time.perf_counter()
    subject = open_subject(model, run.threads, tune=not run.quick)
    compile_s = time.perf_counter() - begin
    with start(subject.program, run.threads) as engine:
        checked = verify(engine, model, inputs)
    errors = {output.name: output.max_relative_error for output in checked.outputs}
    judged = max(error for name, error in errors.items() if name not in network.probabilities)
    same, right = compare_answers(network, subject, inputs, folder, run) if network.answers else (None, None)
    dense = replace(subject, dense=Case(network, "").model(folder))
    result = bench(dense, [ORT], inputs=inputs[0], effort=run.effort)
    medians = {each.engine: each.median_ms for each in result.results}
    value = 1 / result.ratios[ORT]
    return CaseRow(
        name=case.name,
        source=network.source,
        value=value,
        bar=case.bar,
        passed=judged <= TOLERANCE and (case.bar is None or value <= case.bar),
        ours_ms=medians["prunemap"],
        other=f"{ORT} dense",
        other_ms=medians[ORT],
        rounds=result.rounds,
        seconds_per_engine=result.seconds / 2,
        inputs=checked.batches,
        output_errors=errors,
        max_relative_error=judged,
        same_answers=same,
        right_answers=right,
        density=density_of(model),
        weights_bytes=subject.program.weights_size,
        compile_s=compile_s,
        versions=result.versions,
        command=run.command,
        date=now(),
    )


def density_of(model: Path) -> float:
    """Return kept / all weights of the layers."""
    weights = [layer.weight for layer in list_layers(read_onnx(model))]
    return sum(np.count_nonzero(weight) for weight in weights) / sum(weight.size for weight in weights)


@float_mode_kept()
def compare_answers(
    network: Network, subject: Subject, inputs: Iterable[Input], folder: Path, run: Run
) -> tuple[float | None, float | None]:
    """Return the shares of our answers that are ONNX Runtime's, and that are right."""
    assert network.answers is not None
    with start(subject.program, run.threads) as engine, LoadedOnnxRuntime(subject.onnx, run.threads) as reference:
        batches = [named_batch(engine.inputs, batch) for batch in inputs]
        ours = network.answers([engine.run(batch) for batch in batches])
        theirs = network.answers([reference.run(batch) for batch in batches])
    right = None if network.labels is None else float(np.mean(ours == np.array(network.labels(folder))))
    return float(np.mean(ours == theirs)), right


def verdict(row: CaseRow) -> str:
    if row.max_relative_error > TOLERANCE:
        return "[red]WRONG[/]"
    if row.bar is None:
        return ""
    return "[green]PASS[/]" if row.passed else f"[red]MISS by {(row.value / row.bar - 1) * 100:.0f} %[/]"


def print_result(title: str, cases: Sequence[Case], result: Result[CaseRow], console: Console) -> None:
    """Print the rows beside their bars, in the order of the cases."""
    headers = (
        "network",
        "ours, ms",
        "ORT dense",
        "ratio",
        "bar",
        "error",
        "inputs",
        "same",
        "right",
        "kept",
        "packed",
        "",
    )
    table = new_table(f"{title}{', quick' if result.quick else ''}", *headers)
    places = {case.name: place for place, case in enumerate(cases)}
    for row in sorted(result.rows, key=lambda row: places.get(row.name, len(places))):
        shares = ("" if share is None else percent(share) for share in (row.same_answers, row.right_answers))
        table.add_row(
            row.name,
            *(milliseconds(row.ours_ms), milliseconds(row.other_ms), f"{row.value:.3f}"),
            "" if row.bar is None else f"{row.bar:.3g}",
            f"{row.max_relative_error:.1e}",
            str(row.inputs),
            *shares,
            percent(row.density),
            size(row.weights_bytes),
            verdict(row),
        )
    console.print(table)


def measure_cases(cases: Sequence[Case], what: str, folder: Path, description: str | None, example: str) -> None:
    """Measure what the command line asks for.

    Args:
        what: with hyphens; begins the name of the result file.
        folder: of the models, and of what they are made from, unless told otherwise.
        example: of a regular expression of rows.
    """
    parser = options_parser(description, example)
    parser.add_argument(
        "--fresh", action="store_true", help="write the models again, and measure again what the file has"
    )
    parser.add_argument("--folder", type=Path, default=folder, help="of wheels and models")
    options = parser.parse_args()
    run, folder, fresh = Run.of(options, what), options.folder, options.fresh
    for case in cases:
        if fresh and run.wants(case.name):
            case.path(folder).unlink(missing_ok=True)
    measurements = {case.name: partial(measure, case, folder) for case in cases}
    printed = partial(print_result, what.replace("-", " "), cases)
    measure_rows(run, Result[CaseRow], measurements, printed, fresh=fresh, width=140)
