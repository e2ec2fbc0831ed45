"""Which elements of a tensor do not depend on the network's inputs, and what they are: outlines with NaN elsewhere.

Pruned filters make such channels. Like everywhere in the compiler, what is multiplied by zero is taken for finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prunemap.compiler.graph.expression import evaluate, kind_of
from prunemap.compiler.graph.ir import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Constant,
    Conv,
    Elementwise,
    Expression,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Join,
    Linear,
    MaxPool,
    Node,
    Range,
    Remap,
    Reshape,
    RowOp,
    Shape,
)
from prunemap.compiler.graph.outlines import Outline, joined, moved, of_axis, reshaped, uniform

SAME_ALL_OVER = frozenset({"mean", "max", "min"})
"""Functions of rows that of equal values give that value."""


def nothing_known(shape: Shape) -> Outline:
    """Return the outline of a tensor of which nothing is known."""
    return uniform(shape, np.float32(np.nan))


def known_values(graph: Graph, node: Node, inputs: Sequence[Outline]) -> Outline:
    """Return what is known of a node's result.

    Args:
        inputs: what is known of its inputs.
    """
    rule = _RULES.get(type(node.op))
    shapes = [graph.shapes[name] for name in node.inputs]
    shape = graph.shapes[node.output]
    kinds = [graph.kinds[name] for name in (*node.inputs, node.output)]
    if rule is None or any(kind != "f32" for kind in kinds):
        return nothing_known(shape)
    return np.asarray(rule(node.op, shape, shapes, *inputs), np.float32)


def channel_values(known: Outline, shape: Shape) -> Outline:
    """Return per channel (axis 1) of a tensor the value that it has all over, NaN where it has none; (C,)."""
    values = np.moveaxis(_same_along(known, [axis for axis in range(known.ndim) if axis != 1]), 1, 0).reshape(-1)
    return np.broadcast_to(values, shape[1:2])


def _same_along(known: Outline, axes: Sequence[int]) -> Outline:
    """Return it with size 1 along the axes: the value where it is the same all along them, else NaN."""
    low, high = known.min(tuple(axes), keepdims=True), known.max(tuple(axes), keepdims=True)
    return np.where(low == high, low, np.nan)


def _clamped(known: Outline, clamp: Range) -> Outline:
    return np.clip(known, clamp.low, clamp.high)


def _layer(op: Conv | Linear, shape: Shape, shapes: Sequence[Shape], *known: Outline) -> Outline:
    constant = ~op.weight.reshape(len(op.weight), -1).any(1)
    values = of_axis(np.where(constant, op.bias, np.nan), len(shape))
    return _clamped(values + known[1] if len(known) > 1 else values, op.clamp)


def _max_pool(op: MaxPool, shape: Shape, shapes: Sequence[Shape], x: Outline) -> Outline:
    return _same_along(x, (2, 3))


def _average_pool(op: AveragePool, shape: Shape, shapes: Sequence[Shape], x: Outline) -> Outline:
    same = _same_along(x, (2, 3))
    return np.where(same == 0, same, np.nan) if op.count_pads and any(op.pads) else same


def _global_pool(op: GlobalAveragePool, shape: Shape, shapes: Sequence[Shape], x: Outline) -> Outline:
    same = _same_along(x, (2, 3))
    return same[:, :, 0, 0] if op.flat else same


def _elementwise(op: Elementwise, shape: Shape, shapes: Sequence[Shape], *known: Outline) -> Outline:
    with np.errstate(all="ignore"):
        values = _value(op.expression, [np.asarray(each, np.float32) for each in known])
    return values.reshape((1,) * (len(shape) - values.ndim) + values.shape)


def _value(expression: Expression, operands: Sequence[Outline]) -> Outline:
    """Evaluate an expression; a product with zero is zero, whatever the other factor."""
    if not isinstance(expression, tuple):
        return evaluate(expression, operands)
    name, *arguments = expression
    values = [_value(each, operands) for each in arguments]
    if kind_of((name, *range(len(values))), ["f32"] * len(values)) != "f32":
        return np.full(np.broadcast_shapes(*(value.shape for value in values)), np.nan, np.float32)
    result = evaluate((name, *range(len(values))), values)
    missing = np.logical_or.reduce(np.broadcast_arrays(*map(np.isnan, values)))
    if name == "mul":
        missing = missing & (values[0] != 0) & (values[1] != 0)
        result = np.where((values[0] == 0) | (values[1] == 0), np.float32(0), result)
    return np.where(missing, np.float32(np.nan), result)


def _row_op(op: RowOp, shape: Shape, shapes: Sequence[Shape], x: Outline) -> Outline:
    if op.function not in SAME_ALL_OVER or op.parameters:
        return nothing_known(shape)
    return _same_along(x, op.axes)


_RULES: dict[type[Any], Callable[..., Outline]] = {
    Conv: _layer,
    Linear: _layer,
    Affine: lambda op, y, xs, x: x * of_axis(op.scale, len(y)) + of_axis(op.shift, len(y)),
    Clamp: lambda op, y, xs, x: _clamped(x, op.range),
    Add: lambda op, y, xs, a, b: _clamped(a + b, op.clamp),
    Concat: lambda op, y, xs, *known: joined(known, xs, 1),
    MaxPool: _max_pool,
    AveragePool: _average_pool,
    GlobalAveragePool: _global_pool,
    Flatten: lambda op, y, xs, x: reshaped(x, xs[0], y),
    Identity: lambda op, y, xs, x: x,
    Constant: lambda op, y, xs: op.value,
    Elementwise: _elementwise,
    Remap: lambda op, y, xs, x: moved(op, x, xs[0]),
    Reshape: lambda op, y, xs, x: reshaped(x, xs[0], y),
    Join: lambda op, y, xs, *known: joined(known, xs, op.axis),
    RowOp: _row_op,
}
"""Of an op, its shape, those of its inputs, and what is known of them; nothing is known of the others' results."""
