"""POOL_RULES: pools of any number of axes; those with kernels of their own are in FAST_RULES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from prunemap.compiler.ir import RowOp, WindowPool
from prunemap.compiler.onnx_node import GeneralRule, NotTaken, OnnxNode
from prunemap.compiler.onnx_rules.windows import read_window, with_ceil

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


def _max_pool(node: OnnxNode) -> Sequence[str]:
    x, outputs = node.tensor(), [*node.proto.output, ""]
    largest = node.build.add(_window_pool(node, "max"), x)
    if not outputs[1]:
        return [largest]
    by_column = bool(node.attributes.get("storage_order", 0))
    return [largest, node.build.add(_window_pool(node, "max_index", column_major=by_column), x)]


def _average_pool(node: OnnxNode) -> Sequence[str]:
    return [node.build.add(_window_pool(node, "average"), node.tensor())]


def _lp_pool(node: OnnxNode) -> Sequence[str]:
    return [node.build.add(_window_pool(node, "lp", p=node.attributes.get("p", 2)), node.tensor())]


def _global(node: OnnxNode, function: str) -> Sequence[str]:
    return [node.build.add(RowOp(function, _spatial_axes(node)), node.tensor())]


def _global_lp_pool(node: OnnxNode) -> Sequence[str]:
    p = node.attributes.get("p", 2)
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
