"""What is legal in a graph, checked after the import and after every pass; a failure shows the neighbourhood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prunemap.compiler.graph.general_misfit import general_misfit
from prunemap.compiler.graph.general_shapes import GENERAL_OPS
from prunemap.compiler.graph.ir import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Constant,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Node,
    Shape,
)
from prunemap.compiler.graph.kind_misfit import kind_misfit
from prunemap.compiler.graph.printer import print_node
from prunemap.compiler.graph.shapes import output_shape
from prunemap.core.layer import windows_reach
from prunemap.errors import InternalError


def _check_conv(op: Conv, x: Shape) -> str | None:
    outputs, per_group = op.weight.shape[:2]
    if op.groups < 1 or x[1] != per_group * op.groups or outputs % op.groups:
        return f"{x[1]} input channels do not fit weight {op.weight.shape} in {op.groups} groups"
    return None if op.bias.shape == (outputs,) else f"bias has shape {op.bias.shape}"


def _check_linear(op: Linear, x: Shape) -> str | None:
    if x[1] != op.weight.shape[1] or any(n != 1 for n in x[2:]):
        return f"input {x} does not fit weight {op.weight.shape}"
    return None if op.bias.shape == op.weight.shape[:1] else f"bias has shape {op.bias.shape}"


def _check_affine(op: Affine, x: Shape) -> str | None:
    return None if op.scale.shape == op.shift.shape == (x[1],) else f"scale {op.scale.shape} for {x[1]} channels"


def _check_pool(op: MaxPool | AveragePool, x: Shape) -> str | None:
    """Its kernel reads the rows that a window has on the map."""
    if windows_reach(x[2:], op.kernel, op.stride, op.pads):
        return None
    return f"a window of {op.kernel} with pads {op.pads} lies in the padding of {x[2:]} alone"


def _check_concat(inputs: Sequence[Shape]) -> str | None:
    others = {(shape[0], *shape[2:]) for shape in inputs}
    if not inputs or {len(shape) for shape in inputs} - set(_ANY_RANK):
        return f"concatenates {list(inputs)}"
    return None if len(others) == 1 else f"concatenates {list(inputs)}, which differ not only in channels"


_ANY_RANK = (2, 4)
_MAPS_ONLY = (4,)
_INPUTS: dict[type[Any], tuple[int, ...]] = {Conv: (1, 2), Linear: (1, 2), Add: (2,)}
_CHECKS: dict[type[Any], Callable[[Any, Shape], str | None]] = {
    Conv: _check_conv,
    Linear: _check_linear,
    Affine: _check_affine,
    MaxPool: _check_pool,
    AveragePool: _check_pool,
}
_MAP_OPS = (Conv, MaxPool, AveragePool, GlobalAveragePool, Flatten)


def misfit(node: Node, inputs: Sequence[Shape]) -> str | None:
    """Return why a node cannot have inputs of these shapes, None if it can."""
    kind = type(node.op)
    if isinstance(node.op, GENERAL_OPS):
        return general_misfit(node.op, inputs)
    if isinstance(node.op, Identity):
        return None
    if isinstance(node.op, Concat):
        return _check_concat(inputs)
    if len(inputs) not in _INPUTS.get(kind, (1,)):
        return f"has {len(inputs)} inputs"
    if len(inputs[0]) not in (_MAPS_ONLY if isinstance(node.op, _MAP_OPS) else _ANY_RANK):
        return f"has an input of rank {len(inputs[0])}"
    why = _CHECKS[kind](node.op, inputs[0]) if kind in _CHECKS else None
    if why is None and len(inputs) == 2 and inputs[1] != output_shape(node, inputs):
        return f"adds {inputs[1]} to {output_shape(node, inputs)}"
    return why


def _problem(graph: Graph, node: Node, known: set[str]) -> str | None:
    """Return what is wrong with one node, None if nothing."""
    missing = [name for name in node.inputs if name not in known]
    if missing:
        return f"reads {missing} before they are made"
    if node.output in known:
        return f"makes {node.output!r} a second time"
    shapes = [graph.shapes[name] for name in node.inputs]
    why = misfit(node, shapes) or kind_misfit(node.op, [graph.kinds.get(name, "f32") for name in node.inputs])
    why = why or _reads_constants(graph, node)
    if why is None and output_shape(node, shapes) != graph.shapes.get(node.output):
        return f"has shape {graph.shapes.get(node.output)}, its op gives {output_shape(node, shapes)}"
    return why


def _reads_constants(graph: Graph, node: Node) -> str | None:
    """An op on maps reads computed tensors: constants lie elsewhere."""
    if isinstance(node.op, (*GENERAL_OPS, Identity)):
        return None
    made = [graph.producers.get(name) for name in node.inputs]
    wrong = [each.output for each in made if each is not None and isinstance(each.op, Constant)]
    return f"reads {wrong}, which are constants" if wrong else None


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
