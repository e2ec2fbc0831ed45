"""Shapes and element kinds of the results of the general ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from prunemap.compiler.graph.expression import DTYPES, kind_of
from prunemap.compiler.graph.ir import (
    Constant,
    Elementwise,
    Gather,
    GatherElements,
    GatherND,
    Interpolate,
    Join,
    Kind,
    MatMul,
    Op,
    Recurrent,
    Remap,
    Reshape,
    RowOp,
    ScatterElements,
    ScatterND,
    Shape,
    WindowPool,
)
from prunemap.compiler.graph.row_functions import ROW_FUNCTIONS
from prunemap.core.layer import sliding_sizes


def _matmul(op: MatMul, a: Shape, b: Shape) -> Shape:
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _join(op: Join, *xs: Shape) -> Shape:
    return (*xs[0][: op.axis], sum(x[op.axis] for x in xs), *xs[0][op.axis + 1 :])


def _row_op(op: RowOp, x: Shape) -> Shape:
    n = prod(x[axis] for axis in op.axes)
    function = ROW_FUNCTIONS[op.function]
    if function.length == "same":
        return x
    reduced = dict.fromkeys(op.axes, 1) | {op.axes[-1]: function.length_of(n, op.parameters)} if op.axes else {}
    return tuple(reduced.get(axis, size) for axis, size in enumerate(x))


def _gather_nd(op: GatherND, x: Shape, indices: Shape) -> Shape:
    return (*indices[:-1], *x[op.batch_dims + indices[-1] :])


def _window_pool(op: WindowPool, x: Shape) -> Shape:
    return (*x[:2], *sliding_sizes(x[2:], op.kernel, op.stride, op.pads, op.dilation))


def _interpolate(op: Interpolate, x: Shape) -> Shape:
    return (*x[: op.axis], op.places.shape[1], *x[op.axis + 1 :])


GENERAL_SHAPES: dict[type[Any], Callable[..., Shape]] = {
    Constant: lambda op: op.value.shape,
    Elementwise: lambda op, *xs: np.broadcast_shapes(*xs),
    Remap: lambda op, x: tuple(len(table) for table in op.tables),
    Reshape: lambda op, x: op.shape,
    Join: _join,
    RowOp: _row_op,
    MatMul: _matmul,
    Gather: lambda op, x, i: (*x[: op.axis], *i, *x[op.axis + 1 :]),
    GatherElements: lambda op, x, i: i,
    GatherND: _gather_nd,
    ScatterND: lambda op, x, i, u: x,
    ScatterElements: lambda op, x, i, u: x,
    WindowPool: _window_pool,
    Interpolate: _interpolate,
    Recurrent: lambda op, x, *_: (*x[:2], op.weight.shape[1] * (2 if op.kind == "lstm" else 1)),
}
GENERAL_OPS = tuple(GENERAL_SHAPES)


def output_kind(op: Op, inputs: Sequence[Kind]) -> Kind:
    """Return what the elements of an op's result are."""
    if isinstance(op, Constant):
        return next(kind for kind, dtype in DTYPES.items() if op.value.dtype == dtype)
    if isinstance(op, Elementwise):
        return kind_of(op.expression, inputs)
    if isinstance(op, RowOp):
        return ROW_FUNCTIONS[op.function].result or inputs[0]
    if isinstance(op, WindowPool) and op.kind == "max_index":
        return "i32"
    return inputs[0] if inputs else "f32"
