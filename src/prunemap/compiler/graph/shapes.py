"""Output shape of every op, and the one way to make a graph with other nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

from prunemap.compiler.graph.general_shapes import GENERAL_SHAPES, output_kind
from prunemap.compiler.graph.ir import (
    MAX_ELEMENTS,
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Kind,
    Linear,
    MaxPool,
    Node,
    Shape,
)
from prunemap.core.layer import sliding_size
from prunemap.errors import UserError


def _conv(op: Conv, x: Shape, *_: Shape) -> Shape:
    kernel = (op.weight.shape[2], op.weight.shape[3])
    return (x[0], op.weight.shape[0], *sliding_size((x[2], x[3]), kernel, op.stride, op.pads, op.dilation))


def _pool(op: MaxPool | AveragePool, x: Shape) -> Shape:
    return (x[0], x[1], *sliding_size((x[2], x[3]), op.kernel, op.stride, op.pads))


_RULES: dict[type[Any], Callable[..., Shape]] = {
    Conv: _conv,
    Linear: lambda op, x, *_: (x[0], op.weight.shape[0], *x[2:]),
    Affine: lambda op, x: x,
    Clamp: lambda op, x: x,
    Add: lambda op, x, *_: x,
    Concat: lambda op, *xs: (xs[0][0], sum(x[1] for x in xs), *xs[0][2:]),
    MaxPool: _pool,
    AveragePool: _pool,
    GlobalAveragePool: lambda op, x: x[:2] if op.flat else (*x[:2], 1, 1),
    Flatten: lambda op, x: (x[0], prod(x[1:])),
    Identity: lambda op, x: x,
    **GENERAL_SHAPES,
}


def output_shape(node: Node, inputs: Sequence[Shape]) -> Shape:
    """Return the shape that ``node`` makes from inputs of these shapes.

    Raises:
        UserError: the input is too small for the op's window, or the result too large.
    """
    shape = _RULES[type(node.op)](node.op, *inputs)
    if prod(shape) > MAX_ELEMENTS:
        raise UserError(f"shape: node {node.name!r} gives {list(shape)}, more than {MAX_ELEMENTS} elements")
    if min(shape, default=1) < 1:
        kind, given = type(node.op).__name__, [list(x) for x in inputs]
        raise UserError(f"shape: node {node.name!r}: {kind} of {given} gives an empty result {list(shape)}")
    return shape


def make_graph(
    inputs: Mapping[str, Shape],
    outputs: Iterable[str],
    nodes: Iterable[Node],
    kinds: Mapping[str, Kind] = MappingProxyType({}),
) -> Graph:
    """Return a graph with every shape and kind inferred.

    Args:
        inputs: graph input names and their shapes.
        kinds: of those inputs that are not fp32.
    """
    nodes, shapes = tuple(nodes), dict(inputs)
    known: dict[str, Kind] = {name: kinds.get(name, "f32") for name in inputs}
    for node in nodes:
        shapes[node.output] = output_shape(node, [shapes[name] for name in node.inputs])
        known[node.output] = output_kind(node.op, [known[name] for name in node.inputs])
    return Graph(tuple(inputs), tuple(outputs), nodes, shapes, known)


def with_nodes(graph: Graph, nodes: Iterable[Node]) -> Graph:
    """Return ``graph`` with other nodes, shapes inferred again."""
    return make_graph({name: graph.shapes[name] for name in graph.inputs}, graph.outputs, nodes, graph.kinds)
