"""f(g(x), y) → (f∘g)(x, y): a chain of elementwise ops reads and writes memory once."""

from __future__ import annotations

from prunemap.compiler.graph.expression import substituted
from prunemap.compiler.graph.ir import MAX_OPERANDS, Elementwise, Expression, Graph, Node
from prunemap.compiler.graph.shapes import with_nodes

MOST_FUNCTIONS = 48
"""Of one fused expression: what is read twice doubles with every further step."""


def run(graph: Graph) -> Graph:
    """Fuse every elementwise op into the one that alone reads it, where both make one shape."""
    nodes: dict[str, Node] = {}
    for old in graph.nodes:
        node = old
        for name in dict.fromkeys(old.inputs):
            fused = _fused(graph, nodes.get(name), node)
            if fused is not None:
                del nodes[name]
                node = fused
        nodes[node.output] = node
    return with_nodes(graph, nodes.values())


def _fused(graph: Graph, made_by: Node | None, node: Node) -> Node | None:
    """Return the two nodes as one, None where they are better left alone."""
    if made_by is None or not isinstance(made_by.op, Elementwise) or not isinstance(node.op, Elementwise):
        return None
    alone = graph.only_consumer(made_by.output) is not None
    if not alone or graph.shapes[made_by.output] != graph.shapes[node.output]:
        return None
    inputs = list(dict.fromkeys([*(name for name in node.inputs if name != made_by.output), *made_by.inputs]))
    inner = substituted(made_by.op.expression, [inputs.index(name) for name in made_by.inputs])
    outer: list[Expression] = [inner if name == made_by.output else inputs.index(name) for name in node.inputs]
    expression = substituted(node.op.expression, outer)
    if len(inputs) > MAX_OPERANDS or _size(expression) > MOST_FUNCTIONS:
        return None
    return Node(node.name, Elementwise(expression), tuple(inputs), node.output)


def _size(expression: Expression) -> int:
    """How many functions it applies; one that is used twice counts twice, as it is in the C text."""
    return 1 + sum(map(_size, expression[1:])) if isinstance(expression, tuple) else 0
