"""What a measured network is known by: its graph without the weights, and how many images it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from prunemap.compiler.graph.ir import Shape
from prunemap.compiler.onnx.file import attributes_of, constants_of, known_shapes, read_onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class GraphIdentity:
    """Of an ONNX file."""

    sha256: str
    """Of operators, attributes, shapes and what reads what: the same whatever the weights and the names."""
    images: int
    """What its convolutions work on at once; 1 without any. Latencies of layers are those of one."""


def identify(model: str | Path, shapes: Mapping[str, Shape] | None = None) -> GraphIdentity:
    """Return the identity of a model.

    Raises:
        UserError: the file cannot be read, or its input sizes are not known.
    """
    return identity_in(read_onnx(model, shapes))


def identity_in(loaded: onnx.ModelProto) -> GraphIdentity:
    """See :func:`identify`."""
    known = known_shapes(loaded)
    batches = [
        known[node.input[0]][0]
        for node in loaded.graph.node
        if node.op_type in CONVOLUTIONS and known.get(node.input[0])
    ]
    return GraphIdentity(_graph_sha256(loaded, known), max(batches, default=1))


def _graph_sha256(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> str:
    constants = constants_of(model)
    numbers: dict[str, int] = {}

    def described(name: str) -> object:
        if name in constants:
            return "constant", constants[name].shape, str(constants[name].dtype)
        return numbers.setdefault(name, len(numbers)), shapes.get(name)

    inputs = [described(each.name) for each in model.graph.input if each.name not in constants]
    nodes = [
        (
            node.op_type,
            sorted((name, _plain(value)) for name, value in attributes_of(node).items()),
            [described(name) for name in node.input],
            [described(name) for name in node.output],
        )
        for node in model.graph.node
        if not all(name in constants for name in node.output)
    ]
    outputs = [described(each.name) for each in model.graph.output]
    return hashlib.sha256(repr((inputs, nodes, outputs)).encode()).hexdigest()


def _plain(value: Any) -> str:
    """Return an attribute as text: of a tensor its shape, of a graph within a node its operators."""
    if isinstance(value, onnx.TensorProto):
        return repr((tuple(value.dims), value.data_type))
    if isinstance(value, onnx.GraphProto):
        return repr([node.op_type for node in value.node])
    return repr(value)
