"""The networks that cifar10.py pruned, compiled, beside ONNX Runtime and our own dense program, in one run.

Accuracy comes from the rows of cifar10.py, the loss against the control of the same seed and as many epochs; the
networks from benchmarks/checkpoints or, where they are not there, from runs/cifar10/compact. A network pruned by a plan
in one shot that is in neither is pruned again from its dense one and not retrained: its zeros are the same, and with
them its speed. Each is verified on images before it is timed. A dense network without a checkpoint has random weights.
Rows that the result file has are not measured again.

    .venv/bin/python benchmarks/cifar10_latency.py RESULTS.csv… [--quick] [--only REGEX]
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cifar10 import CHECKPOINTS, EXPORTED, WORK, all_rows, make_plan, plan_file
from cifar10_rows import Pruning
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from torch import nn
from zoo import macs_run

from prunemap.benchmarking import TOLERANCE, BenchResult, bench, open_subject
from prunemap.core.plan import Plan
from prunemap.core.value import now, read_json
from prunemap.pruning import ModelInfo, build_described, export_onnx, load_checkpoint, prune
from prunemap.report.text import milliseconds, new_table, percent, times

ENGINES = ("onnxruntime", "dense")
Line = Mapping[str, str]
"""Of a result file of cifar10.py."""


class LatencyRow(Row):
    """A pruned network. Accuracies are shares, 0 to 1."""

    scheme: str
    epochs: int
    test_accuracy: float
    control_accuracy: float | None
    """Of the control with the same seed and as many epochs."""
    conv_weights_kept: float
    conv_macs_kept: float
    conv1x1_macs_kept: float | None
    macs_run: float
    """Share of the kept multiply-adds that are run; the others feed channels that are constant or that nobody reads."""
    ours_ms: float
    p10_ms: float
    p90_ms: float
    over_onnxruntime: float
    """How many times faster than ONNX Runtime on the dense network."""
    over_dense: float
    """Than our dense program."""
    limit_share: float | None = None
    """What the machine's limits allow for all layers, as a share of what they take."""
    max_relative_error: float
    rounds: int
    versions: dict[str, str]


def read_lines(paths: Iterable[Path]) -> list[Line]:
    """Return the rows of result files of cifar10.py."""
    lines: list[Line] = []
    for path in paths:
        with path.open() as file:
            lines += csv.DictReader(file)
    return lines


def network_of(line: Line) -> str:
    """Return the network of a row: its name is NETWORK-WAY-sSEED."""
    return line["name"].rsplit("-", 2)[0]


def control_of(line: Line, lines: Iterable[Line]) -> float | None:
    """Return the test accuracy of the dense control with the same seed and as many epochs; None = it is not there."""
    for other in lines:
        same = all(other[key] == line[key] for key in ("seed", "epochs")) and network_of(other) == network_of(line)
        if same and other["scheme"] == "dense":
            return float(other["test_accuracy"])
    return None


def checkpoint_of(name: str) -> Path:
    """Return where the checkpoint of a trained network is, or would be."""
    kept = CHECKPOINTS / f"{name}.safetensors"
    return kept if kept.exists() else WORK / "compact" / kept.name


def exported(name: str, pruned: str = "") -> Path:
    """Return the ONNX file of a trained network, written from its checkpoint if it is not there.

    Args:
        pruned: the network that was pruned from it. Where a dense checkpoint is not kept, it has this one's sizes and
            random weights: what it computes is not compared, and its speed does not depend on them.

    Raises:
        UserError: neither folder has the checkpoint.
    """
    path = EXPORTED / f"{name}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        module, info = _load(name, pruned)
        export_onnx(module, torch.zeros(1, *info.input_shape), path)
    return path


def _load(name: str, pruned: str) -> tuple[nn.Module, ModelInfo]:
    if checkpoint_of(name).exists():
        return load_checkpoint(checkpoint_of(name))
    if pruned:
        _, info = load_checkpoint(checkpoint_of(pruned))
        return build_described(info), info
    row = next((row for row in all_rows() if row.name == name), None)
    way = None if row is None else row.way
    if row is None or way is None:
        return load_checkpoint(checkpoint_of(name))  # which says what is missing
    dense = checkpoint_of(row.start.name)
    if plan_file(row).exists():
        plan = read_json(plan_file(row), Plan, "plan")
    elif way.density is None and isinstance(way.pruning, Pruning):
        plan = make_plan(dense, way.pruning)
    else:
        return load_checkpoint(checkpoint_of(name))
    module, info = load_checkpoint(dense)
    prune(module, plan, torch.zeros(1, *info.input_shape))
    return module, info


def measure(line: Line, control: float | None, run: Run) -> LatencyRow:
    """Compile a pruned network, verify it, and time it beside the dense one."""
    model = exported(line["name"])
    dense = exported(f"{network_of(line)}-dense-s{line['seed']}", line["name"])
    subject = replace(open_subject(model, run.threads, tune=not run.quick), dense=dense)
    result = bench(subject, ENGINES, effort=run.effort, per_layer=True)
    ours = next(each for each in result.results if each.engine == "prunemap")
    if result.max_relative_error > TOLERANCE:
        raise SystemExit(f"{line['name']}: wrong by {result.max_relative_error:.2g}")
    return LatencyRow(
        name=line["name"],
        scheme=line["scheme"],
        epochs=int(line["epochs"]),
        test_accuracy=float(line["test_accuracy"]),
        control_accuracy=control,
        conv_weights_kept=float(line["conv_weights_kept"]),
        conv_macs_kept=float(line["conv_macs_kept"]),
        conv1x1_macs_kept=float(line["conv1x1_macs_kept"]) if line["conv1x1_macs_kept"] else None,
        macs_run=macs_run(model),
        ours_ms=ours.median_ms,
        p10_ms=ours.p10_ms,
        p90_ms=ours.p90_ms,
        over_onnxruntime=result.ratios["onnxruntime"],
        over_dense=result.ratios["dense"],
        limit_share=share_of_limits(result),
        max_relative_error=result.max_relative_error,
        rounds=result.rounds,
        versions=result.versions,
        command=run.command,
        date=now(),
    )


def share_of_limits(result: BenchResult) -> float:
    """Return the least time of all layers over the time they take."""
    limited = [(layer.limit_share * layer.median_us, layer.median_us) for layer in result.layers if layer.limit_share]
    least, taken = np.sum(limited, axis=0)
    return float(least / taken)


def print_result(result: Result[LatencyRow], console: Console) -> None:
    headers = ("network", "scheme", "weights", "MACs", "control", "pruned", "loss", "ms", "x ORT", "x dense")
    table = new_table("CIFAR-10 (JPEG copy), pruned", *headers, left=2)
    for row in result.rows:
        loss = None if row.control_accuracy is None else row.control_accuracy - row.test_accuracy
        table.add_row(
            row.name,
            row.scheme,
            *map(percent, (row.conv_weights_kept, row.conv_macs_kept)),
            "" if row.control_accuracy is None else percent(row.control_accuracy),
            percent(row.test_accuracy),
            "" if loss is None else f"{loss * 100:.2f}",
            milliseconds(row.ours_ms),
            *map(times, (row.over_onnxruntime, row.over_dense)),
        )
    console.print(table)


def main() -> None:
    parser = options_parser(__doc__, "resnet20-distilled")
    parser.add_argument("results", type=Path, nargs="+", help="result files of cifar10.py")
    options = parser.parse_args()
    lines = read_lines(options.results)
    pruned = [line for line in lines if line["scheme"] != "dense"]
    measurements = {line["name"]: partial(measure, line, control_of(line, lines)) for line in pruned}
    measure_rows(Run.of(options, "cifar10-latency"), Result[LatencyRow], measurements, print_result)


if __name__ == "__main__":
    main()
