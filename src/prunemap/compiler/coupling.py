"""Which layers' outputs are added together, so that they lose filters only in step; and which layers read whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prunemap.compiler.graph.general_shapes import GENERAL_OPS
from prunemap.compiler.graph.ir import Add, Concat, Conv, Elementwise, Flatten, Graph, Linear, Node, Shape
from prunemap.compiler.graph.known_values import known_values
from prunemap.compiler.graph.outlines import uniform
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.core.wiring import ChannelSource, Wiring


def read_wiring(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> Wiring:
    """Return how the layers of an ONNX file hang together: coupled sets in graph order, and who reads whose filters.

    Raises:
        UserError: the model cannot be read or taken in.
    """
    return wiring_of(import_graph(read_onnx(model, shapes)))


def wiring_of(graph: Graph) -> Wiring:
    """See :func:`read_wiring`."""
    channels = _trace(graph)
    return Wiring(tuple(channels.coupled), _sources(graph, channels))


@dataclass(frozen=True, eq=False)
class _Channels:
    """Where the channels of tensors come from."""

    makers: Mapping[str, set[str]]
    """The layers whose filters are the channels of a tensor, and zero where those are."""
    filters: Mapping[str, int]
    groups: Sequence[set[str]]

    @property
    def coupled(self) -> list[frozenset[str]]:
        return [frozenset(group) for group in self.groups if len(group) > 1]


def _trace(graph: Graph, *, depthwise: bool = False) -> _Channels:
    """Follow channels through a graph.

    Args:
        depthwise: couple depthwise layers with those before them too, where a filter of theirs reads one of those.
    """
    makers: dict[str, set[str]] = {name: set() for name in graph.inputs}
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
    return _Channels(makers, filters, groups)


def _sources(graph: Graph, channels: _Channels) -> dict[str, tuple[ChannelSource, ...]]:
    """Return whose filters the layers read; of what a Flatten gives, every channel is some features."""
    found = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv | Linear):
            continue
        read = graph.producers.get(node.inputs[0])
        flat = read is not None and isinstance(read.op, Flatten)
        tensor = read.inputs[0] if read is not None and flat else node.inputs[0]
        is_map = flat or isinstance(node.op, Conv)
        makers = channels.makers[tensor]
        together = [group & makers for group in channels.groups if group & makers]
        together += [{name} for name in sorted(makers.difference(*together))]
        counts = [max(channels.filters[name] for name in names) for names in together]
        total = max(graph.shapes[tensor][1 if is_map else -1], sum(counts))
        if together:
            pairs = zip(together, counts, strict=True)
            found[node.name] = tuple(ChannelSource(frozenset(names), count / total) for names, count in pairs)
    return found


def shared_filters(graph: Graph, owners: Mapping[str, str], counts: Mapping[str, int]) -> tuple[frozenset[str], ...]:
    """Return sets of layers that must lose the same filters, of as many filters each.

    Args:
        graph: as imported.
        owners: the layer of a node, by the node's name.
        counts: how many filters the layers that lose any have.
    """
    found: list[frozenset[str]] = []
    for group in _trace(graph, depthwise=True).coupled:
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
