"""POOL_RULES: pools of any number of axes; those with kernels of their own are in FAST_RULES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

from prunemap.compiler.graph.ir import AveragePool, MaxPool, RowOp, WindowPool
from prunemap.compiler.onnx.node import Builder, GeneralRule, NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.windows import four, pair, read_window, with_ceil
from prunemap.core.layer import windows_reach

PoolKind = Literal["max", "max_index", "average", "lp"]


def _spatial_axes(node: OnnxNode) -> tuple[int, ...]:
    """Return the axes behind (N, C)."""
    rank = len(node.shape())
    if rank < 3 or node.kind() != "f32":
        raise NotTaken(f"a pool of {node.kind()} with {rank} axes; fp32 with 3 or more is supported")
    return tuple(range(2, rank))


def _window_pool(node: OnnxNode, kind: PoolKind, **more: Any) -> WindowPool:
    """Return the op of a node with window attributes; more: further fields."""
    size = node.shape()[2:]
    if len(_spatial_axes(node)) > 3:
        raise NotTaken(f"a pool over {len(size)} axes, up to 3 are supported")
    window = read_window(node.attributes, node.attributes["kernel_shape"], size)
    counted = window.pads if node.attributes.get("count_include_pad", 0) else ()
    if node.attributes.get("ceil_mode", 0):
        window = with_ceil(window, size)
    return WindowPool(kind, window.kernel, window.stride, window.pads, window.dilation, counted, **more)


def _pool(node: OnnxNode, kind: Literal["max", "average"]) -> str:
    """Pool maps of one or three axes as maps of two, axis after axis, where that is the same; return the result."""
    op, x, build = _window_pool(node, kind), node.tensor(), node.build
    batch, channels, *size = node.shape()
    as_planes = set(op.dilation) == {1} and op.count_pads in ((), op.pads)
    if len(size) == 2 or not as_planes or not windows_reach(size, op.kernel, op.stride, op.pads):
        return build.add(op, x)
    if len(size) == 1:
        y = _pooled(build, build.reshape(x, (batch, channels, 1, *size)), op, (None, 0))
        return build.reshape(y, (batch, channels, build.shapes[y][3]))
    depth, *plane = size
    y = _pooled(build, build.reshape(x, (batch, channels * depth, *plane)), op, (1, 2))
    plane = list(build.shapes[y][2:])
    y = _pooled(build, build.reshape(y, (batch, channels, depth, prod(plane))), op, (0, None))
    return build.reshape(y, (batch, channels, build.shapes[y][2], *plane))


def _pooled(build: Builder, x: str, op: WindowPool, axes: Sequence[int | None]) -> str:
    """Pool maps along two axes of a window; None = along none."""
    kernel, stride = ([1 if axis is None else values[axis] for axis in axes] for values in (op.kernel, op.stride))
    ends = (0, len(op.kernel))
    pads = four([0 if axis is None else op.pads[axis + end] for end in ends for axis in axes])
    if {*kernel, *stride} == {1} and not any(pads):
        return x
    if op.kind == "max":
        return build.add(MaxPool(pair(kernel), pair(stride), pads), x)
    return build.add(AveragePool(pair(kernel), pair(stride), pads, bool(op.count_pads)), x)


def _max_pool(node: OnnxNode) -> Sequence[str]:
    x, outputs = node.tensor(), [*node.proto.output, ""]
    largest = _pool(node, "max")
    if not outputs[1]:
        return [largest]
    by_column = bool(node.attributes.get("storage_order", 0))
    return [largest, node.build.add(_window_pool(node, "max_index", column_major=by_column), x)]


def _average_pool(node: OnnxNode) -> Sequence[str]:
    return [_pool(node, "average")]


def _lp_pool(node: OnnxNode) -> Sequence[str]:
    return [node.build.add(_window_pool(node, "lp", p=_norm(node)), node.tensor())]


def _norm(node: OnnxNode) -> int:
    p = int(node.attributes.get("p", 2))
    if p < 1:
        raise NotTaken(f"p is {p}, allowed are values from 1")
    return p


def _global(node: OnnxNode, function: str) -> Sequence[str]:
    return [node.build.add(RowOp(function, _spatial_axes(node)), node.tensor())]


def _global_lp_pool(node: OnnxNode) -> Sequence[str]:
    p = _norm(node)
    if p in (1, 2):
        return _global(node, f"l{p}")
    build = node.build
    powers = build.apply("pow", build.apply("abs", node.tensor()), float(p))
    return [build.apply("pow", build.add(RowOp("sum", _spatial_axes(node)), powers), 1 / p)]


POOL_RULES: Mapping[str, GeneralRule] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda node: _global(node, "mean"),
    "GlobalLpPool": _global_lp_pool,
    "GlobalMaxPool": lambda node: _global(node, "max"),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
