"""What an ONNX file must be beyond what ONNX's own checker asks: readable values, sizes within bounds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod

import onnx
from onnx import numpy_helper

from prunemap.compiler.graph.ir import MAX_ELEMENTS
from prunemap.errors import Problems, UserError

MAX_DEPTH, MAX_VISITS = 64, 2**20
"""Of graphs inside of graphs and functions; inference looks at an inner graph twice for each time at the outer one."""

MAX_RANK = 64
_AXES = ("axis", "axes", "perm", "batch_dims")
"""Attributes that are places among the axes of a tensor."""
_EQUATION = re.compile(rb"([A-Za-z\s,]|\.\.\.)*(->([A-Za-z\s]|\.\.\.)*)?")


def check_stored(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for weights and constants whose bytes are not what their type and shape say."""
    problems = Problems("model: stored values are damaged")
    for name, tensor in _tensors(model):
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # of any kind, by what is wrong
            shape = "x".join(map(str, tensor.dims)) or "scalar"
            problems.add(f"{name!r} of shape {shape}: {str(error) or type(error).__name__}"[:200])
    problems.raise_if_any()


def _tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """The dense ones that are read: strings are not."""
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.STRING:
            yield tensor.name, tensor
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type != onnx.TensorProto.STRING:
                yield f"{attribute.name} of {node.name or node.op_type}", attribute.t


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Return the inner graphs of a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def check_nesting(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for graphs in graphs and functions of functions that would keep inference busy for ever."""
    functions = {(each.domain, each.name): each.node for each in model.functions}
    known: dict[tuple[str, str], int] = {}

    def visits(nodes: Iterable[onnx.NodeProto], depth: int) -> int:
        if depth > MAX_DEPTH:
            raise UserError(f"model: its graphs or functions are nested more than {MAX_DEPTH} deep, or call themselves")
        count = 0
        for node in nodes:
            count += 1 + sum(2 * visits(graph.node, depth + 1) for graph in graphs_of(node))
            key = (node.domain, node.op_type)
            if key in functions and key not in known:
                known[key] = visits(functions[key], depth + 1)
            count += known.get(key, 0)
        return count

    if visits(model.graph.node, 0) > MAX_VISITS:
        raise UserError(f"model: its nested graphs and functions stand for more than {MAX_VISITS} nodes")


def check_for_inference(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for what ONNX's checker lets pass and its inference never ends on, or breaks off at."""
    for node in _all_nodes((model.graph.node, *(each.node for each in model.functions))):
        for attribute in node.attribute:
            kind, has = (node.op_type, attribute.name), f"model: node {node.name!r} ({node.op_type}) has"
            if kind == ("Einsum", "equation") and not _EQUATION.fullmatch(attribute.s):
                raise UserError(f"{has} the equation {attribute.s.decode(errors='replace')!r}")
            if attribute.name in _AXES and any(abs(axis) > MAX_RANK for axis in (attribute.i, *attribute.ints)):
                raise UserError(f"{has} {attribute.name} beyond {MAX_RANK}, no tensor has more")
            if kind == ("Split", "num_outputs") and attribute.i != len(node.output):
                raise UserError(f"{has} {len(node.output)} outputs, and {attribute.i} for num_outputs")


def _all_nodes(lists: Iterable[Iterable[onnx.NodeProto]]) -> Iterator[onnx.NodeProto]:
    """Return all nodes, those of inner graphs too."""
    for nodes in lists:
        for node in nodes:
            yield node
            yield from _all_nodes(graph.node for graph in graphs_of(node))


def check_ends(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for two inputs, or two outputs, of one name."""
    problems = Problems("model: names of inputs and outputs")
    for what, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        counts = Counter(value.name for value in values)
        problems.extend(f"{count} {what} are called {name!r}" for name, count in counts.items() if count > 1)
    problems.raise_if_any()


def check_texts(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for names that are not text; protobuf finds out when they are read."""
    for message in (model, model.graph, *model.graph.node, *model.graph.initializer):
        for field, value in message.ListFields():
            texts = [] if field.type != field.TYPE_STRING else [value] if isinstance(value, str | bytes) else value
            for text in texts:
                if isinstance(text, bytes):  # protobuf could not decode it
                    raise UserError(f"model: its {field.name} {text!r} is not UTF-8")


def check_nodes(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for nodes without an input that they need, or whose outputs have no names."""
    problems = Problems("model: nodes lack what they need")
    for node in model.graph.node:
        if not any(node.output):
            problems.add(f"{node.name or node.op_type!r} makes nothing")
        for place in _missing(node, _opset(model, node.domain)):
            problems.add(f"{node.name or node.output[0]} ({node.op_type}): its input {place} is missing")
        if node.op_type == "Constant" and len(node.attribute) != 1:
            problems.add(f"{node.name or node.output[0]} (Constant): has {len(node.attribute)} values")
    problems.raise_if_any()


def _opset(model: onnx.ModelProto, domain: str) -> int:
    aliases = ("", "ai.onnx")
    wanted = aliases if domain in aliases else (domain,)
    return next((each.version for each in model.opset_import if each.domain in wanted), 1)


def _missing(node: onnx.NodeProto, opset: int) -> Iterable[int]:
    """The places of inputs that are not optional and left out."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain.removeprefix("ai.onnx"))
    except onnx.defs.SchemaError:
        return ()  # of another domain; the import says so
    options = [formal.option for formal in schema.inputs]
    options += options[-1:] * (len(node.input) - len(options))  # of the last one there may be any number
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    given = [place < len(node.input) and node.input[place] != "" for place in range(len(options))]
    return [
        place
        for place, (option, has) in enumerate(zip(options, given, strict=True))
        if option != optional and not has and (place < len(node.input) or place < schema.min_input)
    ]


def forget_negative_sizes(model: onnx.ModelProto) -> None:
    """Sizes below 0, as some exporters write them, say that a size is not known."""
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")


def check_sizes(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for tensors that are, or are said to be, larger than anything that can be compiled."""
    problems = Problems(f"model: tensors of more than {MAX_ELEMENTS} elements")
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.HasField("dim_value")]
        if prod(size for size in dims if size) > MAX_ELEMENTS:
            problems.add(f"{value.name!r} is {'x'.join(map(str, dims))}")
    problems.raise_if_any()
