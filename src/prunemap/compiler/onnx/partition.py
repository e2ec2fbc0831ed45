"""Cuts a model into segments: what is compiled, and what is left to another engine. Each is a model of its own.

A node goes into the first segment of its kind that can have all that it reads; so there are as few segments as the
graph allows. What is known before a network runs crosses no cut: every segment has its own copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from prunemap.compiler.graph.ir import Kind, Shape
from prunemap.compiler.onnx.file import graph_inputs, node_name, type_name
from prunemap.compiler.onnx.importer import find_unsupported, known_tensors
from prunemap.compiler.onnx.needed import needed_nodes, reads_of
from prunemap.compiler.onnx.node import KINDS
from prunemap.core.artifact import DTYPES, OTHER_DTYPES, TensorInfo
from prunemap.core.inspection import UnsupportedNode
from prunemap.errors import UserError

_TYPES: Mapping[Kind, int] = {"f32": onnx.TensorProto.FLOAT, "bool": onnx.TensorProto.BOOL}
"""Of a tensor whose type ONNX does not infer; an i32 could be one of two."""


@dataclass(frozen=True)
class Cut:
    """A segment of a model."""

    compiled: bool
    """Whether it is compiled; else it is left to another engine."""
    model: onnx.ModelProto
    """The segment as a model: its inputs and outputs are what crosses the cuts, and those of the network."""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    why: tuple[UnsupportedNode, ...] = ()
    """The nodes that are not compiled."""


def partition(model: onnx.ModelProto) -> list[Cut]:
    """Return the segments of a model from :func:`prunemap.compiler.onnx.file.read_onnx`, in the order they run.

    A single segment is the model as a whole: nothing, or everything, can be compiled.

    Raises:
        UserError: an input or output of the model is no tensor that NumPy can hold.
    """
    network = _Network(model)
    network.check_ends()
    reasons = {each.name: each for each in network.blame(find_unsupported(model))} | network.of_other_types()
    while True:
        segments = network.segments(reasons)
        more = network.crossing_wrongly(segments, reasons)
        if not more:
            cuts = network.cut(segments, reasons)
            refused = [each for cut in cuts if cut.compiled for each in find_unsupported(cut.model)]
            more = {each.name: each for each in network.blame(refused)}
            if not more:
                return cuts
        reasons |= more


Segments = list[tuple[bool, list[onnx.NodeProto]]]
"""Whether it is compiled, and its nodes in graph order."""


class _Network:
    """The graph of a model as a partition sees it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._constants, shapes, kinds = known_tensors(model)
        self._given = {tensor.name: tensor for tensor in model.graph.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in model.graph.sparse_initializer}
        stored = {*self._constants, *self._given, *self._sparse}
        self._outputs = [value.name for value in model.graph.output]
        computed = [node for node in model.graph.node if not stored.issuperset(filter(None, node.output))]
        self._nodes = needed_nodes(computed, self._outputs)
        self._reads = {node_name(node): [name for name in reads_of(node) if name not in stored] for node in self._nodes}
        self._maker = {name: node for node in self._nodes for name in node.output if name}
        values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
        self._values = {value.name: _with_shape(value, shapes.get(value.name)) for value in values}
        for name in (name for name, kind in kinds.items() if name not in self._values and kind in _TYPES):
            self._values[name] = onnx.helper.make_tensor_value_info(name, _TYPES[kinds[name]], shapes[name])

    def blame(self, unsupported: Iterable[UnsupportedNode]) -> Iterator[UnsupportedNode]:
        """Yield what is refused as nodes: an output stands for the node that makes it; inputs have no node."""
        names = {node_name(node) for node in self._nodes}
        for each in unsupported:
            if each.name in names:
                yield each
            elif each.op == "output" and each.name in self._maker:
                maker = self._maker[each.name]
                yield UnsupportedNode(name=node_name(maker), op=maker.op_type, why=f"its output: {each.why}")

    def of_other_types(self) -> dict[str, UnsupportedNode]:
        """Return the nodes that read or make what no program holds: doubles, strings, sequences, …"""
        found = {}
        for node in self._nodes:
            for name in (*self._reads[node_name(node)], *filter(None, node.output)):
                value = self._values.get(name)
                if value is not None and value.type.tensor_type.elem_type not in KINDS:
                    found[node_name(node)] = _unsupported(node, f"{name!r} is {_type_name(value)}")
        return found

    def segments(self, refused: Mapping[str, Any]) -> Segments:
        """Return the fewest segments, starting with the kind that makes them fewer."""
        return min((self._levels(refused, first) for first in (True, False)), key=len)

    def _levels(self, refused: Mapping[str, Any], first: bool) -> Segments:
        """Segment by the longest chain of changes of kind before a node; ``first``: the kind of segment 0."""
        level: dict[str, int] = {}
        levels: dict[int, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            name = node_name(node)
            kind = name not in refused
            before = [level[node_name(self._maker[each])] for each in self._reads[name] if each in self._maker]
            level[name] = max(before, default=0)
            level[name] += ((level[name] % 2 == 0) == first) != kind
            levels.setdefault(level[name], []).append(node)
        return [((number % 2 == 0) == first, nodes) for number, nodes in sorted(levels.items())]

    def crossing_wrongly(self, segments: Segments, refused: Mapping[str, Any]) -> dict[str, UnsupportedNode]:
        """Return the nodes that must not be compiled, so that no sequence or string crosses a cut."""
        number = {node_name(node): k for k, (_, nodes) in enumerate(segments) for node in nodes}
        found: dict[str, UnsupportedNode] = {}
        for reader in self._nodes:
            for name in self._reads[node_name(reader)]:
                if name not in self._maker or self._info(name) is not None:
                    continue
                begin, end = number[node_name(self._maker[name])], number[node_name(reader)]
                for _, nodes in segments[begin : end + 1] if begin != end else ():
                    why = f"it lies between what makes and what reads {name!r}, which cannot leave ONNX Runtime"
                    found |= {node_name(node): _unsupported(node, why) for node in nodes}
        return {name: each for name, each in found.items() if name not in refused}

    def check_ends(self) -> None:
        """Raise UserError for an input or output that NumPy cannot hold."""
        for what, values in (("input", graph_inputs(self._model)), ("output", self._model.graph.output)):
            for value in values:
                if self._info(value.name) is None:
                    raise UserError(
                        f"model: its {what} {value.name!r} is {_type_name(value)}, which nothing here takes"
                    )

    def cut(self, segments: Segments, reasons: Mapping[str, UnsupportedNode]) -> list[Cut]:
        """Return the segments as models."""
        last = {name: k for k, (_, nodes) in enumerate(segments) for node in nodes for name in self._reads_of(node)}
        stored = [name for name in self._outputs if name in self._constants or name in self._given]
        keeper = next((k for k, (compiled, _) in enumerate(segments) if not compiled), 0)
        cuts = []
        for k, (compiled, nodes) in enumerate(segments):
            made = [name for node in nodes for name in node.output if name in self._maker]
            outputs = [name for name in made if last.get(name, k) > k or name in self._outputs]
            read = dict.fromkeys(name for node in nodes for name in self._reads_of(node))
            inputs = [name for name in read if name not in made]
            outputs += stored if k == keeper else []
            why = tuple(reasons[node_name(node)] for node in nodes if not compiled)
            model = self._extract(nodes, inputs, outputs)
            cuts.append(Cut(compiled, model, self._infos(inputs), self._infos(outputs), why))
        return cuts

    def _reads_of(self, node: onnx.NodeProto) -> list[str]:
        return self._reads[node_name(node)]

    def _extract(
        self, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]
    ) -> onnx.ModelProto:
        """Return the nodes as a model with the constants that they read."""
        read = dict.fromkeys((*(name for node in nodes for name in reads_of(node)), *outputs))
        inside = {name for node in nodes for name in node.output}
        graph = onnx.helper.make_graph(
            list(nodes),
            self._model.graph.name or "segment",
            [self._values[name] for name in inputs],
            [self._values[name] for name in outputs],
            [self._constant(name) for name in read if name in self._constants or name in self._given],
            value_info=[self._values[name] for name in inside & set(self._values) - set(outputs)],
            sparse_initializer=[self._sparse[name] for name in read if name in self._sparse],
        )
        return onnx.helper.make_model(
            graph,
            ir_version=self._model.ir_version,
            opset_imports=self._model.opset_import,
            functions=self._model.functions,
            producer_name="prunemap",
        )

    def _constant(self, name: str) -> onnx.TensorProto:
        given = self._given.get(name)
        return numpy_helper.from_array(self._constants[name], name) if given is None else given

    def _infos(self, names: Iterable[str]) -> tuple[TensorInfo, ...]:
        infos = {name: self._info(name) for name in names}
        return tuple(info for info in infos.values() if info is not None)

    def _info(self, name: str) -> TensorInfo | None:
        """Return what a tensor is; None for what NumPy cannot hold, or whose type is not known."""
        value = self._values.get(name)
        return None if value is None else tensor_info(value)


def _with_shape(value: onnx.ValueInfoProto, shape: Shape | None) -> onnx.ValueInfoProto:
    """Return what is known of a tensor, with the shape that our import knows where ONNX does not infer it."""
    tensor = value.type.tensor_type
    inferred = tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)
    if inferred or shape is None or not tensor.elem_type:
        return value
    return onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, shape)


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo | None:
    """Return what a tensor is, sizes that are not known as -1; None for what NumPy cannot hold."""
    tensor = value.type.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape"):
        return None
    try:
        dtype = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
    except (KeyError, TypeError):
        return None
    if dtype not in {**DTYPES, **OTHER_DTYPES}:
        return None
    sizes = (dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorInfo(value.name, tuple(sizes), dtype)


def _unsupported(node: onnx.NodeProto, why: str) -> UnsupportedNode:
    return UnsupportedNode(name=node_name(node), op=node.op_type, why=why)


def _type_name(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return f"a {str(kind).removesuffix('_type').replace('_', ' ')}"
    return type_name(value.type.tensor_type.elem_type)
