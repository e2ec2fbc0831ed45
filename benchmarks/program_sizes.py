"""How large a static program is: what it has beside its weights, for networks in benchmarks/checkpoints.

Tiles are those of the model, not measured ones, so that sizes are the same wherever this runs.

    .venv/bin/python benchmarks/program_sizes.py [--only REGEX]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser

from prunemap.core.value import now
from prunemap.pruning import export_onnx, load_checkpoint
from prunemap.report.text import new_table
from prunemap.sources import export_compiled

CHECKPOINTS = Path(__file__).parent / "checkpoints"
NETWORKS = ("resnet20-pruned-s0", "vgg16-half-pruned-s0", "mobilenetv2-pruned-s0")
TARGETS = ("aarch64", "x86-64-v3")


class SizeRow(Row):
    """One program, in bytes."""

    size: int
    weights: int


def measure(network: str, target: str, run: Run) -> SizeRow:
    """Export a network and weigh it."""
    module, info = load_checkpoint(CHECKPOINTS / f"{network}.safetensors")
    with TemporaryDirectory(prefix="prunemap-") as folder:
        model = Path(folder) / "m.onnx"
        export_onnx(module, torch.zeros(1, *info.input_shape), model)
        made = export_compiled(model, Path(folder) / "program", "exe", target=target, tune=None)
    return SizeRow(
        name=f"{network} {target}",
        size=made.size_bytes,
        weights=made.weight_bytes,
        command=run.command,
        date=now(),
    )


def print_result(result: Result[SizeRow], console: Console) -> None:
    table = new_table("static programs, stripped, kB", "network, target", "program", "of which weights", "the rest")
    for row in result.rows:
        cells = (row.size, row.weights, row.size - row.weights)
        table.add_row(row.name, *(f"{each / 1e3:,.0f}" for each in cells))
    console.print(table)


def main() -> None:
    run = Run.of(options_parser(__doc__, "aarch64").parse_args(), "program-sizes")
    rows = {f"{network} {target}": partial(measure, network, target) for network in NETWORKS for target in TARGETS}
    measure_rows(run, Result[SizeRow], rows, print_result)


if __name__ == "__main__":
    main()
