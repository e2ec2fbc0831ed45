"""clamp(f(x)) → f(x) with the clamp in its store, for f a conv, linear or add without one."""

from __future__ import annotations

from dataclasses import replace

from prunemap.compiler.graph.ir import ANY, Add, Clamp, Conv, Graph, Linear, Node
from prunemap.compiler.graph.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Fuse every clamp whose input is made for it alone."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        made_by = nodes.get(node.inputs[0]) if node.inputs else None
        if isinstance(node.op, Clamp) and made_by and _is_able(graph, made_by):
            del nodes[made_by.output]
            nodes[node.output] = replace(made_by.with_op(clamp=node.op.range), output=node.output)
        else:
            nodes[node.output] = node
    return with_nodes(graph, nodes.values())


def _is_able(graph: Graph, node: Node) -> bool:
    alone = graph.only_consumer(node.output) is not None
    return alone and isinstance(node.op, Conv | Linear | Add) and node.op.clamp == ANY
