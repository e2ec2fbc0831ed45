"""The meaning of the general ops in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

import numpy as np

from prunemap.compiler.graph.expression import evaluate
from prunemap.compiler.graph.ir import (
    AnyArray,
    Constant,
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
    WindowPool,
)
from prunemap.compiler.graph.row_functions import ROW_FUNCTIONS
from prunemap.core.layer import sliding_sizes


def _elementwise(op: Elementwise, *xs: AnyArray) -> AnyArray:
    return np.broadcast_to(evaluate(op.expression, xs), np.broadcast_shapes(*(x.shape for x in xs)))


def _remap(op: Remap, x: AnyArray) -> AnyArray:
    y = x.transpose(op.axes)
    for axis, table in enumerate(op.tables):
        outside = (table < 0).reshape(-1, *(1,) * (y.ndim - axis - 1))
        taken = (
            np.take(y, np.maximum(table, 0), axis)
            if y.shape[axis]
            else np.zeros((*y.shape[:axis], len(table), *y.shape[axis + 1 :]), y.dtype)
        )
        y = np.where(outside, np.asarray(op.fill, y.dtype), taken)
    return y


def _row_op(op: RowOp, x: AnyArray) -> AnyArray:
    function = ROW_FUNCTIONS[op.function]
    others = [axis for axis in range(x.ndim) if axis not in op.axes]
    order = (*others, *op.axes)
    moved = x.transpose(order)
    rows = moved.reshape(prod(x.shape[axis] for axis in others), -1)
    y = function.meaning(rows, *op.parameters)
    sizes = [x.shape[axis] for axis in op.axes]
    if function.length != "same":
        sizes = [1] * (len(op.axes) - 1) + [y.shape[-1]] if op.axes else []
    y = y.reshape([*(x.shape[axis] for axis in others), *sizes])
    return y.transpose(np.argsort(order))


def _gather_elements(op: GatherElements, x: AnyArray, indices: AnyArray) -> AnyArray:
    read = tuple(slice(None if axis == op.axis else size) for axis, size in enumerate(indices.shape))
    return np.take_along_axis(x[read], np.where(indices < 0, indices + x.shape[op.axis], indices), op.axis)


def _gather_nd(op: GatherND, x: AnyArray, indices: AnyArray) -> AnyArray:
    batch = x.shape[: op.batch_dims]
    xs, places = x.reshape(-1, *x.shape[op.batch_dims :]), indices.reshape(prod(batch), -1, indices.shape[-1])
    found = [each[tuple(np.moveaxis(place, -1, 0))] for each, place in zip(xs, places, strict=True)]
    return np.stack(found).reshape(*indices.shape[:-1], *x.shape[op.batch_dims + indices.shape[-1] :])


_COMBINE: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
    "none": lambda old, new: new,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _scatter_nd(op: ScatterND, x: AnyArray, indices: AnyArray, updates: AnyArray) -> AnyArray:
    y = x.copy()
    for place in np.ndindex(*indices.shape[:-1]):
        at = tuple(indices[place])
        y[at] = _COMBINE[op.reduction](y[at], updates[place])
    return y


def _scatter_elements(op: ScatterElements, x: AnyArray, indices: AnyArray, updates: AnyArray) -> AnyArray:
    y = x.copy()
    for place in np.ndindex(*indices.shape):
        at = (*place[: op.axis], indices[place], *place[op.axis + 1 :])
        y[at] = _COMBINE[op.reduction](y[at], updates[place])
    return y


def _window_pool(op: WindowPool, x: AnyArray) -> AnyArray:
    count, size = len(op.kernel), x.shape[2:]
    out = sliding_sizes(size, op.kernel, op.stride, op.pads, op.dilation)
    y = np.empty((*x.shape[:2], *out), np.int32 if op.kind == "max_index" else np.float32)
    order = np.arange(x.size).reshape(x.shape)
    if op.column_major:
        order = np.arange(x.size).reshape(*x.shape[:2], *size[::-1]).transpose(0, 1, *range(count + 1, 1, -1))
    flat, numbers = x.reshape(-1, *size), order.reshape(-1, *size)
    for place in product(*map(range, out)):
        starts = [o * s - p for o, s, p in zip(place, op.stride, op.pads, strict=False)]
        reached = (range(b, b + k * d, d) for b, k, d in zip(starts, op.kernel, op.dilation, strict=True))
        inside = np.ix_(
            np.arange(len(flat)),
            *(np.array([at for at in each if 0 <= at < n], np.int64) for each, n in zip(reached, size, strict=True)),
        )
        window, places = (array[inside].reshape(*x.shape[:2], -1) for array in (flat, numbers))
        at: tuple[Any, ...] = (slice(None), slice(None), *place)
        y[at] = _pooled(op, window, places, _divisor(op, starts, size), order.reshape(*x.shape[:2], -1)[..., 0])
    return y


def _divisor(op: WindowPool, starts: list[int], size: tuple[int, ...]) -> int:
    """How many values an average is over."""
    count = len(size)
    pads = op.count_pads or (0,) * (2 * count)
    counted = 1
    for i, start in enumerate(starts):
        taken = range(start, start + op.kernel[i] * op.dilation[i], op.dilation[i])
        counted *= sum(-pads[i] <= at < size[i] + pads[i + count] for at in taken)
    return counted


def _pooled(op: WindowPool, window: AnyArray, places: AnyArray, divisor: int, first: AnyArray) -> AnyArray:
    """Return the value of one window of every plane; first: the first place of every plane."""
    pooled: AnyArray
    if op.kind == "max":
        pooled = window.max(-1, initial=-np.inf)
    elif op.kind == "max_index":
        pooled = np.take_along_axis(places, window.argmax(-1)[..., None], -1)[..., 0] if window.size else first
    elif op.kind == "lp":
        pooled = (np.abs(window) ** op.p).sum(-1) ** (1 / op.p)
    else:
        pooled = window.sum(-1) / np.float32(divisor)
    return pooled


def _interpolate(op: Interpolate, x: AnyArray) -> AnyArray:
    y = np.zeros((*x.shape[: op.axis], op.places.shape[1], *x.shape[op.axis + 1 :]), np.float32)
    for places, weights in zip(op.places, op.weights, strict=True):
        y += np.take(x, places, op.axis) * weights.reshape(-1, *(1,) * (x.ndim - op.axis - 1))
    return y


def _sigmoid(x: AnyArray) -> AnyArray:
    result: AnyArray = 1 / (1 + np.exp(-x))
    return result


def _recurrent(op: Recurrent, x: AnyArray, h: AnyArray, c: AnyArray | None = None) -> AnyArray:
    steps = range(len(x))[::-1] if op.reverse else range(len(x))
    found: dict[int, AnyArray] = {}
    for t in steps:
        if c is None:
            found[t] = h = _gru_step(op, x[t], h)
        else:
            h, c = _lstm_step(op, x[t], h, c)
            found[t] = np.concatenate([h, c], -1)
    return np.stack([found[t] for t in range(len(x))]).astype(np.float32)


def _lstm_step(op: Recurrent, x: AnyArray, h: AnyArray, c: AnyArray) -> tuple[AnyArray, AnyArray]:
    i, o, f, new = np.split(x + h @ op.weight.T + op.bias, 4, -1)
    zeros = np.zeros(3 * c.shape[-1], np.float32)
    of_i, of_o, of_f = np.split(zeros if op.peepholes is None else op.peepholes, 3)
    c = _sigmoid(f + of_f * c) * c + _sigmoid(i + of_i * c) * np.tanh(new)
    return _sigmoid(o + of_o * c) * np.tanh(c), c


def _gru_step(op: Recurrent, x: AnyArray, h: AnyArray) -> AnyArray:
    n = 2 * h.shape[-1]
    product = h @ op.weight.T + op.bias
    z, r = np.split(_sigmoid(x[..., :n] + product[..., :n]), 2, -1)
    after = r * product[..., n:] if op.reset_after else (r * h) @ op.weight[n:].T + op.bias[n:]
    result: AnyArray = (1 - z) * np.tanh(x[..., n:] + after) + z * h
    return result


GENERAL_MEANING: dict[type[Any], Callable[..., AnyArray]] = {
    Constant: lambda op: op.value,
    Elementwise: _elementwise,
    Remap: _remap,
    Reshape: lambda op, x: x.reshape(op.shape),
    Join: lambda op, *xs: np.concatenate(xs, op.axis),
    RowOp: _row_op,
    MatMul: lambda op, a, b: np.matmul(a, b),
    Gather: lambda op, x, i: np.take(x, i, op.axis),
    GatherElements: _gather_elements,
    GatherND: _gather_nd,
    ScatterND: _scatter_nd,
    ScatterElements: _scatter_elements,
    WindowPool: _window_pool,
    Interpolate: _interpolate,
    Recurrent: _recurrent,
}
