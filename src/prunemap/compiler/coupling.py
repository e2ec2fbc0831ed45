"""Which layers' outputs are added together: they can lose filters only in step with each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from prunemap.compiler.graph.general_shapes import GENERAL_OPS
from prunemap.compiler.graph.ir import Add, Concat, Conv, Elementwise, Flatten, Graph, Linear, Node, Shape
from prunemap.compiler.graph.known_values import known_values
from prunemap.compiler.graph.outlines import uniform
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph


def coupled_layers(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> list[frozenset[str]]:
    """Return sets of node names of the layers that are coupled through residual sums, in graph order."""
    return couplings(import_graph(read_onnx(model, shapes)))


def couplings(graph: Graph, *, depthwise: bool = False) -> list[frozenset[str]]:
    """See :func:`coupled_layers`.

    Args:
        depthwise: couple depthwise layers with those before them too, where a filter of theirs reads one of those.
    """
    makers: dict[str, set[str]] = {name: set() for name in graph.inputs}
    """The layers whose filters are the channels of a tensor."""
    filters = {node.name: len(node.op.weight) for node in graph.nodes if isinstance(node.op, Conv | Linear)}
    groups: list[set[str]] = []
    for node in graph.nodes:
        is_depthwise = isinstance(node.op, Conv) and _is_depthwise(graph, node.op, node.inputs[0])
        same_filters = is_depthwise and {filters[node.name]} == {filters[name] for name in makers[node.inputs[0]]}
        if isinstance(node.op, Add) or (depthwise and same_filters):
            merged = set().union(*(makers[name] for name in node.inputs), {node.name} if is_depthwise else ())
            merged = merged.union(*(group for group in groups if group & merged))
            groups = [group for group in groups if not group & merged] + [merged]
            makers[node.output] = merged
        elif isinstance(node.op, Concat):
            makers[node.output] = set().union(*(makers[name] for name in node.inputs))
        elif isinstance(node.op, Conv | Linear) and not is_depthwise:
            makers[node.output] = {node.name}
        elif isinstance(node.op, Elementwise):
            makers[node.output] = makers.get(_source_of_zeros(graph, node), set())
        elif isinstance(node.op, (Flatten, *GENERAL_OPS)):
            makers[node.output] = set()
        else:
            makers[node.output] = makers[node.inputs[0]]
    return [frozenset(group) for group in groups if len(group) > 1]


def shared_filters(graph: Graph, owners: Mapping[str, str], counts: Mapping[str, int]) -> tuple[frozenset[str], ...]:
    """Return sets of layers that must lose the same filters, of as many filters each.

    Args:
        graph: as imported.
        owners: the layer of a node, by the node's name.
        counts: how many filters the layers that lose any have.
    """
    found: list[frozenset[str]] = []
    for group in couplings(graph, depthwise=True):
        by_count: dict[int, set[str]] = {}
        for name in {owners.get(node, "") for node in group} & counts.keys():
            by_count.setdefault(counts[name], set()).add(name)
        found += [frozenset(names) for names in by_count.values() if len(names) > 1]
    return tuple(found)


def _is_depthwise(graph: Graph, op: Conv, source: str) -> bool:
    return op.groups > 1 and op.groups == graph.shapes[source][1]


def _source_of_zeros(graph: Graph, node: Node) -> str:
    """Return the input of the result's shape whose zeros are zeros of it: of activations and gates; "" if none."""
    for zero in node.inputs:
        shapes = ((name, graph.shapes[name]) for name in node.inputs)
        inputs = [uniform(shape, np.float32(0 if name == zero else np.nan)) for name, shape in shapes]
        same_shape = graph.shapes[zero] == graph.shapes[node.output]
        if same_shape and (known_values(graph, node, inputs) == 0).all():
            return zero
    return ""
