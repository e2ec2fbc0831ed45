"""prunemap compile"""

from __future__ import annotations

from typing import Annotated

import typer

from prunemap.cli.options import (
    AnyModel,
    Cc,
    Fallback,
    Json,
    NoTune,
    Output,
    PlanFile,
    Shapes,
    TargetName,
    Threads,
    parse_shapes,
    read_plan,
    show,
)


def compile_(
    model: AnyModel,
    output: Output,
    plan: PlanFile = None,
    target: TargetName = "native",
    shape: Shapes = None,
    cc: Cc = None,
    threads: Threads = 1,
    no_tune: NoTune = False,
    retune: Annotated[bool, typer.Option("--retune", help="Measure again, even if the choices are known.")] = False,
    fallback: Fallback = None,
    json: Json = False,
) -> None:
    """Compile a model, pruned or dense, to a native program (.pmap).

    The structure of each layer is found from its zeros; a plan pins it. The tile that runs each layer is chosen by
    measuring here, for --threads; the choices are kept for the next time. A .pmap holds native code that runs when it
    is loaded: load only files that you trust.

    With --fallback onnxruntime, nodes that cannot be compiled run in ONNX Runtime, which must be installed, and
    everything else in ours; what crosses between the two is listed.
    """
    from prunemap.compiler import Tuning
    from prunemap.core.files import check_writable
    from prunemap.report import compiled_tables
    from prunemap.sources import compile

    check_writable(output)
    tuning = Tuning(threads, again=retune)
    program = compile(
        model,
        plan=read_plan(plan),
        target=target,
        shapes=parse_shapes(shape),
        cc=cc,
        tune=None if no_tune else tuning,
        fallback=fallback,
    )
    program.save(output)
    show(program.manifest, *compiled_tables(program.manifest, output), as_json=json)
