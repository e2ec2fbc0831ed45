"""Filters of an ONNX file that are pruned: the same of layers whose outputs are added, and what is zero with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from prunemap.compiler.coupling import shared_filters
from prunemap.compiler.graph.ir import Array, Graph
from prunemap.compiler.layers import ModelLayer
from prunemap.compiler.onnx.file import constants_of, node_name
from prunemap.compiler.zero_filters import Kept, kept_with_filters
from prunemap.core.plan import PlanLayer
from prunemap.schemes import make_mask

Choice = tuple[ModelLayer, PlanLayer]
_PARAMETERS = {"Conv": (2,), "ConvTranspose": (2,), "BatchNormalization": (1, 2)}
"""Which inputs of a node can be zero with a filter: the bias, or scale and shift."""


def strongest_filters(graph: Graph, chosen: Sequence[Choice]) -> dict[str, Kept]:
    """Return which filters stay, by layer; layers that share them keep the largest of their densities.

    Args:
        graph: as imported.
        chosen: what is pruned by ``filter``.
    """
    tensors = {layer.spec.name: layer.stored.tensor for layer, _ in chosen}  # a tensor that nodes share is one layer
    strengths = {layer.stored.tensor: _relative(layer.weight) for layer, _ in chosen}
    entries = {layer.stored.tensor: entry for layer, entry in chosen}
    shared = shared_filters(graph, tensors, {tensor: len(each) for tensor, each in strengths.items()})
    alone = (frozenset([tensor]) for tensor in strengths.keys() - set().union(*shared))
    kept: dict[str, Kept] = {}
    for group in (*shared, *alone):
        mean = np.mean([strengths[tensor] for tensor in sorted(group)], axis=0)
        density = max(entries[tensor].density for tensor in group)
        kept |= dict.fromkeys(group, make_mask(np.sqrt(mean)[:, None], entries[min(group)].scheme, density)[:, 0])
    return {name: kept[tensor] for name, tensor in tensors.items()}


def zero_parameters(model: onnx.ModelProto, graph: Graph, alive: Mapping[str, Kept]) -> dict[str, Array]:
    """Return the biases, scales and shifts that are zero with filters, by tensor name, as they are to be written.

    One that several nodes share, or that is computed, stays.
    """
    constants, nodes = constants_of(model), {node_name(node): node for node in model.graph.node}
    readers = Counter(name for node in model.graph.node for name in node.input)
    names = {name: _parameters(node, constants) for name, node in nodes.items()}
    fixed = [name for name, node in nodes.items() if _cannot_change(node, names[name], readers)]
    found: dict[str, Array] = {}
    for name, kept in kept_with_filters(graph, alive, fixed).items():
        found |= {tensor: constants[tensor] * kept for tensor in names.get(name, ())}
    return found


def _relative(weight: Array) -> Array:
    """Return the energy of every filter over their mean, (O,)."""
    energy: Array = np.square(weight, dtype=np.float64).reshape(len(weight), -1).sum(1).astype(np.float32)
    return energy / np.float32(max(energy.mean(), np.finfo(np.float32).tiny))


def _parameters(node: onnx.NodeProto, constants: Mapping[str, object]) -> list[str]:
    places = _PARAMETERS.get(node.op_type, ())
    return [node.input[i] for i in places if i < len(node.input) and node.input[i] in constants]


def _cannot_change(node: onnx.NodeProto, names: Sequence[str], readers: Mapping[str, int]) -> bool:
    places = [i for i in _PARAMETERS.get(node.op_type, ()) if i < len(node.input) and node.input[i]]
    return len(names) < len(places) or any(readers[name] > 1 for name in names)
