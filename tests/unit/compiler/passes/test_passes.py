"""Every pass leaves the interpreter's output unchanged, and does what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import (
    ANY,
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Elementwise,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Node,
    Op,
    Range,
    Remap,
    Reshape,
)
from prunemap.compiler.graph.printer import print_graph
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.graph.verify import verify_graph
from prunemap.compiler.passes import PIPELINE, drop_dead_channels, optimise
from prunemap.errors import InternalError
from tests.networks import weight

CHANNELS = 4


def make_op(name: str, rng: np.random.Generator) -> Op:
    vector = rng.standard_normal(CHANNELS, np.float32)
    return {
        "conv": Conv(weight(rng, CHANNELS, CHANNELS, 3, 3), vector, pads=(1, 1, 1, 1)),
        "filters": Conv(weight(rng, CHANNELS, CHANNELS, 3, 3, scheme="filter"), -np.abs(vector), pads=(1, 1, 1, 1)),
        "columns": Conv(weight(rng, CHANNELS, CHANNELS, 1, 1, scheme="column"), vector),
        "groups": Conv(
            weight(rng, CHANNELS, CHANNELS // 2, 3, 3, scheme="filter"), vector, pads=(1, 1, 1, 1), groups=2
        ),
        "depthwise": Conv(weight(rng, CHANNELS, 1, 3, 3, scheme="filter"), vector, pads=(1, 1, 1, 1), groups=CHANNELS),
        "pointwise": Conv(weight(rng, CHANNELS, CHANNELS, 1, 1), vector),
        "affine": Affine(vector, vector[::-1].copy()),
        "relu": Clamp(Range(low=0.0)),
        "relu6": Clamp(Range(0.0, 6.0)),
        "identity": Identity(),
        "max": MaxPool((3, 3), (1, 1), (1, 1, 1, 1)),
        "mean": AveragePool((3, 3), (1, 1), (1, 1, 1, 1)),
        "padded mean": AveragePool((3, 3), (1, 1), (1, 1, 1, 1), count_pads=True),
        "add": Add(),
        "concat": Conv(weight(rng, CHANNELS, 3 * CHANNELS, 1, 1, scheme="column"), vector),  # behind the concat
        "silu": Elementwise(("mul", 0, ("sigmoid", 0))),
        "gate": Elementwise(("mul", 0, ("sigmoid", 1))),
        "swap": Remap((0, 1, 2, 3), (np.arange(2), np.asarray([2, 0, 3, 1]), np.arange(5), np.arange(4))),
        "halves": Remap((0, 1, 2, 3), (np.arange(2), np.asarray([0, 1, 0, -1]), np.arange(5), np.arange(4))),
    }[name]


NAMES = (
    *("conv", "filters", "columns", "groups", "depthwise", "pointwise", "affine", "relu", "relu6", "identity"),
    *("max", "mean", "padded mean", "add", "concat", "silu", "gate", "swap", "halves", "shuffle"),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Chains of ops with sums back to earlier tensors, one or two outputs, a tail of vectors or none."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    tensors, nodes = ["x"], []
    for i, name in enumerate(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=9))):
        inputs = (tensors[-1],)
        if name == "add":
            inputs = (tensors[-1], draw(st.sampled_from(tensors)))
        if name == "concat":
            parts = (tensors[-1], draw(st.sampled_from(tensors)), draw(st.sampled_from(tensors)))
            nodes.append(Node(f"c{i}", Concat(), parts, f"c{i}"))
            inputs = (f"c{i}",)
        if name == "gate":
            nodes.append(Node(f"g{i}", GlobalAveragePool(), inputs, f"g{i}"))
            inputs = (tensors[-1], f"g{i}")
        if name == "shuffle":
            nodes += [
                Node(f"a{i}", Reshape((2, 2, CHANNELS // 2, 5, 4)), inputs, f"a{i}"),
                Node(f"b{i}", Remap((0, 2, 1, 3, 4), tuple(map(np.arange, (2, 2, 2, 5, 4)))), (f"a{i}",), f"b{i}"),
                Node(f"n{i}", Reshape((2, CHANNELS, 5, 4)), (f"b{i}",), f"t{i}"),
            ]
        else:
            nodes.append(Node(f"n{i}", make_op(name, rng), inputs, f"t{i}"))
        tensors.append(f"t{i}")
    outputs = [tensors[-1]]
    if draw(st.booleans()):
        outputs.append(draw(st.sampled_from(tensors[1:-1] or tensors[1:])))
    if draw(st.booleans()):
        nodes += [
            Node("gap", GlobalAveragePool(), (tensors[-1],), "g"),
            Node("squeeze", make_op("pointwise", rng), ("g",), "s"),
            Node("flat", Flatten(), ("s",), "f"),
            Node("fc", Linear(weight(rng, 3, CHANNELS), np.ones(3, np.float32)), ("f",), "y"),
        ]
        outputs.append("y")
    return make_graph({"x": (2, CHANNELS, 5, 4)}, dict.fromkeys(outputs), nodes)


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_passes_keep_the_meaning(graph: Graph) -> None:
    x = {"x": np.random.default_rng(0).standard_normal(graph.shapes["x"], np.float32)}
    expected = interpret(graph, x)
    for each in PIPELINE:
        graph = verify_graph(each.run(graph), each.name)
        for want, got in zip(expected, interpret(graph, x), strict=True):
            scale = max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got / scale, want / scale, atol=1e-5, err_msg=f"after {each.name}")


def test_a_residual_block_becomes_two_nodes() -> None:
    rng = np.random.default_rng(0)
    names = ["conv", "affine", "relu", "conv", "affine"]
    nodes = [Node(n, make_op(n, rng), (f"t{i}",), f"t{i + 1}") for i, n in enumerate(names)]
    nodes += [Node("add", Add(), ("t0", "t5"), "s"), Node("relu", make_op("relu", rng), ("s",), "y")]
    graph = optimise(make_graph({"t0": (1, CHANNELS, 5, 4)}, ["y"], nodes))
    assert [type(node.op) for node in graph.nodes] == [Conv, Conv], print_graph(graph)
    first, second = (node.op for node in graph.nodes)
    assert isinstance(first, Conv) and isinstance(second, Conv)
    assert first.clamp == second.clamp == Range(low=0.0)
    assert graph.nodes[1].inputs == ("t3", "t0") and graph.nodes[1].output == "y"


def test_a_pruned_filter_takes_its_readers_weights_with_it() -> None:
    """Conv a loses filters 1 and 2: constants behind the relu. Nobody reads its filter 3: b has no weights for it."""
    rng = np.random.default_rng(0)
    a, b = weight(rng, 4, 3, 3, 3), weight(rng, 5, 4, 1, 1)
    a[[1, 2]], b[:, 3] = 0, 0
    bias = np.float32([1, -1, 2, 1])
    nodes = [
        Node("a", Conv(a, bias, pads=(1, 1, 1, 1), clamp=Range(low=0.0)), ("x",), "t"),
        Node("b", Conv(b, np.zeros(5, np.float32)), ("t",), "y"),
    ]
    graph = make_graph({"x": (1, 3, 5, 4)}, ["y"], nodes)
    after = drop_dead_channels.run(graph)
    first, second = (node.op for node in after.nodes)
    assert isinstance(first, Conv) and isinstance(second, Conv)
    assert not second.weight[:, 1:].any() and second.weight[:, 0].all()
    assert not first.weight[1:].any() and first.weight[0].all()
    x = {"x": rng.standard_normal((1, 3, 5, 4), np.float32)}
    np.testing.assert_allclose(interpret(after, x)[0], interpret(graph, x)[0], atol=1e-5)


def test_readers_of_an_identity_that_is_an_output_read_its_source() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        Node("one", Identity(), ("x",), "a"),
        Node("two", Identity(), ("a",), "b"),
        Node("conv", make_op("conv", rng), ("b",), "y"),
    ]
    graph = optimise(make_graph({"x": (1, CHANNELS, 5, 4)}, ["a", "b", "y"], nodes))
    assert [node.inputs for node in graph.nodes] == [("x",)] * 3, print_graph(graph)


def test_what_others_read_is_not_fused_away() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        Node("conv", make_op("conv", rng), ("x",), "a"),
        Node("relu", make_op("relu", rng), ("a",), "b"),
        Node("sum", Add(), ("a", "b"), "y"),
    ]
    graph = optimise(make_graph({"x": (1, CHANNELS, 5, 4)}, ["y"], nodes))
    assert isinstance(graph.nodes[0].op, Conv) and graph.nodes[0].op.clamp == ANY
    assert len(graph.nodes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: Graph(g.inputs, g.outputs, g.nodes[::-1], g.shapes), "before they are made"),
        (lambda g: Graph(g.inputs, ("nothing",), g.nodes, g.shapes), "outputs ['nothing'] are not made"),
        (lambda g: Graph(g.inputs, g.outputs, g.nodes, {**g.shapes, "b": (9, 9, 9, 9)}), "its op gives"),
        (lambda g: Graph(g.inputs, g.outputs, (*g.nodes, g.nodes[0]), g.shapes), "a second time"),
        (lambda g: Graph(g.inputs, g.outputs, g.nodes, g.shapes, {"x": "i32"}), "Conv of i32 is not supported"),
    ],
)
def test_illegal_graphs_are_found(change, message: str) -> None:
    rng = np.random.default_rng(0)
    nodes = [Node("conv", make_op("conv", rng), ("x",), "a"), Node("relu", make_op("relu", rng), ("a",), "b")]
    graph = make_graph({"x": (1, CHANNELS, 5, 4)}, ["b"], nodes)
    with pytest.raises(InternalError) as error:
        verify_graph(change(graph), "a test")
    assert message in str(error.value) and "after a test" in str(error.value)
