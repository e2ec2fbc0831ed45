"""add(conv(x), r) → conv(x, residual=r), the same for linear: the sum rides in the store."""

from __future__ import annotations

from prunemap.compiler.graph.ir import ANY, Add, Graph, Node
from prunemap.compiler.graph.shapes import with_nodes
from prunemap.compiler.passes.types import is_open_layer


def run(graph: Graph) -> Graph:
    """Fuse every add of which one side is made, for it alone, by a layer without an activation.

    Where both sides are, the layer that comes later takes the other as its residual. The fused node stands where the
    add stood, so its residual is there.
    """
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        layer = _layer_to_fuse(graph, nodes, node)
        if layer is None:
            nodes[node.output] = node
            continue
        residual = next(name for name in node.inputs if name != layer.output)
        del nodes[layer.output]
        nodes[node.output] = Node(layer.name, layer.op, (*layer.inputs, residual), node.output).with_op(
            clamp=node.op.clamp if isinstance(node.op, Add) else ANY
        )
    return with_nodes(graph, nodes.values())


def _layer_to_fuse(graph: Graph, nodes: dict[str, Node], node: Node) -> Node | None:
    if not isinstance(node.op, Add) or node.inputs[0] == node.inputs[1]:
        return None
    order = list(nodes)
    made = [nodes[name] for name in node.inputs if name in nodes]
    able = [each for each in made if is_open_layer(graph, each)]
    return max(able, key=lambda each: order.index(each.output), default=None)
