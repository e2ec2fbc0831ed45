"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prunemap.compiler.graph.ir import ANY, Conv, Graph, Linear, Node


@dataclass(frozen=True)
class Pass:
    """A named graph → graph function."""

    name: str
    run: Callable[[Graph], Graph]


def is_open_layer(graph: Graph, node: Node) -> bool:
    """Whether a node is a conv or linear layer read by one node alone, and nothing rides in its store yet."""
    alone = graph.only_consumer(node.output) is not None
    return alone and isinstance(node.op, Conv | Linear) and node.op.clamp == ANY and len(node.inputs) == 1
