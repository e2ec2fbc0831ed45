"""identity(x) → x, and reshape(reshape(x)) → x where it gets its shape back.

A graph output keeps its name: the node that made x then makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from prunemap.compiler.graph.ir import Graph, Identity, Node, Reshape
from prunemap.compiler.graph.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Remove identities, except one that copies a graph input, or one of two names of an output, to an output."""
    renamed: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    for old in graph.nodes:
        node = replace(old, inputs=tuple(renamed.get(name, name) for name in old.inputs))
        source = _same_as(node, nodes, graph)
        if source is None:
            nodes[node.output] = node
            continue
        if node.output not in graph.outputs:
            renamed[node.output] = source
        elif source in graph.inputs or source in graph.outputs or source in renamed.values():
            nodes[node.output] = node
            renamed[node.output] = source  # only the output is a copy: its readers need the layout of the source
        else:
            nodes = {made.output: made for made in (_rename(each, source, node.output) for each in nodes.values())}
            renamed[source] = node.output
    return with_nodes(graph, nodes.values())


def _same_as(node: Node, nodes: Mapping[str, Node], graph: Graph) -> str | None:
    """Return the tensor that a node gives once more, None if it makes a new one.

    Args:
        nodes: those before it, by output.
    """
    if isinstance(node.op, Identity):
        return node.inputs[0]
    before = node
    while isinstance(node.op, Reshape) and isinstance(before.op, Reshape):
        source = before.inputs[0]
        if graph.shapes[source] == node.op.shape:
            return source
        if source not in nodes:
            break
        before = nodes[source]
    return None


def _rename(node: Node, old: str, new: str) -> Node:
    inputs = tuple(new if name == old else name for name in node.inputs)
    return replace(node, inputs=inputs, output=new if node.output == old else node.output)
