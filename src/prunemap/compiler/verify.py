"""What is legal in a graph, checked after the import and after every pass; a failure shows the neighbourhood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prunemap.compiler.ir import Add, Affine, Conv, Flatten, GlobalAveragePool, Graph, Linear, Node, Shape
from prunemap.compiler.printer import print_node
from prunemap.compiler.shapes import output_shape
from prunemap.errors import InternalError


def _check_conv(op: Conv, x: Shape, y: Shape) -> str | None:
    outputs, per_group = op.weight.shape[:2]
    if x[1] != per_group * op.groups or outputs % op.groups:
        return f"{x[1]} input channels do not fit weight {op.weight.shape} in {op.groups} groups"
    return None if op.bias.shape == (outputs,) else f"bias has shape {op.bias.shape}"


def _check_linear(op: Linear, x: Shape, y: Shape) -> str | None:
    if x[1] != op.weight.shape[1] or any(n != 1 for n in x[2:]):
        return f"input {x} does not fit weight {op.weight.shape}"
    return None if op.bias.shape == op.weight.shape[:1] else f"bias has shape {op.bias.shape}"


def _check_affine(op: Affine, x: Shape, y: Shape) -> str | None:
    return None if op.scale.shape == op.shift.shape == (x[1],) else f"scale {op.scale.shape} for {x[1]} channels"


_RANKS: dict[type[Any], tuple[int, ...]] = {Linear: (2, 4), Affine: (2, 4)}
_ANY_RANK = (2, 4)
_MAPS_ONLY = (4,)
_INPUTS: dict[type[Any], tuple[int, ...]] = {Conv: (1, 2), Linear: (1, 2), Add: (2,)}
_CHECKS: dict[type[Any], Callable[[Any, Shape, Shape], str | None]] = {
    Conv: _check_conv,
    Linear: _check_linear,
    Affine: _check_affine,
}
_MAP_OPS = (Conv, GlobalAveragePool, Flatten)


def _problem(graph: Graph, node: Node, known: set[str]) -> str | None:
    """Return what is wrong with one node, None if nothing."""
    kind = type(node.op)
    missing = [name for name in node.inputs if name not in known]
    if missing:
        return f"reads {missing} before they are made"
    if node.output in known:
        return f"makes {node.output!r} a second time"
    if len(node.inputs) not in _INPUTS.get(kind, (1,)):
        return f"has {len(node.inputs)} inputs"
    shapes = [graph.shapes[name] for name in node.inputs]
    if len(shapes[0]) not in (_MAPS_ONLY if isinstance(node.op, _MAP_OPS) else _ANY_RANK):
        return f"has an input of rank {len(shapes[0])}"
    if output_shape(node, shapes) != graph.shapes.get(node.output):
        return f"has shape {graph.shapes.get(node.output)}, its op gives {output_shape(node, shapes)}"
    if len(shapes) == 2 and shapes[1] != graph.shapes[node.output]:
        return f"adds {shapes[1]} to {graph.shapes[node.output]}"
    check = _CHECKS.get(kind)
    return check(node.op, shapes[0], graph.shapes[node.output]) if check else None


def verify_graph(graph: Graph, after: str) -> Graph:
    """Return ``graph`` if it is legal.

    Args:
        after: what made the graph, for the message.

    Raises:
        InternalError: it is not legal.
    """
    known = set(graph.inputs)
    for i, node in enumerate(graph.nodes):
        problem = _problem(graph, node, known)
        if problem:
            around = "\n".join("  " + print_node(n, graph) for n in graph.nodes[max(0, i - 2) : i + 2])
            raise InternalError(f"after {after}: node {node.name!r} {problem}\n{around}")
        known.add(node.output)
    missing = [name for name in graph.outputs if name not in known]
    if missing:
        raise InternalError(f"after {after}: outputs {missing} are not made")
    return graph
