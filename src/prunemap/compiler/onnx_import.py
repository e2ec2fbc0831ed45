"""ONNX → Graph. Every node that cannot be taken in is found before the import gives up."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx

from prunemap.compiler.ir import Graph, Node, Shape
from prunemap.compiler.onnx_file import constants_of, graph_inputs, known_shapes, node_name
from prunemap.compiler.onnx_ops import ONNX_OPS, NotTaken, OnnxNode
from prunemap.compiler.shapes import make_graph, output_shape
from prunemap.compiler.verify import misfit, verify_graph
from prunemap.core.inspection import UnsupportedNode
from prunemap.errors import UnsupportedError


def import_graph(model: onnx.ModelProto) -> Graph:
    """Return the graph of a model from :func:`prunemap.compiler.onnx_file.read_onnx`.

    Raises:
        UnsupportedError: some nodes cannot be taken in; all of them are listed.
    """
    nodes, unsupported = _take_nodes(model)
    if unsupported:
        shown = [f"  - {each.name} ({each.op}): {each.why}" for each in unsupported[:9]]
        rest = (
            [f"  … and {len(unsupported) - 9} more; `prunemap inspect` lists them all"] if len(unsupported) > 9 else []
        )
        raise UnsupportedError("\n".join(["model: these nodes are not supported yet:", *shown, *rest]))
    inputs = {value.name: known_shapes(model)[value.name] for value in graph_inputs(model)}
    return verify_graph(make_graph(inputs, (value.name for value in model.graph.output), nodes), "import")


def find_unsupported(model: onnx.ModelProto) -> list[UnsupportedNode]:
    """Return every node that cannot be taken in, in graph order."""
    return _take_nodes(model)[1]


def _take_nodes(model: onnx.ModelProto) -> tuple[list[Node], list[UnsupportedNode]]:
    """Walk the nodes; behind one that is not taken, ONNX's own shape inference says how large its outputs are."""
    constants, inferred = constants_of(model), known_shapes(model)
    shapes: dict[str, Shape] = {value.name: inferred[value.name] for value in graph_inputs(model)}
    nodes: list[Node] = []
    unsupported = _wrong_inputs(model)
    for proto in model.graph.node:
        if proto.op_type == "Constant":
            continue
        try:
            node = _take(proto, constants, shapes)
            why = misfit(node, [shapes[name] for name in node.inputs])
            if why is not None:
                raise NotTaken(why)
            nodes.append(node)
            shapes[node.output] = output_shape(node, [shapes[name] for name in node.inputs])
        except NotTaken as error:
            unsupported.append(UnsupportedNode(name=node_name(proto), op=proto.op_type, why=str(error)))
            shapes.update({name: inferred[name] for name in proto.output if name in inferred})
    return nodes, [*unsupported, *_wrong_outputs(model, constants)]


def _wrong_inputs(model: onnx.ModelProto) -> list[UnsupportedNode]:
    """Graph inputs that are not float32 maps or vectors."""
    wrong = []
    for value in graph_inputs(model):
        tensor = value.type.tensor_type
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
            wrong.append(_wrong_input(value, f"it is {kind}, only FLOAT is supported"))
        elif len(tensor.shape.dim) not in (2, 4):
            rank = len(tensor.shape.dim)
            wrong.append(_wrong_input(value, f"it has {rank} axes, only (N, C, H, W) and (N, F) are"))
    return wrong


def _wrong_outputs(model: onnx.ModelProto, constants: Collection[str]) -> list[UnsupportedNode]:
    """Graph outputs that are constants, or what nodes make beside their first output."""
    beside = {name for node in model.graph.node if node.op_type in ONNX_OPS for name in node.output[1:]}
    whys = dict.fromkeys(beside, "it is a second output of its node") | dict.fromkeys(constants, "it is a constant")
    names = [value.name for value in model.graph.output]
    return [UnsupportedNode(name=name, op="output", why=whys[name]) for name in names if name in whys]


def _wrong_input(value: onnx.ValueInfoProto, why: str) -> UnsupportedNode:
    return UnsupportedNode(name=value.name, op="input", why=why)


def _take(proto: onnx.NodeProto, constants: dict[str, np.ndarray[Any, Any]], shapes: dict[str, Shape]) -> Node:
    rule = ONNX_OPS.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
    if rule is None:
        raise NotTaken("the operator is not supported")
    view = OnnxNode.of(proto, constants, shapes)
    computed = [name for name in proto.input if name and name not in constants]
    unknown = [name for name in computed if name not in shapes]
    if unknown:
        raise NotTaken(f"the shape of its input {unknown[0]!r} is not known")
    if not computed:
        raise NotTaken("all its inputs are constants; fold it with onnxsim or onnxruntime first")
    bad_rank = [name for name in computed if len(shapes[name]) not in (2, 4)]
    if bad_rank:
        raise NotTaken(f"its input {bad_rank[0]!r} has {len(shapes[bad_rank[0]])} axes, only 2 and 4 are supported")
    op, read = rule(view)
    return Node(node_name(proto), op, tuple(proto.input[i] for i in read), proto.output[0])
