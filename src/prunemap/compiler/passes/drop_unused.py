"""Nodes that no output depends on are dropped."""

from __future__ import annotations

from prunemap.compiler.graph.ir import Graph
from prunemap.compiler.graph.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Keep what the outputs are made of."""
    used, kept = {*graph.outputs}, []
    for node in reversed(graph.nodes):
        if node.output in used:
            kept.append(node)
            used.update(node.inputs)
    return with_nodes(graph, reversed(kept))
