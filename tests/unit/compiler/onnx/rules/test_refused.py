"""Nodes with values that no network has, as damaged files do: each is refused, with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import find_unsupported
from prunemap.errors import UserError
from tests.one_node import node_model

MAP = np.ones((1, 4, 5, 6), np.float32)
ROW = np.ones((2, 4), np.float32)
HUGE = 2**62
REFUSED = {
    "gemm with a weight of one axis": (("Gemm", ROW, np.ones(4, np.float32)), {}, "has shape [4], only matrices"),
    "concat of other ranks": (("Concat", MAP, ROW), {"axis": 1}, "concatenates [[1, 4, 5, 6], [2, 4]] along axis 1"),
    "pads of endless size": (("Pad", ROW, np.array([0, 0, 0, HUGE])), {}, "ask for more than"),
    "windows of endless size": (
        ("MaxPool", MAP),
        {"kernel_shape": [2, 2], "strides": [2**21, 1]},
        "allowed are 1 to 1048576, pads from 0",
    ),
    "pads that are no integers": (("Pad", ROW, np.zeros(4, np.float32)), {}, "its pads are float32"),
    "axes that are no integers": (("ReduceSum", ROW, np.complex64([1])), {}, "its axes are complex64"),
    "pads that leave nothing": (("Pad", ROW, np.array([-2, 0, 0, 0])), {}, "leave nothing of 2"),
    "tiles of endless size": (("Tile", ROW, np.array([1, HUGE])), {}, "its repeats [1, 46116860184"),
    "expand to endless size": (("Expand", ROW, np.array([HUGE, 2, 4])), {}, "ask for more than"),
    "reshape to an axis that is not there": (("Reshape", ROW, np.array([8, 1, 0])), {}, "an axis that is not there"),
    "blocks of no size": (("DepthToSpace", MAP), {"blocksize": 0}, "its blocksize is 0"),
    "space in blocks of no size": (("SpaceToDepth", MAP), {"blocksize": -1}, "its blocksize is -1"),
    "pool by a norm that there is not": (("GlobalLpPool", MAP), {"p": 0}, "p is 0, allowed are values from 1"),
    "windows by a norm that there is not": (
        ("LpPool", MAP),
        {"p": -1, "kernel_shape": [2, 2]},
        "p is -1, allowed are values from 1",
    ),
    "triangle of a vector": (("Trilu", np.ones(4, np.float32)), {}, "its input has 1 axes"),
    "scatter with an unknown reduction": (
        ("ScatterND", ROW, np.array([[1]]), np.ones((1, 4), np.float32)),
        {"reduction": "median"},
        "its reduction 'median' is not one of none, add, mul, max, min",
    ),
    "scatter of updates that do not fit": (
        ("ScatterND", ROW, np.array([[1]]), np.ones((1, 9), np.float32)),
        {},
        "ScatterND does not fit inputs of [2, 4] and [1, 1] and [1, 9]",
    ),
    "scatter along an axis that does not fit": (
        ("ScatterElements", ROW, np.zeros((3, 4), np.int64), np.ones((3, 4), np.float32)),
        {"axis": 1},
        "ScatterElements does not fit",
    ),
    "scatter that sums booleans": (
        ("ScatterND", np.ones((2, 4), np.bool_), np.array([[1]]), np.ones((1, 4), np.bool_)),
        {"reduction": "add"},
        "ScatterND with reduction 'add' of bool and i32 and bool is not supported",
    ),
    "interpolated integers": (
        ("Upsample", np.ones((1, 1, 2, 2), np.int64), np.float32([1, 1, 2, 2])),
        {"mode": "linear", "opset": 9},
        "mode 'linear' of i32 is not supported",
    ),
    "groups of no channels": (
        ("GroupNormalization", MAP, np.ones(4, np.float32), np.ones(4, np.float32)),
        {"num_groups": 0},
        "4 channels do not divide into 0 groups",
    ),
    "scales that are infinite": (
        ("Resize", MAP, None, np.array([1, 1, np.inf, 1], np.float32)),
        {},
        "its scales [1.0, 1.0, inf, 1.0] are not one positive number",
    ),
    "scales of some axes": (("Resize", MAP, None, np.float32([2, 2])), {}, "for each of 4 axes"),
    "sizes of some axes": (("Resize", MAP, None, None, np.array([7, 7])), {}, "its sizes [7, 7] do not fit"),
    "sizes without end": (("Resize", MAP, None, None, np.array([1, 4, HUGE, 6])), {}, "are empty, or more than"),
    "transposed convolution without all strides": (
        ("ConvTranspose", MAP, np.ones((4, 2, 3, 3), np.float32)),
        {"strides": [2]},
        "for 2 axes",
    ),
    "transposed convolution of endless strides": (
        ("ConvTranspose", np.ones((1, 4, 1, 1), np.float32), np.ones((4, 2, 3, 3), np.float32)),
        {"strides": [2**16, 2**16]},
        "its strides and dilations [(65536, 1), (65536, 1)] are too large",
    ),
}  # fmt: skip
BESIDE = {"ScatterND": (0,), "ScatterElements": (0,), "Concat": (0, 1)}
"""Which inputs are computed, where it is not the first alone."""


def read(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    for value in model.graph.output:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        value.type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto())
        del value.type.tensor_type.shape.dim[:]
    path.write_bytes(model.SerializeToString())
    return read_onnx(path)


@pytest.mark.parametrize("name", REFUSED)
def test_values_that_no_network_has(name: str, tmp_path: Path) -> None:
    (op, *inputs), attributes, message = REFUSED[name]
    model, _ = node_model(op, *inputs, computed=BESIDE.get(op, (0,)), **attributes)
    try:
        refused = find_unsupported(read(model, tmp_path / "m.onnx"))
    except UserError as error:  # ONNX's own inference or checker has found it before us
        pytest.fail(str(error))
    assert [each.name for each in refused][:1] == ["tested"]
    assert message in refused[0].why
