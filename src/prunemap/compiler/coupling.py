"""Which layers' outputs are added together: they can lose filters only in step with each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prunemap.compiler.general_shapes import GENERAL_OPS
from prunemap.compiler.ir import Add, Concat, Conv, Flatten, Graph, Linear, Shape
from prunemap.compiler.onnx_file import read_onnx
from prunemap.compiler.onnx_import import import_graph


def coupled_layers(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> list[frozenset[str]]:
    """Return sets of node names of the layers that are coupled through residual sums, in graph order."""
    return couplings(import_graph(read_onnx(model, shapes)))


def couplings(graph: Graph) -> list[frozenset[str]]:
    """See :func:`coupled_layers`."""
    makers: dict[str, set[str]] = {name: set() for name in graph.inputs}
    """The layers whose filters are the channels of a tensor."""
    groups: list[set[str]] = []
    for node in graph.nodes:
        if isinstance(node.op, Add):
            merged = makers[node.inputs[0]] | makers[node.inputs[1]]
            merged = merged.union(*(group for group in groups if group & merged))
            groups = [group for group in groups if not group & merged] + [merged]
            makers[node.output] = merged
        elif isinstance(node.op, Concat):
            makers[node.output] = set().union(*(makers[name] for name in node.inputs))
        elif isinstance(node.op, Conv | Linear) and not _is_depthwise(graph, node.op, node.inputs[0]):
            makers[node.output] = {node.name}
        elif isinstance(node.op, (Flatten, *GENERAL_OPS)):
            makers[node.output] = set()
        else:
            makers[node.output] = makers[node.inputs[0]]
    return [frozenset(group) for group in groups if len(group) > 1]


def _is_depthwise(graph: Graph, op: Conv | Linear, source: str) -> bool:
    return isinstance(op, Conv) and op.groups > 1 and op.groups == graph.shapes[source][1]
