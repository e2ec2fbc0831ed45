"""Which shapes the inputs of a general op must have: kernels read and write by them without looking again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from prunemap.compiler.graph.ir import (
    Elementwise,
    Gather,
    GatherElements,
    GatherND,
    Interpolate,
    Join,
    MatMul,
    Recurrent,
    Remap,
    Reshape,
    RowOp,
    ScatterElements,
    ScatterND,
    Shape,
    WindowPool,
)


def _broadcast(shapes: Sequence[Shape]) -> bool:
    """Whether shapes fit each other as in NumPy."""
    rank = max(map(len, shapes), default=0)
    axes = zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True)
    return all(len({*sizes} - {1}) <= 1 for sizes in axes)


def _remap(op: Remap, x: Shape) -> bool:
    if sorted(op.axes) != list(range(len(x))) or len(op.tables) != len(x):
        return False
    return all(
        not len(table) or -1 <= table.min() <= table.max() < x[axis]
        for axis, table in zip(op.axes, op.tables, strict=True)
    )


def _matmul(op: MatMul, a: Shape, b: Shape) -> bool:
    return min(len(a), len(b)) >= 2 and a[-1] == b[-2] and _broadcast([a[:-2], b[:-2]])


def _join(op: Join, *xs: Shape) -> bool:
    return op.axis < len(xs[0]) and len({(len(x), *x[: op.axis], *x[op.axis + 1 :]) for x in xs}) == 1


def _along(axis: int, x: Shape, indices: Shape) -> bool:
    """Whether indices along an axis of x have no more places than x on the others."""
    if len(x) != len(indices) or axis >= len(x):
        return False
    return all(i <= n for at, (n, i) in enumerate(zip(x, indices, strict=True)) if at != axis)


def _gather_nd(op: GatherND, x: Shape, indices: Shape) -> bool:
    batch = op.batch_dims
    if not 0 <= batch < min(len(x), len(indices)) or x[:batch] != indices[:batch]:
        return False
    return 1 <= indices[-1] <= len(x) - batch


def _scatter_nd(op: ScatterND, x: Shape, indices: Shape, updates: Shape) -> bool:
    return bool(indices) and 1 <= indices[-1] <= len(x) and updates == (*indices[:-1], *x[indices[-1] :])


def _window_pool(op: WindowPool, x: Shape) -> bool:
    count = len(x) - 2
    lengths = {len(op.kernel), len(op.stride), len(op.dilation), len(op.pads) / 2, len(op.count_pads or op.pads) / 2}
    return count in (1, 2, 3) and lengths == {count} and min(*op.kernel, *op.stride, *op.dilation) >= 1


def _interpolate(op: Interpolate, x: Shape) -> bool:
    places = op.places
    return op.axis < len(x) and places.shape == op.weights.shape and 0 <= places.min() <= places.max() < x[op.axis]


def _recurrent(op: Recurrent, x: Shape, *states: Shape) -> bool:
    rows, hidden = op.weight.shape
    gates, count = (4, 2) if op.kind == "lstm" else (3, 1)
    if len(x) != 3 or len(states) != count or rows != gates * hidden or x[2] != rows or op.bias.shape != (rows,):
        return False
    if op.peepholes is not None and op.peepholes.shape != (3 * hidden,):
        return False
    return all(state == (x[1], hidden) for state in states)


_FITS: Mapping[type[Any], Callable[..., bool]] = {
    Elementwise: lambda op, *xs: _broadcast(xs),
    Remap: _remap,
    Reshape: lambda op, x: prod(op.shape) == prod(x),
    Join: _join,
    RowOp: lambda op, x: all(0 <= axis < len(x) for axis in op.axes),
    MatMul: _matmul,
    Gather: lambda op, x, i: 0 <= op.axis < len(x),
    GatherElements: lambda op, x, i: _along(op.axis, x, i),
    GatherND: _gather_nd,
    ScatterND: _scatter_nd,
    ScatterElements: lambda op, x, i, u: i == u and _along(op.axis, x, i),
    WindowPool: _window_pool,
    Interpolate: _interpolate,
    Recurrent: _recurrent,
}


def general_misfit(op: Any, inputs: Sequence[Shape]) -> str | None:
    """Return why a general op cannot have inputs of these shapes, None if it can."""
    if type(op) not in _FITS or _FITS[type(op)](op, *inputs):
        return None
    return f"{type(op).__name__} does not fit inputs of {' and '.join(str(list(shape)) for shape in inputs)}"
