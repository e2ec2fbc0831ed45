"""prunemap inspect"""

from __future__ import annotations

from prunemap.cli.options import Json, Model, Shapes, parse_shapes, show


def inspect(model: Model, shape: Shapes = None, json: Json = False) -> None:
    """Show the layers of a model, the structure of their zeros, and every node that cannot be compiled yet."""
    from prunemap.compiler import inspect_model
    from prunemap.report import inspection_tables

    inspection = inspect_model(model, parse_shapes(shape))
    show(inspection, *inspection_tables(inspection), as_json=json)
