"""What the nodes of a network cost at least: multiply-accumulates and bytes; so much a limit of the machine needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from prunemap.compiler.graph.ir import Conv, Graph, Linear, MatMul, Node, Op, Recurrent, Shape
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise


@dataclass(frozen=True)
class NodeCost:
    """Cost of one node, or of copying a network input or output; of the whole batch."""

    slot: str
    """Its name in ``Engine.slots``."""
    operation: str
    weights: int = 0
    kept_weights: int = 0
    """Those that are not zero."""
    macs: int = 0
    """With kept weights."""
    size_bytes: int = 0
    """Of inputs (a residual too), outputs and kept weights, these as often as they must be read; fp32."""
    passes: int = 1
    """How often the weights must be read, one pass after the other: in every step of a recurrence."""


def read_costs(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> dict[str, NodeCost]:
    """Return the cost of everything that a compiled ONNX model is timed by, by slot.

    Raises:
        UserError: the model cannot be read or taken in.
    """
    return costs_of(optimise(import_graph(read_onnx(model, shapes))))


def costs_of(graph: Graph) -> dict[str, NodeCost]:
    """Return the cost of the nodes, the inputs and the outputs of an optimised graph, by slot."""
    copies = [(f"input {name}", name) for name in graph.inputs] + [(f"output {name}", name) for name in graph.outputs]
    costs = [_node_cost(graph, node) for node in graph.nodes]
    costs += [NodeCost(slot, "copy", size_bytes=2 * 4 * prod(graph.shapes[name])) for slot, name in copies]
    return {cost.slot: cost for cost in costs}


def _node_cost(graph: Graph, node: Node) -> NodeCost:
    op, out = node.op, graph.shapes[node.output]
    weight = op.weight if isinstance(op, Conv | Linear | Recurrent) else np.empty(0, np.float32)
    kept = int(np.count_nonzero(weight))
    inputs = [graph.shapes[name] for name in node.inputs]
    passes = out[0] if isinstance(op, Recurrent) else 1
    return NodeCost(
        slot=node.name,
        operation=type(op).__name__,
        weights=weight.size,
        kept_weights=kept,
        macs=_macs(op, kept, inputs, out),
        size_bytes=4 * (prod(out) + sum(map(prod, inputs)) + passes * kept),
        passes=passes,
    )


def _macs(op: Op, kept: int, inputs: list[Shape], out: Shape) -> int:
    if isinstance(op, MatMul):
        return prod(out) * inputs[0][-1]
    if isinstance(op, Recurrent):  # in every step of time, for every item
        return kept * prod(out[:2])
    return kept * out[0] * prod(out[2:]) if kept else 0
