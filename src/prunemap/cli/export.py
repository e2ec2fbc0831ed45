"""prunemap export"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from prunemap.cli.options import Cc, Json, NoTune, PlanFile, Shapes, parse_shapes, read_plan, show


def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="An ONNX or .pt2 file, or what `prunemap compile` made of one.",
            metavar="MODEL.onnx|.pt2|.pmap",
            show_default=False,
        ),
    ],
    form: Annotated[str, typer.Option("--format", help="c, exe or web.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder (c, web) or file (exe) to write.", show_default=False)
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help="As of `compile`; default: native, of web wasm32-simd.", show_default=False),
    ] = None,
    plan: PlanFile = None,
    shape: Shapes = None,
    cc: Cc = None,
    no_tune: NoTune = False,
    web_threads: Annotated[
        bool, typer.Option("--web-threads", help="web: add modules that run with several threads.")
    ] = False,
    json: Json = False,
) -> None:
    """Export a network to take it elsewhere.

    c: a folder of C source, weights, CMakeLists.txt and an example, with no dependency but libc and pthread. exe: one
    static program with the weights inside, which checks itself against a stored reference and times every layer. web:
    a WebAssembly module with a typed ES module around it. See docs/mobile.md.
    """
    from prunemap.compiler import Tuning
    from prunemap.report.text import size
    from prunemap.sources import export_compiled

    result = export_compiled(
        model,
        output,
        form,
        target=target,
        plan=read_plan(plan),
        shapes=parse_shapes(shape),
        cc=cc,
        tune=None if no_tune else Tuning(),
        web_threads=web_threads,
    )
    sizes = f"{size(result.size_bytes)}, of which weights {size(result.weight_bytes)}"
    text = f"{form} for {result.target} → {result.path}: {sizes}"
    checked = f"\nreference: {result.reference}" if result.reference else ""
    show(result, Text(text + checked), as_json=json)
