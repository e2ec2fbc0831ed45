"""WebAssembly, one thread, in Node and Chromium: our modules, dense and pruned, beside onnxruntime-web, dense.

Random weights, pruned by magnitude. The three take turns, one run each. Needs Node 20 or later (relaxed SIMD), Chromium
and onnxruntime-web (wasm backend, SIMD): `npm install --prefix runs/web onnxruntime-web`. Rows that the result file has
are not measured again.

    .venv/bin/python benchmarks/web.py [--quick] [--only REGEX]
"""

from __future__ import annotations

import json
import subprocess
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser
from zoo import dense_model, macs_run, sparse_model

from prunemap.benchmarking import TOLERANCE
from prunemap.core.value import now
from prunemap.devices import CHROMIUM, NODE
from prunemap.devices.browser import run_page
from prunemap.report.text import milliseconds, new_table
from prunemap.sources import export_compiled

WORK = Path("runs") / "web"
ROUNDS_FOLDER = Path(__file__).with_name("web_rounds")
SPARSITIES = {"resnet50": "punched:8x4", "mobilenetv2": "block:8x4"}
DENSITIES = (0.1, 0.2)
VARIANTS = ("simd", "relaxed-simd")
NODE_FLAGS = ("--experimental-wasm-relaxed-simd",)
"""Of Node 20; Chromium has it since 114."""
ENGINES = (NODE, CHROMIUM)
ROUNDS, QUICK_ROUNDS = 100, 5
WARM_UP = 10
"""Rounds: engines compile a function again while it runs."""
LIMIT_S = 1800.0


class WebRow(Row):
    """In ms."""

    engine: str
    variant: str
    onnxruntime_ms: float
    dense_ms: float
    pruned_ms: float
    spread_ms: dict[str, tuple[float, float]]
    """Of each, p10 and p90."""
    dense_ratio: float
    """ours dense / onnxruntime-web, median over the rounds."""
    pruned_faster: float
    """onnxruntime-web dense / ours pruned, median over the rounds."""
    macs_run: float
    """Share of the kept multiply-adds that the pruned module runs."""
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


def page_of(dense: Path, pruned: Path) -> Path:
    """Return a folder with all that the rounds need, as links."""
    folder = WORK / f"{pruned.stem}.page"
    folder.mkdir(exist_ok=True)
    files = {"dense.onnx": dense, "dense": exported(dense), "pruned": exported(pruned)}
    files |= {name: ROUNDS_FOLDER / name for name in ("rounds.js", "browser.html")}
    files["onnxruntime-web"] = WORK / "node_modules" / "onnxruntime-web"
    for name, file in files.items():
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    return folder.resolve()


def run_rounds(engine: str, page: Path, *words: object) -> str:
    """Return what the rounds say."""
    told = [*map(str, words)]
    if engine == NODE:
        command = ["node", *NODE_FLAGS, str(ROUNDS_FOLDER / "node.mjs"), str(page), *told]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    code, out, error = run_page(page, told, LIMIT_S)
    if code:
        raise SystemExit(error)
    return out


def measure(network: str, density: float, engine: str, variant: str, name: str, run: Run) -> WebRow:
    dense, rounds = dense_model(network), QUICK_ROUNDS if run.quick else ROUNDS
    pruned = sparse_model(network, f"{SPARSITIES[network]}@{density}")
    found = json.loads(run_rounds(engine, page_of(dense, pruned), rounds, WARM_UP, variant))
    error = max(found["errors"])
    if found["variant"] != variant or not error <= TOLERANCE:
        raise SystemExit(f"{name}: ran {found['variant']}, wrong by {error:.2g}")
    ms = {key: np.array(values) for key, values in found["ms"].items()}
    return WebRow(
        name=name,
        engine=engine,
        variant=variant,
        **{f"{key}_ms": float(np.median(values)) for key, values in ms.items()},
        spread_ms={
            key: (float(np.quantile(values, 0.1)), float(np.quantile(values, 0.9))) for key, values in ms.items()
        },
        dense_ratio=float(np.median(ms["dense"] / ms["onnxruntime"])),
        pruned_faster=float(np.median(ms["onnxruntime"] / ms["pruned"])),
        macs_run=macs_run(pruned),
        max_relative_error=error,
        rounds=rounds,
        versions={engine: found["engine"], "onnxruntime-web": found["ort"]},
        command=run.command,
        date=now(),
    )


def print_result(result: Result[WebRow], console: Console) -> None:
    table = new_table("WebAssembly", "network", "onnxruntime-web", "dense", "pruned", "dense ratio", "faster")
    for row in result.rows:
        times = map(milliseconds, (row.onnxruntime_ms, row.dense_ms, row.pruned_ms))
        table.add_row(row.name, *times, f"{row.dense_ratio:.2f}", f"{row.pruned_faster:.1f}x")
    console.print(table)


def main() -> None:
    run = Run.of(options_parser(__doc__, "resnet50.*simd").parse_args(), "web")
    if run.threads != 1:
        raise SystemExit("--threads: the modules have one thread")
    subjects = product(SPARSITIES.items(), DENSITIES, ENGINES, VARIANTS)
    names = {
        f"{network} {scheme}@{density} {engine} {variant}": (network, density, engine, variant)
        for (network, scheme), density, engine, variant in subjects
    }
    rows = {name: partial(measure, *of, name) for name, of in names.items()}
    measure_rows(run, Result[WebRow], rows, print_result)


if __name__ == "__main__":
    main()
