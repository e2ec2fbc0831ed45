"""Nodes on the 1-D maps (N, C, L) of a convolution as nodes on the 2-D maps of one row, (N, C, 1, L), that it makes.

So what follows a convolution fuses into it whatever its axes, and a chain of 1-D layers stays in the layout of maps.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from prunemap.compiler.graph.ir import AnyArray
from prunemap.compiler.onnx.file import node_name

_RANK = 3
"""Of 1-D maps; a constant of more axes gives the result as many."""
_POOLS = ("AveragePool", "GlobalAveragePool", "MaxPool")
_ELEMENTWISE = (
    *("Abs", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
    *("Log", "Mish", "Neg", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Tanh"),
    *("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"),
)


def on_one_row(
    proto: onnx.NodeProto, rows: Mapping[str, str], constants: Mapping[str, AnyArray]
) -> onnx.NodeProto | None:
    """Return the node with maps of one row for its 1-D maps; None where it reads anything else, or means it otherwise.

    Args:
        rows: the map of one row of every 1-D map that has one.
    """
    given = [name for name in proto.input if name]
    computed = [name for name in given if name not in constants]
    if not computed or any(name not in rows for name in computed) or not _means_the_same(proto, given, constants):
        return None
    made = onnx.NodeProto()
    made.CopyFrom(proto)
    made.name = node_name(proto)
    made.input[:] = [rows.get(name, name) for name in proto.input]
    made.output[:] = [f"{proto.output[0]}\0row"]  # no tensor of a model has such a name
    for attribute in made.attribute:
        before = {"kernel_shape": 1, "strides": 1, "dilations": 1, "pads": 0}.get(attribute.name)
        if before is not None:
            attribute.ints[:] = [each for axis in attribute.ints for each in (before, axis)]
    return made


def _means_the_same(proto: onnx.NodeProto, given: list[str], constants: Mapping[str, AnyArray]) -> bool:
    """Whether an axis more changes nothing: constants that are broadcast have no axes."""
    if not proto.output or not proto.output[0] or any(proto.output[1:]):
        return False
    if proto.op_type == "Concat":
        return [each.i for each in proto.attribute if each.name == "axis"] == [1] and not constants.keys() & given
    if proto.op_type == "BatchNormalization" or proto.op_type in _POOLS:
        return True
    numbers = [constants[name] for name in given if name in constants]
    return proto.op_type in _ELEMENTWISE and all(each.size == 1 and each.ndim <= _RANK for each in numbers)
