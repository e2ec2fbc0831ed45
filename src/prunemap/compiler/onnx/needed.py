"""Which nodes of an ONNX graph its outputs depend on, and what a node reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from prunemap.compiler.onnx.check import graphs_of


def needed_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Return the nodes that an output depends on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            wanted.update(reads_of(node))
            kept.append(node)
    return kept[::-1]


def reads_of(node: onnx.NodeProto) -> list[str]:
    """Return what a node reads, what its inner graphs take from around them included."""
    inner = (name for graph in graphs_of(node) for name in _taken_from_around(graph))
    return [name for name in dict.fromkeys((*node.input, *inner)) if name]


def _taken_from_around(graph: onnx.GraphProto) -> list[str]:
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    read = [name for node in graph.node for name in reads_of(node)] + [value.name for value in graph.output]
    return [name for name in read if name not in own]
