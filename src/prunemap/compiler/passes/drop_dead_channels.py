"""conv(W, x) where x[i] = c everywhere → W[:, i]·c goes to the bias, W[:, i] becomes 0; so do rows that nobody reads.

What filter pruning leaves behind: a filter without weights makes a constant channel, so the layers that read it need
no weights for it; and where those had none in the first place, the filter need not be computed. Zeros cost nothing in
the packed formats, so channels are zeroed, not removed, and no shape changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.general_shapes import GENERAL_OPS
from prunemap.compiler.ir import (
    Add,
    Affine,
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
    Node,
    Range,
    Shape,
)
from prunemap.compiler.shapes import with_nodes

Channels = NDArray[np.float32]
"""Per channel the value that it has at every pixel of every input, NaN where it depends on them."""


def run(graph: Graph) -> Graph:
    """Fold constant channels forwards, then drop the rows that nobody reads backwards."""
    return _drop_unread_rows(_fold_constants(graph))


def _fold_constants(graph: Graph) -> Graph:
    known = {name: _unknown(graph.shapes[name]) for name in graph.inputs}
    nodes = []
    for old in graph.nodes:
        if isinstance(old.op, GENERAL_OPS):
            known[old.output] = _unknown(graph.shapes[old.output])
            nodes.append(old)
            continue
        node = _folded(old, known[old.inputs[0]]) if isinstance(old.op, Conv | Linear) else old
        values = _VALUES[type(node.op)](node.op, *(known[name] for name in node.inputs))
        pixels = _channels(graph.shapes[node.output]) // len(values)  # 1 but behind a flatten
        known[node.output] = np.repeat(values, pixels)
        nodes.append(node)
    return with_nodes(graph, nodes)


def _channels(shape: Shape) -> int:
    return shape[1] if len(shape) > 1 else 1


def _unknown(shape: Shape) -> Channels:
    return np.full(_channels(shape), np.nan, np.float32)


def _folded(node: Node, x: Channels) -> Node:
    """Move what the constant channels of ``x`` add to every output into the bias."""
    op = node.op
    assert isinstance(op, Conv | Linear)
    pads = op.pads if isinstance(op, Conv) else ()
    constant = (x == 0) if any(pads) else ~np.isnan(x)  # at the borders a padded conv does not see the constant
    if not constant.any():
        return node
    columns = _by_input_channel(op)  # (O, I) of rows, which input channel each weight reads is _channel_of
    read = constant[_channel_of(op, len(x))]
    added = (columns.sum(-1) * np.where(read, np.nan_to_num(x)[_channel_of(op, len(x))], 0)).sum(-1)
    weight = np.where(read[..., None], 0, columns).reshape(op.weight.shape).astype(np.float32)
    return node.with_op(weight=weight, bias=(op.bias + added).astype(np.float32))


def _by_input_channel(op: Conv | Linear) -> Array:
    """Return the weight as (O, I/groups, kernel positions)."""
    return op.weight.reshape(*op.weight.shape[:2], prod(op.weight.shape[2:]))


def _channel_of(op: Conv | Linear, channels: int) -> NDArray[np.int64]:
    """Return which input channel every (row, column) of the weight reads."""
    rows, columns = op.weight.shape[:2]
    groups = channels // columns
    first: NDArray[np.int64] = np.arange(rows) // (rows // groups) * columns
    return first[:, None] + np.arange(columns, dtype=np.int64)


def _layer_values(op: Conv | Linear, x: Channels, residual: Channels | None = None) -> Channels:
    constant = ~op.weight.reshape(len(op.weight), -1).any(1)
    values = op.bias if residual is None else op.bias + residual
    return _clamped(np.where(constant, values, np.nan), op.clamp)


def _clamped(values: NDArray[Any], clamp: Range) -> Channels:
    return np.asarray(np.clip(values, clamp.low, clamp.high), np.float32)


def _average_values(op: AveragePool, x: Channels) -> Channels:
    return np.where(x == 0, x, np.nan).astype(np.float32) if op.count_pads and any(op.pads) else x


_VALUES: dict[type[Any], Callable[..., Channels]] = {
    Conv: _layer_values,
    Linear: _layer_values,
    Affine: lambda op, x: x * op.scale + op.shift,
    Clamp: lambda op, x: _clamped(x, op.range),
    Add: lambda op, a, b: _clamped(a + b, op.clamp),
    Concat: lambda op, *xs: np.concatenate(xs),
    MaxPool: lambda op, x: x,
    AveragePool: _average_values,
    GlobalAveragePool: lambda op, x: x,
    Flatten: lambda op, x: x,
    Identity: lambda op, x: x,
}


def _drop_unread_rows(graph: Graph) -> Graph:
    """Zero the weights of every row whose channel has no weight in any layer behind it."""
    read = {name: np.full(_channels(shape), name in graph.outputs) for name, shape in graph.shapes.items()}
    nodes = []
    for old in reversed(graph.nodes):
        node, used = old, read[old.output]
        if isinstance(old.op, Conv | Linear):
            node = _without_rows(old, used)
            source = read[old.inputs[0]]
            np.logical_or.at(source, _channel_of(old.op, len(source)), _by_input_channel(_op(node)).any(-1))
        nodes.append(node)
        for name, channels in _read_channels(old, used, read):
            read[name] |= channels
    return with_nodes(graph, reversed(nodes))


def _read_channels(
    node: Node, used: NDArray[np.bool_], read: dict[str, NDArray[np.bool_]]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield which channels of its inputs a node reads, but for those that a layer's weights read.

    Args:
        used: which channels of its output are read.
        read: by tensor; tells how many channels it has.
    """
    if isinstance(node.op, GENERAL_OPS):
        yield from ((name, np.ones_like(read[name])) for name in node.inputs)
        return
    if isinstance(node.op, Concat):
        ends = np.cumsum([len(read[name]) for name in node.inputs])
        yield from zip(node.inputs, np.split(used, ends[:-1]), strict=True)
        return
    if not isinstance(node.op, Conv | Linear):
        by_channel: NDArray[np.bool_] = used.reshape(len(read[node.inputs[0]]), -1)
        yield node.inputs[0], np.asarray(by_channel.any(1))
    for name in node.inputs[1:]:
        yield name, used


def _op(node: Node) -> Conv | Linear:
    assert isinstance(node.op, Conv | Linear)
    return node.op


def _without_rows(node: Node, used: NDArray[np.bool_]) -> Node:
    op = _op(node)
    if used.all():
        return node
    weight = op.weight * used.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return replace(node, op=replace(op, weight=weight.astype(np.float32)))
