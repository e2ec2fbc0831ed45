"""Filters of one network: which layers must lose the same, and what is zero with them, by the graph of its export.

A sum is zero only where all of its addends are, so layers whose outputs are added lose the same filters, and so does a
depthwise layer and the one before it. :mod:`prunemap.compiler.zero_filters` says what else is zero with a filter.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunemap.compiler.coupling import shared_filters
from prunemap.compiler.graph.ir import Graph
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.zero_filters import kept_with_filters
from prunemap.core.plan import PlanLayer
from prunemap.errors import UserError
from prunemap.pruning.export import convert_module
from prunemap.pruning.layers import Examples
from prunemap.pruning.weights import prunable_weights

Alive = NDArray[np.bool_]
"""(O,), which filters of a layer are kept"""


@dataclass(frozen=True, eq=False)
class Filters:
    """What the plan prunes by ``filter``."""

    layers: tuple[str, ...] = ()
    graph: Graph | None = None
    """None where the network's is not known."""
    shared: Sequence[frozenset[str]] = ()
    """Names of layers that lose the same filters."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """ONNX node → the layer, or the module of a batch norm."""
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Layer or module → names of what can be zero with a filter: bias, scale and shift."""

    def companions(self, alive: Mapping[str, Alive]) -> dict[str, Alive]:
        """Return the masks of the parameters that can be zero with filters, by name."""
        dead = {name: np.zeros_like(each) for name, each in alive.items()}
        kept = self._kept(alive)
        return {
            parameter: kept.get(owner, np.ones_like(mask))
            for owner, mask in self._kept(dead).items()
            for parameter in self.parameters.get(owner, ())
        }

    def _kept(self, alive: Mapping[str, Alive]) -> dict[str, Alive]:
        if self.graph is None:
            return dict(alive)
        calls = Counter(self.nodes.values())
        fixed = {node for node, name in self.nodes.items() if name not in alive and calls[name] > 1}
        unnamed = {onnx_name(node.name) for node in self.graph.nodes} - self.nodes.keys()
        by_node = {node: alive[name] for node, name in self.nodes.items() if name in alive}
        return {self.nodes[n]: kept for n, kept in kept_with_filters(self.graph, by_node, fixed | unnamed).items()}


@dataclass(frozen=True, eq=False)
class FilterGraph:
    """The graph of a network, and what its nodes are in the module; whatever the weights."""

    graph: Graph
    nodes: Mapping[str, str]
    """ONNX node → the layer, or the module of a batch norm."""


def filter_graph(module: nn.Module, examples: Examples) -> FilterGraph | None:
    """Export a module, and return its graph; None, with a warning, where it has none that can be taken in."""
    try:
        with TemporaryDirectory() as folder:
            convert_module(module, examples, Path(folder) / "graph.onnx")
            model = read_onnx(Path(folder) / "graph.onnx")
            graph = import_graph(model)
    except UserError as error:
        warnings.warn(
            "every layer chooses its own filters, and batch norms behind them stay, since the graph of the network is "
            f"not known: {str(error).splitlines()[0]}",
            stacklevel=3,
        )
        return None
    nodes = {layer.spec.name: layer.spec.module for layer in list_layers(model) if layer.spec.module}
    norms = {name for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    for node in model.graph.node:
        owner = node.name.rpartition("/")[0]
        if node.op_type == "BatchNormalization" and owner in norms:
            nodes[node.name] = owner
    return FilterGraph(graph, nodes)


def filters_of(
    module: nn.Module, examples: Examples, choices: Mapping[str, PlanLayer], known: FilterGraph | None = None
) -> Filters:
    """Return what the plan prunes by ``filter``.

    Args:
        choices: the plan's entries that prune, by the name of the weight.
        known: the graph of the network; None = the module is exported if the plan prunes anything so.
    """
    layers = tuple(name for name, choice in choices.items() if choice.scheme.name == "filter")
    if not layers:
        return Filters()
    parameters, found = _parameters(module), known or filter_graph(module, examples)
    if found is None:
        return Filters(layers, parameters={name: parameters.get(name, ()) for name in layers})
    counts = {name: choices[name].weight_shape[0] for name in layers}
    return Filters(layers, found.graph, shared_filters(found.graph, found.nodes, counts), found.nodes, parameters)


def _parameters(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return what can be zero with a filter, by layer or module."""
    found = {name: _of(name, weight.owner, "bias") for name, weight in prunable_weights(module).items()}
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm):
            found[name] = _of(name, layer, "weight", "bias")
    return found


def _of(name: str, layer: nn.Module, *attributes: str) -> tuple[str, ...]:
    held = [attribute for attribute in attributes if isinstance(getattr(layer, attribute, None), nn.Parameter)]
    return tuple(f"{name}.{attribute}" if name else attribute for attribute in held)
