"""What must be zero with pruned filters for their channels to be zero: biases, and scales and shifts of batch norms.

A filter without weights alone leaves a constant channel, and a convolution with padding sees a constant that is not
zero end at the border: such a channel cannot be folded away. With these zero it is, as if the filter were not there,
through activations, pools, sums, concats and depthwise layers up to whatever mixes channels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import Affine, Constant, Conv, Elementwise, Graph, Linear, Node
from prunemap.compiler.graph.known_values import channel_values, known_values, nothing_known
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.compiler.graph.outlines import Outline, of_axis

Kept = NDArray[np.bool_]
"""(channels,), False = must be zero"""
BATCH_NORM = ("add", ("mul", 0, 1), 2)
"""Of tensors that are no maps; the second and third operands are constants."""


def kept_with_filters(graph: Graph, alive: Mapping[str, Kept], fixed: Collection[str]) -> dict[str, Kept]:
    """Return, by the name of the ONNX node, which entries of its bias, or of its scale and shift, stay.

    Args:
        graph: as imported.
        alive: which filters of layers are kept, by the name of the ONNX node. What reads a linear layer has no border,
            so it keeps its bias.
        fixed: ONNX nodes whose bias, or scale and shift, must not change.
    """
    known = {name: nothing_known(graph.shapes[name]) for name in graph.inputs}
    kept: dict[str, Kept] = {}
    for node in graph.nodes:
        inputs = [known[name] for name in node.inputs]
        name, zero = onnx_name(node.name), _zero_channels(graph, node, inputs, alive)
        if zero is None:
            known[node.output] = _zeros_of(known_values(graph, node, inputs), node)
            continue
        if name in fixed:
            zero = zero & (_constant_of(graph, node) == 0)
        elif zero.any():
            kept[name] = ~zero
        known[node.output] = of_axis(np.where(zero, np.float32(0), np.float32(np.nan)), len(graph.shapes[node.output]))
    return {name: _as_filters(each, alive.get(name)) for name, each in kept.items()}


def _zero_channels(graph: Graph, node: Node, inputs: list[Outline], alive: Mapping[str, Kept]) -> Kept | None:
    """Return which channels a layer or batch norm makes zero, if its parameters are; None for any other node."""
    if isinstance(node.op, Linear):
        return np.zeros(len(node.op.weight), bool)
    if not isinstance(node.op, Conv | Affine) and not _is_batch_norm(graph, node):
        return None
    is_zero = np.asarray(channel_values(inputs[0], graph.shapes[node.inputs[0]]) == 0)
    if not isinstance(node.op, Conv):
        return is_zero
    rows, filters = len(node.op.weight), alive.get(onnx_name(node.name))
    zero = np.zeros(rows, bool) if filters is None else ~_as_rows(filters, rows, node.op.groups)
    if node.op.groups == len(is_zero):  # depthwise
        zero |= np.repeat(is_zero, rows // len(is_zero))
    return zero


def _as_rows(alive: Kept, rows: int, groups: int) -> Kept:
    """Return it by row of a conv that stands for a transposed one: (groups, phases, filters of the group)."""
    by_group = alive.reshape(groups, 1, -1)
    return np.broadcast_to(by_group, (groups, rows // len(alive), by_group.shape[2])).reshape(-1)


def _as_filters(kept: Kept, alive: Kept | None) -> Kept:
    return kept if alive is None or len(kept) == len(alive) else alive


def _is_batch_norm(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Elementwise) or node.op.expression != BATCH_NORM:
        return False
    sizes = [constant.op.value.size for constant in _constants(graph, node) if isinstance(constant.op, Constant)]
    return len(graph.shapes[node.output]) > 1 and sizes == [graph.shapes[node.output][1]] * 2


def _constants(graph: Graph, node: Node) -> list[Node]:
    return [graph.producers[name] for name in node.inputs[1:] if name in graph.producers]


def _constant_of(graph: Graph, node: Node) -> NDArray[np.float32]:
    """Return the bias of a layer, the shift of a batch norm."""
    if isinstance(node.op, Conv | Linear):
        return node.op.bias
    if isinstance(node.op, Affine):
        return node.op.shift
    op = _constants(graph, node)[-1].op
    assert isinstance(op, Constant)
    return op.value.reshape(-1)


def _zeros_of(known: Outline, node: Node) -> Outline:
    """Return only the zeros of what is known, since other values change in training, as constants do."""
    if isinstance(node.op, Constant):
        return nothing_known(node.op.value.shape)
    return np.where(known == 0, np.float32(0), np.float32(np.nan))
