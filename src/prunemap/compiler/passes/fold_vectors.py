"""linear(x) on tokens plus a bias, or times a scale, of the last axis → linear(x): exporters write MatMul, then Add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prunemap.compiler.graph.ir import Array, Constant, Elementwise, Graph, Linear, Node, Reshape
from prunemap.compiler.graph.shapes import with_nodes
from prunemap.compiler.passes.types import is_open_layer

_FOLDS: Mapping[str, Callable[[Linear, Array], dict[str, Any]]] = {
    "add": lambda op, vector: {"bias": op.bias + vector},
    "mul": lambda op, vector: {"weight": op.weight * vector[:, None], "bias": op.bias * vector},
}


@dataclass(frozen=True)
class _Operands:
    """Of an elementwise node: the computed tensor, and the constant that it is added to or multiplied with."""

    function: str
    computed: str
    constant: Node
    vector: Array


def run(graph: Graph) -> Graph:
    """Fold every vector that is applied to the result of a linear layer, and to nothing else, reshaped or not."""
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        operands = _operands(node, nodes)
        layer = _layer_behind(graph, nodes, operands.computed) if operands else None
        if operands and layer and _fits(graph, node, operands, layer):
            assert isinstance(layer.op, Linear)
            nodes[layer.output] = layer.with_op(**_FOLDS[operands.function](layer.op, operands.vector.reshape(-1)))
            nodes[node.output] = replace(nodes.pop(operands.computed), output=node.output)
            if graph.only_consumer(operands.constant.output):
                del nodes[operands.constant.output]
        else:
            nodes[node.output] = node
    return with_nodes(graph, nodes.values())


def _operands(node: Node, nodes: Mapping[str, Node]) -> _Operands | None:
    """Read a sum or product of a tensor and a constant; None if it is neither."""
    expression = node.op.expression if isinstance(node.op, Elementwise) else ()
    if not isinstance(expression, tuple) or len(node.inputs) != 2 or expression[1:] not in ((0, 1), (1, 0)):
        return None
    for name, other in (node.inputs, node.inputs[::-1]):
        constant = nodes.get(name)
        if constant and isinstance(constant.op, Constant) and expression[0] in _FOLDS:
            return _Operands(expression[0], other, constant, np.asarray(constant.op.value))
    return None


def _layer_behind(graph: Graph, nodes: Mapping[str, Node], tensor: str) -> Node | None:
    """Return the linear layer that a tensor is the result of, reshaped or not; None if others see it too."""
    node = nodes.get(tensor)
    while node and isinstance(node.op, Reshape) and graph.only_consumer(node.output):
        node = nodes.get(node.inputs[0])
    return node if node and isinstance(node.op, Linear) and is_open_layer(graph, node) else None


def _fits(graph: Graph, node: Node, operands: _Operands, layer: Node) -> bool:
    """Whether the constant is one fp32 value for each output of the layer, along the last axis."""
    assert isinstance(layer.op, Linear)
    outputs, shape, vector = len(layer.op.weight), graph.shapes[operands.computed], operands.vector
    return (
        vector.dtype == np.float32
        and vector.size == outputs
        and vector.shape[-1:] == shape[-1:] == (outputs,)
        and graph.shapes[node.output] == shape
    )
