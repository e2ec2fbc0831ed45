"""conv 1x1 on a 1x1 map → linear: a map of one pixel has no pixels to put in the lanes of a vector."""

from __future__ import annotations

from dataclasses import replace

from prunemap.compiler.graph.ir import Conv, Graph, Linear, Node
from prunemap.compiler.graph.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Rewrite every ungrouped, unpadded 1x1 conv whose input is (N, C, 1, 1)."""
    return with_nodes(graph, (_rewritten(graph, node) for node in graph.nodes))


def _rewritten(graph: Graph, node: Node) -> Node:
    op = node.op
    if not isinstance(op, Conv) or graph.shapes[node.inputs[0]][2:] != (1, 1):
        return node
    if op.groups != 1 or op.weight.shape[2:] != (1, 1) or any(op.pads):
        return node
    return replace(node, op=Linear(op.weight.reshape(op.weight.shape[:2]), op.bias, op.clamp))
