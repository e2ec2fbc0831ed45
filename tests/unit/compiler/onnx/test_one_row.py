"""1-D convolutions fuse with what follows them, as 2-D ones do, and mean the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import Graph, Reshape
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from tests.networks import OnnxBuilder

CHANNELS, LENGTH = 6, 20


def checked(model: onnx.ModelProto) -> Graph:
    """Return the optimised graph; it means what ONNX's evaluator says."""
    x = np.random.default_rng(1).standard_normal((2, CHANNELS, LENGTH), np.float32)
    graph = optimise(import_graph(onnx.shape_inference.infer_shapes(model)))
    for want, got in zip(ReferenceEvaluator(model).run(None, {"x": x}), interpret(graph, {"x": x}), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)
    return graph


def kinds(graph: Graph) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in graph.nodes)


def conv(b: OnnxBuilder, x: str, **attributes: object) -> str:
    return b.conv(x, (CHANNELS, CHANNELS, 3), pads=[1, 1], **attributes)


def test_a_residual_block_is_two_convolutions_between_two_reshapes() -> None:
    b = OnnxBuilder()
    x = b.node("Relu", b.batch_norm(conv(b, "x"), CHANNELS))
    y = b.batch_norm(conv(b, x), CHANNELS)
    y = b.node("Relu", b.node("Add", y, x))
    assert kinds(checked(b.model([2, CHANNELS, LENGTH], y, 3))) == {"Conv": 2, "Reshape": 2}


@pytest.mark.parametrize(
    ("between", "kind"),
    [
        (lambda b, x: b.node("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 0]), "MaxPool"),
        (lambda b, x: b.node("AveragePool", x, kernel_shape=[2], strides=[2]), "AveragePool"),
        (lambda b, x: b.node("LeakyRelu", x, alpha=0.1), "Elementwise"),
        (lambda b, x: b.node("Mul", x, b.node("Sigmoid", x)), "Elementwise"),
        (lambda b, x: b.node("Mul", x, b.node("Sigmoid", b.node("GlobalAveragePool", x))), "GlobalAveragePool"),
        (lambda b, x: b.node("Mul", x, b.constant(np.float32([0.5]))), "Conv"),
        (lambda b, x: b.node("Concat", x, x, axis=1), "Concat"),
    ],
)
def test_maps_stay_maps_between_convolutions(between: Callable[[OnnxBuilder, str], str], kind: str) -> None:
    b = OnnxBuilder()
    y = between(b, conv(b, "x"))
    channels = 2 * CHANNELS if kind == "Concat" else CHANNELS
    graph = checked(b.model([2, CHANNELS, LENGTH], b.conv(y, (4, channels, 3), pads=[1, 1]), 3))
    assert kinds(graph)["Reshape"] == 2 and kinds(graph)[kind]
    assert isinstance(graph.nodes[0].op, Reshape) and isinstance(graph.nodes[-1].op, Reshape)


@pytest.mark.parametrize("shape", [(CHANNELS, 1), (LENGTH,), (2, 1, 1), (CHANNELS, 1, 1, 1), (1,) * 4])
def test_constants_with_axes_keep_their_meaning(shape: tuple[int, ...]) -> None:
    b = OnnxBuilder()
    y = b.node("Add", conv(b, "x"), b.constant(b.rng.standard_normal(shape, np.float32)))
    checked(b.model([2, CHANNELS, LENGTH], y, max(3, len(shape))))


def test_a_concat_along_another_axis_keeps_its_meaning() -> None:
    b = OnnxBuilder()
    x = conv(b, "x")
    checked(b.model([2, CHANNELS, LENGTH], b.node("Concat", x, x, axis=-1), 3))
    checked(b.model([2, CHANNELS, LENGTH], b.node("Concat", x, x, axis=2), 3))


def test_a_map_that_is_an_output_too_is_written() -> None:
    b = OnnxBuilder()
    x = b.node("Relu", conv(b, "x"))
    model = b.model([2, CHANNELS, LENGTH], conv(b, x), 3)
    model.graph.output.append(onnx.helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, [None] * 3))
    checked(model)
