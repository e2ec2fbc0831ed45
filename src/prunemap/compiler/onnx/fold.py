"""Values that are known before a network runs: nodes with constant inputs, and the shapes of tensors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from prunemap.compiler.graph.ir import AnyArray, Shape
from prunemap.compiler.onnx.file import attributes_of

MAX_ELEMENTS = 1 << 26
"""A folded value may not have more: a few bytes of a file can ask for any size."""
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")


def folded(
    node: onnx.NodeProto, constants: Mapping[str, AnyArray], shapes: Mapping[str, Shape], opset: int
) -> list[AnyArray] | None:
    """Return the outputs of a node whose value is known, None for one that must be computed.

    Raises:
        ValueError: its inputs do not fit it, or the value is too large.
    """
    if node.op_type in ("Shape", "Size") and node.input[0] not in constants:
        return _of_shape(node, shapes.get(node.input[0]))
    if node.op_type in _RANDOM or any(name and name not in constants for name in node.input):
        return None
    if any(attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute):
        return None
    if _asked_elements(node, constants) > MAX_ELEMENTS:
        raise ValueError(f"its constant value would have more than {MAX_ELEMENTS} elements")
    return _evaluated(node, {name: constants[name] for name in node.input if name}, opset)


def _of_shape(node: onnx.NodeProto, shape: Shape | None) -> list[AnyArray] | None:
    if shape is None:
        return None
    if node.op_type == "Size":
        return [np.asarray(int(np.prod(shape)), np.int64)]
    attributes = attributes_of(node)
    return [np.asarray(shape[attributes.get("start", 0) : attributes.get("end", len(shape))], np.int64)]


def _asked_elements(node: onnx.NodeProto, constants: Mapping[str, AnyArray]) -> int:
    """How many elements the value will have, as far as the inputs ask for a size."""
    given = [constants.get(name, np.zeros(0)) for name in node.input]
    if any(value.dtype.kind not in "iuf" or not np.isfinite(value).all() for value in given[-1:]):
        return 0  # the evaluator says what is wrong with it
    if node.op_type in ("ConstantOfShape", "Expand", "Tile"):
        times = given[0].size if node.op_type == "Tile" else 1
        return int(np.prod(given[-1].astype(object))) * times
    if node.op_type == "Range":
        start, limit, delta = (float(value.item()) for value in given)
        return int(min(abs(np.nan_to_num((limit - start) / delta)), MAX_ELEMENTS + 1)) if delta else 0
    if node.op_type == "OneHot":
        return given[0].size * int(np.max(given[1], initial=0))
    if node.op_type == "Pad" and len(given) > 1:
        pads, axes = (given[i].reshape(-1).tolist() if i < len(given) else [] for i in (1, 3))
        return _padded_elements(given[0].shape, pads, axes)
    return int(np.max(given[0], initial=0)) if node.op_type.endswith("Window") else 0


def _padded_elements(shape: Shape, pads: list[int], axes: list[int]) -> int:
    """How many elements a tensor has with padding; 0 where the pads do not fit it, which the evaluator says."""
    places = axes or list(range(len(shape)))
    if len(pads) != 2 * len(places) or any(not -len(shape) <= axis < len(shape) for axis in places):
        return 0
    sizes = list(shape)
    for axis, before, after in zip(places, pads, pads[len(places) :], strict=False):
        sizes[axis] += before + after
    return prod(max(size, 0) for size in sizes)


def _evaluated(node: onnx.NodeProto, inputs: dict[str, AnyArray], opset: int) -> list[AnyArray]:
    """Run one node in ONNX's reference evaluator."""
    names = [name for name in node.output if name]
    graph = onnx.helper.make_graph(
        [node],
        "folded",
        [_untyped(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype)) for name, value in inputs.items()],
        [_untyped(name, onnx.TensorProto.UNDEFINED) for name in names],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        values: Any = ReferenceEvaluator(model).run(None, inputs)
    except Exception as error:  # the evaluator raises whatever NumPy does
        raise ValueError(f"its constant inputs do not fit ({type(error).__name__}: {error})") from None
    return [np.asarray(value) for value in values]


def _untyped(name: str, kind: int) -> onnx.ValueInfoProto:
    value = onnx.ValueInfoProto(name=name)
    value.type.tensor_type.elem_type = kind
    return value
