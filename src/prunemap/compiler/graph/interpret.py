"""The meaning of every op in NumPy, slow and plain. Every pass and kernel is held against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prunemap.compiler.graph.general_meaning import GENERAL_MEANING
from prunemap.compiler.graph.ir import (
    Add,
    Affine,
    AnyArray,
    Array,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Range,
)
from prunemap.core.layer import Pads, Pair


def interpret(graph: Graph, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
    """Return the graph's outputs.

    Args:
        inputs: an array for every graph input.
    """
    values = dict(inputs)
    for node in graph.nodes:
        values[node.output] = _MEANING[type(node.op)](node.op, *(values[name] for name in node.inputs))
    return [values[name] for name in graph.outputs]


def _clamp(x: Array, clamp: Range) -> Array:
    return np.clip(x, np.float32(clamp.low), np.float32(clamp.high))


def _windows(x: Array, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair, fill: float) -> Array:
    """Return (N, C, Ho, Wo, Kh, Kw)."""
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    reach = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    windows = sliding_window_view(padded, reach, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _conv(op: Conv, x: Array, residual: Array | None = None) -> Array:
    outputs, per_group, kh, kw = op.weight.shape
    windows = _windows(x, (kh, kw), op.stride, op.pads, op.dilation, 0)
    n, _, ho, wo = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, op.groups, per_group * kh * kw, ho * wo)
    weight = op.weight.reshape(op.groups, outputs // op.groups, per_group * kh * kw)
    y = (weight @ columns).reshape(n, outputs, ho, wo) + op.bias[:, None, None]
    return _clamp(y if residual is None else y + residual, op.clamp)


def _linear(op: Linear, x: Array, residual: Array | None = None) -> Array:
    y = (x.reshape(len(x), -1) @ op.weight.T + op.bias).reshape(len(x), -1, *x.shape[2:])
    return _clamp(y if residual is None else y + residual, op.clamp)


def _affine(op: Affine, x: Array) -> Array:
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x * op.scale.reshape(shape) + op.shift.reshape(shape)


def _max_pool(op: MaxPool, x: Array) -> Array:
    result: Array = _windows(x, op.kernel, op.stride, op.pads, (1, 1), -np.inf).max((-2, -1))
    return result


def _average_pool(op: AveragePool, x: Array) -> Array:
    sums = _windows(x, op.kernel, op.stride, op.pads, (1, 1), 0).sum((-2, -1))
    ones = np.ones((1, 1, *x.shape[2:]), np.float32)
    counts = _windows(ones, op.kernel, op.stride, op.pads, (1, 1), float(op.count_pads)).sum((-2, -1))
    result: Array = sums / counts
    return result


_MEANING: dict[type[Any], Callable[..., AnyArray]] = {
    Conv: _conv,
    Linear: _linear,
    Affine: _affine,
    Clamp: lambda op, x: _clamp(x, op.range),
    Add: lambda op, a, b: _clamp(a + b, op.clamp),
    Concat: lambda op, *xs: np.concatenate(xs, 1),
    MaxPool: _max_pool,
    AveragePool: _average_pool,
    GlobalAveragePool: lambda op, x: x.mean((2, 3), keepdims=not op.flat),
    Flatten: lambda op, x: x.reshape(len(x), -1),
    Identity: lambda op, x: x,
    **GENERAL_MEANING,
}
