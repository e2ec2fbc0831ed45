"""WebAssembly in Node, one thread: our modules, dense and pruned, beside onnxruntime-web on the dense network.

Random weights, pruned by magnitude. The three take turns, one run each. onnxruntime-web (wasm backend, SIMD) comes from
`npm install --prefix runs/web onnxruntime-web`. Rows that the result file has are not measured again. Browsers are
not measured.

    .venv/bin/python benchmarks/web.py [--quick] [--only REGEX]
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rows import Result, Row, Run, measure_rows, now, options_parser
from zoo import dense_model, sparse_model

from prunemap.benchmarking import TOLERANCE
from prunemap.report.text import milliseconds, new_table
from prunemap.sources import export_compiled

WORK = Path("runs") / "web"
SCRIPT = Path(__file__).with_name("web_node.mjs")
SPARSITIES = {"resnet50": "punched:8x4", "mobilenetv2": "block:8x4"}
DENSITIES = (0.1, 0.2)
FLAGS = {"simd": (), "relaxed-simd": ("--experimental-wasm-relaxed-simd",)}
"""Of Node 20."""
ROUNDS, QUICK_ROUNDS = 100, 5


class WebRow(Row):
    """Medians in ms."""

    variant: str
    onnxruntime_ms: float
    dense_ms: float
    pruned_ms: float
    dense_ratio: float
    """ours dense / onnxruntime-web."""
    pruned_faster: float
    """onnxruntime-web dense / ours pruned."""
    max_relative_error: float
    """Of ours dense against onnxruntime-web, and of both against their stored references."""
    rounds: int
    versions: dict[str, str]


def exported(model: Path) -> Path:
    """Return the folder of the modules, written if it is not there."""
    folder = WORK / model.stem
    if not folder.exists():
        export_compiled(model, folder, "web")
    return folder.resolve()


def measure(network: str, density: float, variant: str, name: str, run: Run) -> WebRow:
    dense, rounds = dense_model(network), QUICK_ROUNDS if run.quick else ROUNDS
    pruned = sparse_model(network, f"{SPARSITIES[network]}@{density}")
    arguments = [WORK.resolve(), dense.resolve(), exported(dense), exported(pruned), rounds]
    command = ["node", *FLAGS[variant], str(SCRIPT), *map(str, arguments)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    error = max(found["error"], *found["checks"].values())
    if found["variant"] != variant or not error <= TOLERANCE:
        raise SystemExit(f"{name}: ran {found['variant']}, wrong by {error:.2g}")
    ms = {engine: float(np.median(values)) for engine, values in found["ms"].items()}
    return WebRow(
        name=name,
        variant=variant,
        onnxruntime_ms=ms["onnxruntime"],
        dense_ms=ms["dense"],
        pruned_ms=ms["pruned"],
        dense_ratio=ms["dense"] / ms["onnxruntime"],
        pruned_faster=ms["onnxruntime"] / ms["pruned"],
        max_relative_error=error,
        rounds=rounds,
        versions={"node": found["node"], "onnxruntime-web": found["ort"]},
        command=run.command,
        date=now(),
    )


def print_result(result: Result[WebRow], console: Console) -> None:
    table = new_table("WebAssembly in Node", "network", "onnxruntime-web", "dense", "pruned", "dense ratio", "faster")
    for row in result.rows:
        times = map(milliseconds, (row.onnxruntime_ms, row.dense_ms, row.pruned_ms))
        table.add_row(row.name, *times, f"{row.dense_ratio:.2f}", f"{row.pruned_faster:.1f}x")
    console.print(table)


def main() -> None:
    run = Run.of(options_parser(__doc__, "resnet50.*simd").parse_args(), "web")
    if run.threads != 1:
        raise SystemExit("--threads: the modules have one thread")
    names = {
        f"{network} {sparsity}@{density} {variant}": (network, density, variant)
        for network, sparsity in SPARSITIES.items()
        for density in DENSITIES
        for variant in FLAGS
    }
    rows = {name: partial(measure, *of, name) for name, of in names.items()}
    measure_rows(run, Result[WebRow], rows, print_result)


if __name__ == "__main__":
    main()
