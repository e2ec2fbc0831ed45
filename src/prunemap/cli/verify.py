"""prunemap verify"""

from __future__ import annotations

from typing import Annotated

import typer

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.inputs import load_inputs
from prunemap.cli.options import AnyModel, Artifact, Given, Json, Seed, Threads, show


def verify(
    artifact: Artifact,
    model: AnyModel,
    tolerance: Annotated[float, typer.Option("--tolerance", help="Largest allowed relative error.")] = 1e-4,
    inputs: Given = None,
    seed: Seed = 0,
    threads: Threads = 1,
    json: Json = False,
) -> None:
    """Check a compiled network against its ONNX model; exit code 1 if an output is off.

    The error of an output is its largest difference from ONNX Runtime (else the reference evaluator of ONNX), divided
    by the output's largest magnitude. Loading a .pmap
    executes the code in it: verify only files that you trust.
    """
    from prunemap.report import verify_table
    from prunemap.runtime import load
    from prunemap.sources import verify as verify_program

    with load(artifact, threads) as engine:
        batches = None if inputs is None else [load_inputs(inputs, engine.inputs)]
        result = verify_program(engine, model, batches, tolerance, seed)
    show(result, verify_table(result), as_json=json)
    if not result.passed:
        raise typer.Exit(EXIT_FAILED_CHECK)
