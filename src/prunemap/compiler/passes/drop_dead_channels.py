"""conv(W, x) where x[i] = c everywhere → W[:, i]·c goes to the bias, W[:, i] becomes 0; so do rows that nobody reads.

What filter pruning leaves behind: a filter without weights makes a constant channel, so the layers that read it need
no weights for it; and where those had none in the first place, the filter need not be computed. Zeros cost nothing in
the packed formats, so channels are zeroed, not removed, and no shape changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import (
    Add,
    Affine,
    Array,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Elementwise,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Join,
    Linear,
    MaxPool,
    Node,
    Remap,
    Reshape,
    Shape,
)
from prunemap.compiler.graph.known_values import channel_values, known_values, nothing_known
from prunemap.compiler.graph.outlines import Outline, fitted, moved_back, of_axis, reshaped, uniform
from prunemap.compiler.graph.shapes import with_nodes

ELEMENT_BY_ELEMENT = (Add, Affine, Clamp, Elementwise, Identity)
BY_CHANNEL = (MaxPool, AveragePool, GlobalAveragePool)


def run(graph: Graph) -> Graph:
    """Fold constant channels forwards, then drop the rows that nobody reads backwards."""
    return _drop_unread_rows(_fold_constants(graph))


def _fold_constants(graph: Graph) -> Graph:
    known = {name: nothing_known(graph.shapes[name]) for name in graph.inputs}
    nodes = []
    for old in graph.nodes:
        inputs = [known[name] for name in old.inputs]
        node = old
        if isinstance(old.op, Conv | Linear):
            node = _folded(old, channel_values(inputs[0], graph.shapes[old.inputs[0]]))
        known[node.output] = known_values(graph, node, inputs)
        nodes.append(node)
    return with_nodes(graph, nodes)


def _folded(node: Node, x: Array) -> Node:
    """Move what the constant channels of ``x`` add to every output into the bias; x: (C,), NaN = not constant."""
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


def _drop_unread_rows(graph: Graph) -> Graph:
    """Zero the weights of every row whose channel has no weight in any layer behind it."""
    read = {name: uniform(shape, name in graph.outputs) for name, shape in graph.shapes.items()}
    nodes = []
    for old in reversed(graph.nodes):
        node, used = old, read[old.output]
        if isinstance(old.op, Conv | Linear):
            node = _without_rows(old, old.op, used)
        nodes.append(node)
        for name, elements in zip(node.inputs, _read_elements(graph, node, used), strict=True):
            read[name] = read[name] | elements
    return with_nodes(graph, reversed(nodes))


def _read_elements(graph: Graph, node: Node, used: Outline) -> Iterator[Outline]:
    """Yield which elements of each of its inputs a node reads.

    Args:
        used: which elements of its result are read.
    """
    op, shapes = node.op, [graph.shapes[name] for name in node.inputs]
    if isinstance(op, Conv | Linear):
        yield _read_by_weights(op, shapes[0])
        yield from (used for _ in shapes[1:])
    elif isinstance(op, ELEMENT_BY_ELEMENT):
        yield from (fitted(used, shape) for shape in shapes)
    elif isinstance(op, BY_CHANNEL):
        yield of_axis(_channels(used), len(shapes[0]))
    elif isinstance(op, Concat | Join):
        yield from _parts(used, shapes, op.axis if isinstance(op, Join) else 1)
    elif isinstance(op, Remap):
        yield moved_back(op, used, shapes[0])
    elif isinstance(op, Reshape | Flatten):
        yield reshaped(used, graph.shapes[node.output], shapes[0])
    else:
        yield from (uniform(shape, True) for shape in shapes)


def _read_by_weights(op: Conv | Linear, shape: Shape) -> Outline:
    read = _by_input_channel(op).any(-1)  # (O, I/groups); the rows of a group read the same channels
    by_group = read.reshape(shape[1] // read.shape[1], -1, read.shape[1])
    return of_axis(by_group.any(1).ravel(), len(shape))


def _parts(used: Outline, shapes: list[Shape], axis: int) -> Iterator[Outline]:
    """Yield which elements are read of tensors that stand one after the other along an axis."""
    if used.shape[axis] == 1:
        yield from (used for _ in shapes)
        return
    yield from np.split(used, np.cumsum([shape[axis] for shape in shapes])[:-1], axis)


def _without_rows(node: Node, op: Conv | Linear, used: Outline) -> Node:
    rows = _channels(used)
    if rows.all():
        return node
    weight = op.weight * rows.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return replace(node, op=replace(op, weight=weight.astype(np.float32)))


def _channels(used: Outline) -> NDArray[np.bool_]:
    """Return which channels are used anywhere, (C,) or, all alike, (1,)."""
    return np.asarray(np.moveaxis(used, 1, -1).reshape(-1, used.shape[1]).any(0))
