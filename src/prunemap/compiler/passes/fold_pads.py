"""conv(pad(x)) → conv(x) with more padding, where the pad puts zeros around the maps: they are the halo."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import Conv, Graph, Node, Remap, Shape
from prunemap.compiler.graph.shapes import with_nodes
from prunemap.core.layer import Pads


def run(graph: Graph) -> Graph:
    """Let every conv behind such a pad read what the pad reads; a pad that nobody reads any more is dropped."""
    nodes = [_folded(graph, node) for node in graph.nodes]
    used = {name for node in nodes for name in node.inputs} | {*graph.outputs}
    return with_nodes(graph, (node for node in nodes if node.output in used or not isinstance(node.op, Remap)))


def _folded(graph: Graph, node: Node) -> Node:
    made_by = graph.producers.get(node.inputs[0]) if isinstance(node.op, Conv) else None
    if made_by is None or not isinstance(made_by.op, Remap):
        return node
    pads = _zeros_around(made_by.op, graph.shapes[made_by.inputs[0]])
    if pads is None:
        return node
    assert isinstance(node.op, Conv)
    top, left, bottom, right = (own + more for own, more in zip(node.op.pads, pads, strict=True))
    return replace(
        node, op=replace(node.op, pads=(top, left, bottom, right)), inputs=(made_by.inputs[0], *node.inputs[1:])
    )


def _zeros_around(op: Remap, shape: Shape) -> Pads | None:
    """Return the rows and columns of zeros that a remap puts around maps, None if it does anything else."""
    if len(shape) != 4 or op.axes != (0, 1, 2, 3) or op.fill != 0:
        return None
    around = [_around(table, size) for table, size in zip(op.tables, shape, strict=True)]
    if None in around[2:] or around[0] != (0, 0) or around[1] != (0, 0):
        return None
    (top, bottom), (left, right) = (each or (0, 0) for each in around[2:])
    return top, left, bottom, right


def _around(table: NDArray[np.int64], size: int) -> tuple[int, int] | None:
    """Return how many places before and behind a whole axis are filled."""
    before = int(np.argmax(table >= 0))
    inside = table[before : before + size]
    if not np.array_equal(inside, np.arange(size)) or (table[before + size :] >= 0).any():
        return None
    return before, len(table) - before - size
