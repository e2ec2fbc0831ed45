"""Reading an ONNX file: errors that people understand, static shapes, and node facts every reader needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from prunemap.compiler.graph.ir import MAX_ELEMENTS, Shape
from prunemap.compiler.onnx.check import (
    check_ends,
    check_for_inference,
    check_nesting,
    check_nodes,
    check_sizes,
    check_stored,
    check_texts,
    forget_negative_sizes,
)
from prunemap.core.files import existing_file
from prunemap.errors import Problems, UserError

LARGE_BYTES = 4096
_CONSTANTS = ("value", "value_float", "value_floats", "value_int", "value_ints")
MAX_FILE_BYTES = 2**31 - 2**20
"""A protobuf file ends at 2 GiB; larger weights go to a second file beside it."""
OLDEST_OPSET, NEWEST_OPSET = 9, 28
"""Versions of ONNX's operators whose inputs and attributes the rules of the import know."""
MODULE_KEY = "prunemap.module"
"""Node metadata under which the export keeps the qualified name of the torch module."""


def read_onnx(path: str | Path, shapes: Mapping[str, Shape] | None = None) -> onnx.ModelProto:
    """Read a model, fix its input shapes and infer all others.

    Args:
        shapes: for inputs, the shape to compile for. A symbolic batch alone means 1.

    Raises:
        UserError: no such file (its weights may lie in a second one), not an ONNX model, damaged, two nodes of one
            name, another opset than those that are known, or a size that is not known.
    """
    file = existing_file(path, "model")
    try:
        model = onnx.load(str(file), "protobuf", load_external_data=False)
        _check_data_files(model, file)
        onnx.load_external_data_for_model(model, str(file.parent))
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise UserError(f"model: {path} is not an ONNX file, or it is damaged ({_first_line(error)})") from None
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise UserError(f"model: {path} is not an ONNX model (no nodes, outputs or opset in it)")
    check_texts(model)
    check_nesting(model)
    check_for_inference(model)
    try:
        onnx.checker.check_model(str(file))
    except (onnx.checker.ValidationError, ValueError) as error:  # of names that are not UTF-8
        raise UserError(f"model: {path} is not a valid ONNX model ({_first_line(error)})") from None
    _check_opset(model, path)
    _check_node_names(model)
    check_ends(model)
    check_nodes(model)
    check_stored(model)
    _fix_input_shapes(model, dict(shapes or {}))
    return _with_shapes(model, path)


def _with_shapes(model: onnx.ModelProto, path: str | Path) -> onnx.ModelProto:
    """Return the model with all shapes that can be inferred."""
    forget_negative_sizes(model)
    check_sizes(model)  # inference may count as far as a size
    try:
        inferred = _infer_shapes(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, MemoryError) as error:
        raise UserError(f"model: {path}: shapes do not fit each other ({_first_line(error)})") from None
    check_sizes(inferred)
    return inferred


def _check_opset(model: onnx.ModelProto, path: str | Path) -> None:
    """Raise UserError for operators of another version, which may have other inputs and attributes."""
    for each in model.opset_import:
        if each.domain in ("", "ai.onnx") and not OLDEST_OPSET <= each.version <= NEWEST_OPSET:
            raise UserError(
                f"model: {path} is of ONNX opset {each.version}, allowed are {OLDEST_OPSET} to {NEWEST_OPSET}; "
                "onnx.version_converter makes another one of it"
            )


def _check_data_files(model: onnx.ModelProto, file: Path) -> None:
    """Raise UserError for weights in other files that are not there, as when the ONNX file was moved alone."""
    missing = [name for name in data_files(model) if not (file.parent / name).is_file()]
    if missing:
        raise UserError(
            f"model: the weights of {file} lie in other files, which must be beside it; "
            f"there is no such file: {', '.join(str(file.parent / name) for name in missing[:3])}"
        )


def data_files(model: onnx.ModelProto) -> list[str]:
    """Return the names of the other files that weights lie in; model: as in its own file."""
    values = [attribute.t for node in model.graph.node for attribute in node.attribute if attribute.HasField("t")]
    entries = (entry for tensor in (*model.graph.initializer, *values) for entry in tensor.external_data)
    return sorted({str(entry.value) for entry in entries if entry.key == "location"})


def _check_node_names(model: onnx.ModelProto) -> None:
    """Names are what layers are told apart by; ONNX Runtime refuses such models too."""
    problems = Problems("model: several nodes have the same name")
    counts = Counter(node_name(node) for node in model.graph.node)
    problems.extend(f"{count} nodes are called {name!r}" for name, count in counts.items() if count > 1)
    problems.raise_if_any()


def _infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer shapes without passing large weights through it: their sizes are enough."""
    large = {t.name: t.raw_data for t in model.graph.initializer if len(t.raw_data) > LARGE_BYTES}
    for tensor in model.graph.initializer:
        if tensor.name in large:
            tensor.ClearField("raw_data")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for tensor in inferred.graph.initializer:
        if tensor.name in large:
            tensor.raw_data = large[tensor.name]
    return inferred


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__


def _fix_input_shapes(model: onnx.ModelProto, shapes: dict[str, Shape]) -> None:
    """Write a static shape into every graph input."""
    problems = Problems("shape")
    inputs = graph_inputs(model)
    for name in shapes.keys() - {value.name for value in inputs}:
        problems.add(f"--shape names input {name!r}, the model has {', '.join(v.name for v in inputs)}")
    for value in inputs:
        tensor = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
            problems.add(f"input {value.name!r} has none in the model; only tensors of a known rank can be inputs")
            continue
        dims = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in tensor.shape.dim]
        fixed = _fixed_shape(value.name, dims, shapes.get(value.name), problems)
        if fixed is not None:
            if any(size not in (None, now) for size, now in zip(dims, fixed, strict=True)):
                _forget_shapes(model)
            for dim, size in zip(tensor.shape.dim, fixed, strict=True):
                dim.dim_value = size
    problems.raise_if_any()


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Drop the sizes that the file states behind its inputs: they are of an input of another size."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()


def _fixed_shape(name: str, dims: list[int | None], asked: Shape | None, problems: Problems) -> Shape | None:
    text = "x".join("?" if d is None else str(d) for d in dims)
    if asked is not None:
        shown = f"--shape {name}={'x'.join(map(str, asked))}"
        if not all(isinstance(size, Integral) and size is not True and 1 <= size <= MAX_ELEMENTS for size in asked):
            problems.add(f"{shown}: allowed are whole numbers from 1 to {MAX_ELEMENTS}")
        elif len(asked) != len(dims):
            problems.add(f"{shown} does not fit the model's {text}")
        else:
            return tuple(map(int, asked))
        return None
    if dims and dims[0] is None:
        dims = [1, *dims[1:]]
    if None in dims or 0 in dims:
        problems.add(f"input {name!r} is {text}: give its size, such as --shape {name}=1x3x224x224")
        return None
    return tuple(d for d in dims if d is not None)


def graph_inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def int64_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the inputs and outputs that are int64."""
    values = (*graph_inputs(model), *model.graph.output)
    return [value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.INT64]


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    """Return every initializer and Constant node's value by tensor name, but for strings and sparse ones."""
    numbers = (each for each in model.graph.initializer if each.data_type != onnx.TensorProto.STRING)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in numbers}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name in _CONSTANTS:
            constants[node.output[0]] = constant_value(node)
    return constants


def constant_value(node: onnx.NodeProto) -> np.ndarray[Any, Any]:
    """Return the value of a Constant node."""
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    return np.asarray(value, dtype=np.float32 if "float" in attribute.name else np.int64)


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the static shape of every tensor for which inference found one."""
    shapes = {}
    for value in (*graph_inputs(model), *model.graph.value_info, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def type_name(number: int) -> str:
    """Return what ONNX calls a type of elements."""
    names = {known: str(name) for name, known in onnx.TensorProto.DataType.items()}
    return names.get(number, f"of the unknown type {number}")


def node_name(node: onnx.NodeProto) -> str:
    """Return the node's name, else the first output that it has: the identity used in plans."""
    return str(node.name or next(filter(None, node.output), ""))


def module_name(node: onnx.NodeProto) -> str:
    """Return the torch module that the export wrote beside the node, "" if none."""
    return next((str(entry.value) for entry in node.metadata_props if entry.key == MODULE_KEY), "")


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the node's attributes as Python values."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
