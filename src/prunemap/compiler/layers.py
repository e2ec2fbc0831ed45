"""The weight-carrying layers of an ONNX model: what inspect shows, what map decides on, what a plan names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from prunemap.compiler.finite import find_not_finite
from prunemap.compiler.graph.ir import Array, Conv, Graph, Linear, Recurrent, Shape
from prunemap.compiler.onnx.file import (
    attributes_of,
    constants_of,
    known_shapes,
    module_name,
    node_name,
    read_onnx,
)
from prunemap.compiler.onnx.importer import find_unsupported, import_graph, known_tensors
from prunemap.compiler.onnx.layer_settings import node_setting, recurrent_settings
from prunemap.compiler.onnx.node import recurrent_names
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.compiler.passes import fold_affine
from prunemap.compiler.structure import structure_of
from prunemap.core.inspection import InspectedLayer, Inspection
from prunemap.core.layer import LayerKind, LayerSpec
from prunemap.core.plan import ModelIdentity

LAYER_KINDS: dict[str, LayerKind] = {
    "Conv": "conv",
    "ConvTranspose": "conv_transpose",
    "Gemm": "linear",
    "MatMul": "linear",
    "LSTM": "lstm",
    "GRU": "gru",
}


@dataclass(frozen=True, eq=False)
class ModelLayer:
    """A layer with its weight, (O, I/groups, Kh, Kw) or (O, I)."""

    spec: LayerSpec
    weight: Array
    stored: StoredWeight
    """How the file has it."""


def read_layers(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> list[ModelLayer]:
    """Return the layers in graph order, BatchNormalization folded into the weights.

    Raises:
        UserError: the model cannot be read or taken in.
    """
    loaded = read_onnx(model, shapes)
    return folded_layers(loaded, import_graph(loaded))


def folded_layers(loaded: onnx.ModelProto, graph: Graph) -> list[ModelLayer]:
    """See :func:`read_layers`.

    Args:
        graph: what was imported of the model.
    """
    graph = fold_affine.run(graph)
    folded = {node.name: node.op.weight for node in graph.nodes if isinstance(node.op, Conv | Linear | Recurrent)}
    return [_with_weight(layer, folded.get(layer.spec.name)) for layer in list_layers(loaded)]


def _with_weight(layer: ModelLayer, folded: Array | None) -> ModelLayer:
    """Return the layer with the weight that the graph has, unless that one has another order or shape."""
    if folded is None or layer.spec.kind not in ("conv", "depthwise", "linear"):
        return layer
    return ModelLayer(layer.spec, folded.reshape(layer.spec.weight_shape), layer.stored)


def read_specs(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> list[LayerSpec]:
    """Return the specs of the layers in graph order; nodes that cannot be compiled yet do not matter.

    Raises:
        UserError: the file cannot be read, or its input sizes are not known.
    """
    return [layer.spec for layer in list_layers(read_onnx(model, shapes))]


def inspect_model(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> Inspection:
    """Return the layers as they are in the file, every node that cannot be compiled yet, weights that are no numbers.

    Raises:
        UserError: the file cannot be read, or its input sizes are not known.
    """
    loaded = read_onnx(model, shapes)
    layers = tuple(_inspected(layer) for layer in list_layers(loaded))
    return Inspection(
        model=str(model),
        layers=layers,
        unsupported=tuple(find_unsupported(loaded)),
        not_finite=tuple(find_not_finite(loaded)),
    )


def _inspected(layer: ModelLayer) -> InspectedLayer:
    spec = layer.spec
    return InspectedLayer(
        name=spec.name,
        kind=spec.kind,
        weight_shape=spec.weight_shape,
        macs=spec.macs,
        params=spec.params,
        density=float(np.count_nonzero(layer.weight) / max(layer.weight.size, 1)),
        structure=structure_of(layer.weight),
    )


def list_layers(model: onnx.ModelProto) -> list[ModelLayer]:
    """Return the layers with constant weights, in graph order, of a model with known shapes."""
    constants, shapes = constants_of(model), _shapes_around_layers(model)
    stored = _stored_weights(model, constants)
    batch = next((shapes[each.name][0] for each in model.graph.input if shapes.get(each.name)), 1)
    layers = []
    for node in model.graph.node:
        kind = LAYER_KINDS.get(node.op_type)
        if kind is None or len(node.input) < 2 or node.input[1] not in stored:
            continue
        given = stored[node.input[1]]
        weight = constants[given.tensor]
        if not np.issubdtype(weight.dtype, np.floating) or weight.ndim < 2:
            continue
        if kind in ("lstm", "gru"):
            layers += _recurrent_layers(node, kind, constants, shapes) if node.input[1] in constants else []
        else:
            layers.append(_layer(node, kind, given, weight, shapes, batch))
    return layers


def _stored_weights(model: onnx.ModelProto, constants: Mapping[str, Any]) -> dict[str, StoredWeight]:
    """Return where every constant lies in the file: those behind an Identity or the Transpose of a matrix too."""
    stored = {name: StoredWeight(name) for name in constants}
    for node in model.graph.node:
        given = stored.get(node.input[0]) if node.op_type in ("Identity", "Transpose") else None
        if given is None:
            continue
        if node.op_type == "Identity":
            stored[node.output[0]] = given
        elif constants[given.tensor].ndim == 2 and attributes_of(node).get("perm", [1, 0]) == [1, 0]:
            stored[node.output[0]] = given.transposed()
    return stored


def _shapes_around_layers(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of tensors; where ONNX's inference leaves out one beside a layer, the import is asked too."""
    shapes = known_shapes(model)
    layers = (node for node in model.graph.node if node.op_type in LAYER_KINDS)
    beside = {name for node in layers for name in (node.input[0], node.output[0])}
    return shapes if beside <= shapes.keys() else known_tensors(model)[1] | shapes


def _recurrent_layers(
    node: onnx.NodeProto, kind: LayerKind, constants: Mapping[str, Any], shapes: Mapping[str, Shape]
) -> list[ModelLayer]:
    """Return two layers per direction: (gates·hidden, inputs) on the inputs, (gates·hidden, hidden) on the state."""
    attributes, x = attributes_of(node), shapes.get(node.input[0])
    directions, *shape = constants[node.input[1]].shape
    settings = recurrent_settings(kind, attributes, shape, x)
    layers = []
    for direction in range(directions):
        names = recurrent_names(node_name(node), direction)
        for name, given, setting in zip(names, node.input[1:3], settings, strict=True):
            if given not in constants:
                continue
            stored = StoredWeight(given, part=direction)
            weight = stored.read(constants[given])
            spec = LayerSpec(
                name=name,
                module=_recurrent_module(module_name(node), direction, is_of_state=name == names[1]),
                kind=kind,
                weight_shape=weight.shape,
                macs=int(weight.size) * (x[1 if attributes.get("layout", 0) else 0] if x else 0),
                params=int(weight.size),
                setting=setting,
            )
            layers.append(ModelLayer(spec, weight, stored))
    return layers


def _recurrent_module(mark: str, direction: int, is_of_state: bool) -> str:
    """Return what torch calls a weight, from the mark of the node: that on the inputs in the first direction."""
    name = mark.replace("weight_ih", "weight_hh") if is_of_state else mark
    return f"{name}_reverse" if mark and direction else name


def identity_of(model: str | Path, layers: list[LayerSpec]) -> ModelIdentity:
    """Return which network a plan is for: file stem and a hash of the layers' kinds and shapes."""
    content = repr([(layer.kind, layer.weight_shape) for layer in layers])
    return ModelIdentity(name=Path(model).stem, layers_sha256=hashlib.sha256(content.encode()).hexdigest())


def _layer(
    node: onnx.NodeProto, kind: LayerKind, stored: StoredWeight, whole: Array, shapes: dict[str, Shape], batch: int
) -> ModelLayer:
    attributes = attributes_of(node)
    x, y = shapes.get(node.input[0]), shapes.get(node.output[0])
    if kind == "linear" and not (node.op_type == "Gemm" and attributes.get("transB", 0)):
        stored = stored.transposed()
    if kind == "conv_transpose":
        stored = replace(stored, form="inputs first", groups=attributes.get("group", 1))
    weight = stored.read(whole)
    setting = node_setting(kind, attributes, weight.shape, x, y)
    if setting is not None and setting.kind == "depthwise":
        kind = "depthwise"
    spec = LayerSpec(
        name=node_name(node),
        module=module_name(node),
        kind=kind,
        weight_shape=weight.shape,
        macs=_macs(kind, weight, x, y, batch),
        params=int(weight.size),
        setting=setting,
    )
    return ModelLayer(spec, weight, stored)


def _macs(kind: LayerKind, weight: Array, x: Shape | None, y: Shape | None, batch: int) -> int:
    """Multiply-accumulates of one image, 0 where the shapes are not known."""
    if kind == "conv_transpose" and x is not None:
        return int(weight.size) * prod(x[2:])
    if kind == "linear" and y is not None:
        return int(weight.size) * max(1, prod(y[:-1]) // batch)  # attention has the tokens on any axis
    return int(weight.size) * prod(y[2:]) if y is not None else 0
