"""turn(f(turn(x))) → f(x): between two linear layers that run as convolutions, tokens stay pixels.

Turning swaps channels and columns, (1, C, 1, W) → (1, W, 1, C); there may be reshapes between the three.
"""

from __future__ import annotations

import numpy as np

from prunemap.compiler.graph.ir import Elementwise, Graph, Node, Remap, Reshape
from prunemap.compiler.graph.shapes import with_nodes

_SWAPPED = (0, 3, 2, 1)


def run(graph: Graph) -> Graph:
    """Drop both turns around every elementwise op of one operand, where nobody else reads what lies between."""
    nodes = {node.output: node for node in graph.nodes}
    for node in graph.nodes:
        if not isinstance(node.op, Elementwise) or len(node.inputs) != 1:
            continue
        before, behind = _turn_before(graph, node), _turn_behind(graph, node)
        if not before or not behind or graph.shapes[before[-1].inputs[0]] != graph.shapes[behind[-1].output]:
            continue
        for each in (*before, node, *behind[:-1]):
            del nodes[each.output]
        nodes[behind[-1].output] = Node(node.name, node.op, before[-1].inputs, behind[-1].output)
    return with_nodes(graph, nodes.values())


def _turn_before(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes from the one before ``node`` up to a turn; [] if there is none, or others read them too."""
    found: list[Node] = []
    at = graph.producers.get(node.inputs[0])
    while at and graph.only_consumer(at.output):
        found.append(at)
        if _turns(graph, at):
            return found
        at = graph.producers.get(at.inputs[0]) if isinstance(at.op, Reshape) else None
    return []


def _turn_behind(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes from the one behind ``node`` down to a turn; [] if there is none, or others read them too."""
    found: list[Node] = []
    at = graph.only_consumer(node.output)
    while at:
        found.append(at)
        if _turns(graph, at):
            return found
        at = graph.only_consumer(at.output) if isinstance(at.op, Reshape) else None
    return []


def _turns(graph: Graph, node: Node) -> bool:
    """Whether a node swaps the channels and columns of one line of pixels, all of them in order."""
    op, shape = node.op, graph.shapes[node.inputs[0]] if node.inputs else ()
    if not isinstance(op, Remap) or op.axes != _SWAPPED or shape[0] != 1 or shape[2] != 1:
        return False
    return all(np.array_equal(t, np.arange(shape[axis])) for axis, t in zip(op.axes, op.tables, strict=True))
