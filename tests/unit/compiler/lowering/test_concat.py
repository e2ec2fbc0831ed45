"""Concat: what is written straight into the result, what is copied, and what a concat couples."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from prunemap.compiler import compile_model
from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import build_graph
from prunemap.compiler.coupling import wiring_of
from prunemap.compiler.graph.ir import Add, Clamp, Concat, Conv, Graph, Identity, Node, Range
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.lowering.concat import Part, find_parts
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.program import PointwiseStep
from prunemap.compiler.passes import drop_dead_channels
from prunemap.runtime import Engine
from prunemap.targets import X86_64_V4, resolve_target
from tests.networks import OnnxBuilder, save


def conv(outputs: int, inputs: int) -> Conv:
    return Conv(np.ones((outputs, inputs, 3, 3), np.float32), np.zeros(outputs, np.float32), pads=(1, 1, 1, 1))


def dense_block(*more: Node) -> Graph:
    """x → a; [x, a] → b; [[x, a], b] → y."""
    nodes = [
        Node("a", conv(2, 3), ("x",), "a"),
        Node("first", Concat(), ("x", "a"), "xa"),
        Node("b", conv(4, 5), ("xa",), "b"),
        Node("second", Concat(), ("xa", "b"), "xab"),
        Node("c", conv(3, 9), ("xab",), "y"),
        *more,
    ]
    return make_graph({"x": (1, 3, 6, 7)}, ["y"], nodes)


def test_what_one_concat_reads_is_placed_inside_it() -> None:
    graph = dense_block()
    assert find_parts(graph) == {"x": Part("xa", 0), "a": Part("xa", 3), "xa": Part("xab", 0), "b": Part("xab", 5)}
    program = lower(graph, X86_64_V4)
    assert program.slots == ("a", "b", "c", "input x", "output y"), "a concat takes no time"
    tensors = {each.name: each for each in program.tensors}
    plane = tensors["xab"].layout.plane
    places = [(each.at - tensors["xab"].at) / plane for each in map(tensors.get, ("x", "a", "xa", "b"))]
    assert places == [0, 3, 0, 5] and len({each.layout.pitch for each in program.tensors if each.name != "y"}) == 1


def test_a_tensor_of_two_concats_is_copied_into_the_second() -> None:
    other = [Node("third", Concat(), ("a", "x"), "ax"), Node("d", conv(3, 5), ("ax",), "d")]
    steps = [timed.step for loop in lower(dense_block(*other), X86_64_V4).loops for timed in loop.steps]
    assert sum(isinstance(step, PointwiseStep) for step in steps) == 2


def test_views_are_copied() -> None:
    nodes = [Node("i", Identity(), ("x",), "i"), Node("c", Concat(), ("i", "x"), "y")]
    assert set(find_parts(make_graph({"x": (1, 3, 4, 4)}, ["y"], nodes))) == {"y\0part0", "x"}


def test_a_concat_couples_nothing_a_sum_behind_it_does() -> None:
    assert wiring_of(dense_block()).coupled == ()
    (group,) = wiring_of(dense_block(Node("sum", Add(), ("xab", "xab"), "s"))).coupled
    assert group == {"a", "b"}


def test_dead_channels_are_found_through_a_concat() -> None:
    graph = dense_block(Node("relu", Clamp(Range(low=0.0)), ("y",), "z"))
    reader = next(node for node in graph.nodes if node.name == "c")
    weight = reader.op.weight.copy()
    weight[:, 3] = 0  # nobody but b reads the first filter of a
    weight[:, 5:7] = 0  # nobody reads the first two of b
    nodes = [node.with_op(weight=weight) if node is reader else node for node in graph.nodes]
    after = {node.name: node for node in drop_dead_channels.run(make_graph({"x": (1, 3, 6, 7)}, ["y"], nodes)).nodes}
    assert after["a"].op.weight.all() and not after["b"].op.weight[:2].any() and after["b"].op.weight[2:].all()


@pytest.mark.parametrize("axis", [1, -3])
def test_concats_of_onnx(tmp_path, axis: int) -> None:
    builder = OnnxBuilder()
    a = builder.node("Relu", builder.conv("x", (4, 3, 3, 3), pads=[1, 1, 1, 1]))
    b = builder.conv("x", (5, 3, 1, 1))
    y = builder.conv(builder.node("Concat", a, "x", b, axis=axis), (6, 12, 3, 3), pads=[1, 1, 1, 1])
    path = save(builder.model([2, 3, 9, 8], y, rank=4), tmp_path / "m.onnx")
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 8), np.float32)
    with Engine(compile_model(path, tune=None)) as engine:
        (got,) = engine.run(x)
    np.testing.assert_allclose(got, ReferenceEvaluator(str(path)).run(None, {"x": x})[0], atol=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_inputs_that_only_a_concat_reads_and_a_result_that_nobody_reads(batch: int) -> None:
    shapes = {"x": (batch, 2, 5, 4), "z": (batch, 3, 5, 4)}
    graph = make_graph(shapes, ["y"], [Node("c", Concat(), ("x", "z"), "y")])
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    with Engine(build_graph(graph, resolve_target("native"), find_compiler())) as engine:
        (got,) = engine.run(inputs)
    np.testing.assert_array_equal(got, np.concatenate(list(inputs.values()), 1))


@pytest.mark.parametrize(("inputs", "axis"), [(["x", "x"], 2), (["c", "x"], 1), (["x", "c"], 1)])
def test_concats_of_other_axes_and_of_constants(tmp_path, inputs: list[str], axis: int) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((1, 3, 4, 4), np.float32) for name in ("x", "c")}
    value, constant = helper.make_tensor_value_info, numpy_helper.from_array(arrays["c"], "c")
    node = helper.make_node("Concat", inputs, ["y"], name="joined", axis=axis)
    shape = [1, 3, 8, 4] if axis == 2 else [1, 6, 4, 4]
    ends = [value("x", TensorProto.FLOAT, [1, 3, 4, 4])], [value("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph([node], "g", *ends, [constant])
    path = save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    with Engine(compile_model(path, tune=None)) as engine:
        (got,) = engine.run(arrays["x"])
    np.testing.assert_array_equal(got, np.concatenate([arrays[name] for name in inputs], axis))
