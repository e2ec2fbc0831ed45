"""linear(x) on many items → conv 1x1 on (1, I, 1, items): zeros pay more where items, not filters, fill the vectors."""

from __future__ import annotations

import numpy as np

from prunemap.compiler.graph.ir import Conv, Graph, Linear, Node, Op, Remap, Reshape
from prunemap.compiler.graph.shapes import with_nodes

LEAST_ITEMS = 16
MOST_DENSITY = 0.6
"""Denser weights are read once for several items, which costs no transposing."""


def run(graph: Graph) -> Graph:
    """Rewrite the sparse linear layers on many items; transposing before and behind is little beside the product."""
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += _as_conv(node, node.op, graph) if isinstance(node.op, Linear) else [node]
    return with_nodes(graph, nodes)


def _as_conv(node: Node, op: Linear, graph: Graph) -> list[Node]:
    shape = graph.shapes[node.inputs[0]]
    density = np.count_nonzero(op.weight) / op.weight.size
    if len(shape) != 2 or shape[0] < LEAST_ITEMS or density > MOST_DENSITY or len(node.inputs) > 1:
        return [node]
    (items, inputs), outputs = shape, len(op.weight)
    conv = Conv(op.weight[:, :, None, None], op.bias, clamp=op.clamp)
    steps: list[tuple[str, Op]] = [
        (f"{node.name}/tokens", Reshape((1, items, 1, inputs))),
        (f"{node.name}/in", _swapped(items, inputs)),
        (node.name, conv),
        (f"{node.name}/out", _swapped(outputs, items)),
        (f"{node.name}/vectors", Reshape((items, outputs))),
    ]
    made, source = [], node.inputs[0]
    for place, (name, each) in enumerate(steps):
        output = node.output if place == len(steps) - 1 else f"{node.output}\0{place}"
        made.append(Node(name, each, (source,), output))
        source = output
    return made


def _swapped(channels: int, columns: int) -> Remap:
    """(1, C, 1, W) → (1, W, 1, C)"""
    return Remap((0, 3, 2, 1), (np.arange(1), np.arange(columns), np.arange(1), np.arange(channels)))
