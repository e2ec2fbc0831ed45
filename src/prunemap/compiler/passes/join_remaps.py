"""remap(remap(x)) → one remap: what is moved twice is copied once."""

from __future__ import annotations

import numpy as np

from prunemap.compiler.graph.ir import Graph, Node, Remap
from prunemap.compiler.graph.shapes import with_nodes


def run(graph: Graph) -> Graph:
    """Join every remap with the one before it, where nobody else reads what lies between."""
    nodes: dict[str, Node] = {}
    for old in graph.nodes:
        node = old
        made_by = nodes.get(old.inputs[0]) if old.inputs else None
        if made_by and isinstance(old.op, Remap) and isinstance(made_by.op, Remap):
            joined = _joined(made_by.op, old.op) if graph.only_consumer(made_by.output) else None
            if joined is not None:
                del nodes[made_by.output]
                node = Node(old.name, joined, made_by.inputs, old.output)
        nodes[node.output] = node
    return with_nodes(graph, nodes.values())


def _joined(first: Remap, second: Remap) -> Remap | None:
    """Return the second after the first; None where each fills with a value of its own."""
    fills = {op.fill for op in (first, second) if any((table < 0).any() for table in op.tables)}
    if len(fills) > 1:
        return None
    tables = []
    for axis, table in zip(second.axes, second.tables, strict=True):
        tables.append(np.where(table < 0, -1, first.tables[axis][np.maximum(table, 0)]))
    axes = tuple(first.axes[axis] for axis in second.axes)
    return Remap(axes, tuple(tables), next(iter(fills), 0.0))
