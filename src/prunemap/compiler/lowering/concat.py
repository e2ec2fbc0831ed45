"""Zero-copy concat: what is concatenated is written straight into the result.

Channels are planes, so the channels of an input are a slice of the result; a tensor that is made for one concat is laid
out like the result and placed inside it. Another one (read by two concats, a view of something else, or read as one
run of elements) is copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prunemap.compiler.graph.ir import Concat, Flatten, Graph, Identity, Node, Recurrent, Reshape


@dataclass(frozen=True)
class Part:
    """A tensor that is a slice of another one: the channels from ``channel`` on."""

    whole: str
    channel: int


def slice_name(node: Node, index: int) -> str:
    """Return the name of the slice that input ``index`` of a concat is copied into."""
    return f"{node.output}\0part{index}"  # no tensor of a model has such a name


def find_parts(graph: Graph) -> dict[str, Part]:
    """Return every tensor that is placed inside a concat's result, slices for copies included."""
    parts: dict[str, Part] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Concat):
            continue
        channel = 0
        for index, name in enumerate(node.inputs):
            inside = name not in parts and not _is_view(graph, name) and not _is_read_as_run(graph, name)
            parts[name if inside else slice_name(node, index)] = Part(node.output, channel)
            channel += graph.shapes[name][1]
    return parts


def _is_view(graph: Graph, name: str) -> bool:
    """Whether a tensor may be another name of the one that it is made from."""
    producer = graph.producers.get(name)
    return producer is not None and isinstance(producer.op, Identity | Flatten | Reshape)


def _is_read_as_run(graph: Graph, name: str) -> bool:
    """Whether vectors are read as if they lay one behind the other; inside of a concat's result they do not."""
    readers = graph.consumers.get(name, [])
    return len(graph.shapes[name]) == 2 and any(isinstance(reader.op, Reshape | Recurrent) for reader in readers)


def copied(node: Node, parts: Mapping[str, Part]) -> Iterator[tuple[int, str]]:
    """Yield (which input, the slice) for every input of a concat that must be copied."""
    for index in range(len(node.inputs)):
        if slice_name(node, index) in parts:
            yield index, slice_name(node, index)


def root_of(name: str, parts: Mapping[str, Part]) -> tuple[str, int]:
    """Return the tensor that is part of no other one and holds ``name``, and from which channel on."""
    channel = 0
    while name in parts:
        channel += parts[name].channel
        name = parts[name].whole
    return name, channel
