"""All that mapping asks of a network, from one reading of its file: weights may be half a gigabyte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunemap.compiler.coupling import wiring_of
from prunemap.compiler.graph.ir import Shape
from prunemap.compiler.identity import GraphIdentity, identity_in
from prunemap.compiler.layers import ModelLayer, folded_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.core.wiring import Wiring


@dataclass(frozen=True, eq=False)
class ModelNetwork:
    """A network of layers."""

    layers: Sequence[ModelLayer]
    """In graph order, BatchNormalization folded into the weights."""
    wiring: Wiring
    identity: GraphIdentity


def read_network(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> ModelNetwork:
    """Return what ``read_layers``, ``read_wiring`` and ``identify`` do.

    Raises:
        UserError: the model cannot be read or taken in.
    """
    loaded = read_onnx(model, shapes)
    graph = import_graph(loaded)
    wiring = wiring_of(graph)
    return ModelNetwork(folded_layers(loaded, graph), wiring, identity_in(loaded))
