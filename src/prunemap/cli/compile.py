"""prunemap compile"""

from __future__ import annotations

from prunemap.cli.options import Cc, Json, Model, Output, PlanFile, Shapes, TargetName, parse_shapes, read_plan, show


def compile_(
    model: Model,
    output: Output,
    plan: PlanFile = None,
    target: TargetName = "native",
    shape: Shapes = None,
    cc: Cc = None,
    json: Json = False,
) -> None:
    """Compile a model, pruned or dense, to a native program (.pmap).

    The structure of each layer is found from its zeros; a plan pins it. A .pmap holds native code that runs when it
    is loaded: load only files that you trust.
    """
    from prunemap.compiler import compile_model
    from prunemap.report import compiled_tables

    program = compile_model(model, plan=read_plan(plan), target=target, shapes=parse_shapes(shape), cc=cc)
    program.save(output)
    show(program.manifest, *compiled_tables(program.manifest, output), as_json=json)
