"""Small networks for tests: graphs, and the same as ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunemap.compiler.graph.ir import Array
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes import make_mask

Rng = np.random.Generator


def weight(rng: Rng, *shape: int, scheme: str = "dense", density: float = 0.3) -> Array:
    """Return weights of variance 1 / fan-in, pruned by magnitude."""
    values = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(np.prod(shape[1:])))
    return values * make_mask(values, SchemeSpec.parse(scheme), density)


class OnnxBuilder:
    """Writes ONNX models node by node; every method returns the name of the new tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op: str, *inputs: str, name: str = "", **attributes: object) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        output = f"{name}_out"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=name, **attributes))
        return output

    def conv(
        self, x: str, shape: tuple[int, ...], *, scheme: str = "dense", name: str = "", **attributes: object
    ) -> str:
        weights = self.constant(weight(self.rng, *shape, scheme=scheme))
        bias = self.constant(self.rng.standard_normal(shape[0], np.float32))
        return self.node("Conv", x, weights, bias, name=name, **attributes)

    def batch_norm(self, x: str, channels: int) -> str:
        values = [self.rng.uniform(0.5, 1.5, channels).astype(np.float32) for _ in range(4)]
        return self.node("BatchNormalization", x, *(self.constant(value) for value in values))

    def model(self, x_shape: list[int | str], output: str, rank: int = 2) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * rank)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def residual_network(batch: int | str = 1, scheme: str = "punched:4x2") -> onnx.ModelProto:
    """Conv, batch norm, relu, residual block, depthwise, strided conv, pools, linear: (N, 3, 16, 12) → (N, 10)."""
    b = OnnxBuilder()
    x = b.node("Relu", b.batch_norm(b.conv("x", (8, 3, 3, 3), pads=[1, 1, 1, 1], name="stem"), 8))
    y = b.node("Relu", b.batch_norm(b.conv(x, (8, 8, 3, 3), pads=[1, 1, 1, 1], scheme=scheme, name="block.a"), 8))
    y = b.batch_norm(b.conv(y, (8, 8, 3, 3), pads=[1, 1, 1, 1], scheme=scheme, name="block.b"), 8)
    x = b.node("Relu", b.node("Add", y, x))
    x = b.node("Clip", b.conv(x, (8, 1, 3, 3), group=8, pads=[1, 1, 1, 1], name="depthwise"), *_bounds(b))
    x = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = b.conv(x, (12, 8, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], scheme=scheme, name="down")
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    weights, bias = b.constant(weight(b.rng, 10, 12)), b.constant(b.rng.standard_normal(10, np.float32))
    y = b.node("Gemm", x, weights, bias, transB=1, name="fc")
    return b.model([batch, 3, 16, 12], y)


def _bounds(b: OnnxBuilder) -> tuple[str, str]:
    return b.constant(np.asarray(0, np.float32)), b.constant(np.asarray(6, np.float32))


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path))
    return path
