"""affine(conv(x, W, b)) → conv(x, s·W, s·b + t), the same for linear: BatchNormalization costs nothing."""

from __future__ import annotations

from dataclasses import replace

from prunemap.compiler.graph.ir import Affine, Conv, Graph, Linear, Node
from prunemap.compiler.graph.shapes import with_nodes
from prunemap.compiler.passes.types import is_open_layer


def run(graph: Graph) -> Graph:
    """Fold every affine whose input is made by a conv or linear layer for it alone."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        made_by = nodes.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.op, Affine) and made_by and is_open_layer(graph, made_by):
            del nodes[made_by.output]
            nodes[node.output] = replace(_folded(made_by, node.op), output=node.output)
        else:
            nodes[node.output] = node
    return with_nodes(graph, nodes.values())


def _folded(node: Node, affine: Affine) -> Node:
    op = node.op
    assert isinstance(op, Conv | Linear)
    scale = affine.scale.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return node.with_op(weight=op.weight * scale, bias=op.bias * affine.scale + affine.shift)
