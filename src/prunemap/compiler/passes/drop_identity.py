"""identity(x) → x. A graph output keeps its name: the node that made x then makes it."""

from __future__ import annotations

from dataclasses import replace

from prunemap.compiler.ir import Graph, Identity, Node
from prunemap.compiler.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Remove identities, except one that copies a graph input, or one of two names of an output, to an output."""
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for old in graph.nodes:
        node = replace(old, inputs=tuple(renamed.get(name, name) for name in old.inputs))
        if not isinstance(node.op, Identity):
            nodes.append(node)
            continue
        source = node.inputs[0]
        if node.output not in graph.outputs:
            renamed[node.output] = source
        elif source in graph.inputs or source in graph.outputs or source in renamed.values():
            nodes.append(node)
            renamed[node.output] = source  # only the output is a copy: its readers need the layout of the source
        else:
            nodes = [_rename(each, source, node.output) for each in nodes]
            renamed[source] = node.output
    return with_nodes(graph, nodes)


def _rename(node: Node, old: str, new: str) -> Node:
    inputs = tuple(new if name == old else name for name in node.inputs)
    return replace(node, inputs=inputs, output=new if node.output == old else node.output)
