"""prunemap inspect"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prunemap.cli.options import Json, Shapes, parse_shapes, show
from prunemap.errors import UserError


def inspect(
    model: Annotated[
        Path, typer.Argument(help="A model or a compiled network.", metavar="MODEL.onnx|.pt2|.pmap", show_default=False)
    ],
    shape: Shapes = None,
    json: Json = False,
) -> None:
    """Show the layers of a model, the structure of their zeros, and every node that cannot be compiled yet.

    Of a compiled network: what runs every layer, and where it was cut if nodes are left to another engine. Nothing in
    it is executed.
    """
    from prunemap.report import compiled_tables, inspection_tables
    from prunemap.runtime import read_program
    from prunemap.sources import inspect as inspect_source

    if model.suffix == ".pmap":
        if shape:
            raise UserError(f"--shape: got {shape[0]}, but the sizes of a compiled network are fixed")
        manifest = read_program(model).manifest
        show(manifest, *compiled_tables(manifest, model), as_json=json)
        return
    inspection = inspect_source(model, shapes=parse_shapes(shape))
    show(inspection, *inspection_tables(inspection), as_json=json)
