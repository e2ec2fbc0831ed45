"""What an ONNX file must be beyond what ONNX's own checker asks: readable values, sizes within bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

import onnx
from onnx import numpy_helper

from prunemap.errors import Problems, UserError

MAX_ELEMENTS = 2**29
"""A tensor may not have more: a few bytes of a file can ask for any size. Of fp32 they take 2 GiB."""


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


def check_texts(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for names that are not text; protobuf finds out when they are read."""
    for message in (model, model.graph, *model.graph.node, *model.graph.initializer):
        for field, value in message.ListFields():
            if field.type == field.TYPE_STRING and isinstance(value, bytes):  # protobuf could not decode them
                raise UserError(f"model: its {field.name} {value!r} is not UTF-8")


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
