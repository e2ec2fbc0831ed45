"""A small network with two inputs and two outputs, as an ONNX file and as an engine that runs it exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from prunemap.core.artifact import TensorInfo
from prunemap.devices import float_mode_kept


class FakeEngine:
    """Computes left + right and 2·left; ``damage`` is applied to the second output."""

    inputs = (TensorInfo("left", (1, 3)), TensorInfo("right", (1, 3)))
    outputs = (TensorInfo("sum", (1, 3)), TensorInfo("twice", (1, 3)))

    def __init__(self, damage=lambda x: x) -> None:
        self._damage = damage
        self.batches = []

    def run(self, x):
        self.batches.append(x)
        return [x["left"] + x["right"], self._damage((2 * x["left"]).astype(np.float32))]


@pytest.fixture
def make_engine():
    return FakeEngine


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    def info(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3])

    nodes = [helper.make_node("Add", ["left", "right"], ["sum"]), helper.make_node("Add", ["left", "left"], ["twice"])]
    graph = helper.make_graph(nodes, "small", [info("left"), info("right")], [info("sum"), info("twice")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "small.onnx"
    onnx.save(model, str(path))
    return path


@pytest.fixture(autouse=True)
def keep_float_mode() -> Iterator[None]:
    """Engines loaded by hand flush denormals in this thread: no other test shall feel it."""
    with float_mode_kept():
        yield
