"""Passes over general ops: what they join, what they leave alone, and that the meaning stays."""

from __future__ import annotations

import numpy as np
import pytest

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import Constant, Conv, Elementwise, Graph, Linear, Node, Op, Remap, Reshape
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.passes import (
    drop_unused,
    elementwise_on_pixels,
    fold_pads,
    fold_vectors,
    fuse_elementwise,
    join_remaps,
    tokens_to_pixels,
)

SHAPES = {"x": (3, 4), "y": (3, 4), "row": (4,), "long": (2, 8, 4)}


def chain(*steps: tuple[Op, tuple[str, ...]], outputs: tuple[str, ...] = ()) -> Graph:
    """Nodes n0, n1, … that make t0, t1, …; the last is an output."""
    nodes = [Node(f"n{i}", op, inputs, f"t{i}") for i, (op, inputs) in enumerate(steps)]
    return make_graph(SHAPES, (nodes[-1].output, *outputs), nodes)


def same_meaning(before: Graph, after: Graph, rtol: float = 0) -> None:
    rng = np.random.default_rng(0)
    inputs = {name: rng.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}
    for want, got in zip(interpret(before, inputs), interpret(after, inputs), strict=True):
        np.testing.assert_allclose(got, want, rtol=rtol)


ADD, MUL = Elementwise(("add", 0, 1)), Elementwise(("mul", 0, 1))
TURN = Remap((1, 0), (np.arange(4), np.arange(3)))
TURN_BACK = Remap((1, 0), (np.arange(3), np.arange(4)))
TURN_SQUARE = Remap((1, 0), (np.arange(2), np.arange(2)))
CUT = Remap((0, 1), (np.array([1, -1]), np.array([2, 0])), fill=5.0)
OTHER_FILL = Remap((0, 1), (np.array([-1, 0]), np.array([1])), fill=1.0)


def test_elementwise_ops_are_fused_into_one() -> None:
    graph = chain((ADD, ("x", "row")), (Elementwise(("tanh", 0)), ("t0",)), (MUL, ("y", "t1")), (MUL, ("t2", "t2")))
    fused = fuse_elementwise.run(graph)
    assert [node.name for node in fused.nodes] == ["n3"] and fused.nodes[0].inputs == ("y", "x", "row")
    same_meaning(graph, fused)


@pytest.mark.parametrize(
    ("graph", "left"),
    [
        (chain((Elementwise(("tanh", 0)), ("row",)), (ADD, ("x", "t0"))), 2),  # it would be computed for every row
        (chain((Elementwise(("tanh", 0)), ("x",)), (ADD, ("y", "t0")), outputs=("t0",)), 2),
        (chain((Elementwise(("tanh", 0)), ("x",)), (ADD, ("y", "t0")), (MUL, ("t0", "t1"))), 2),
        (chain((MUL, ("x", "x")), *((MUL, (f"t{i}", f"t{i}")) for i in range(9))), 2),  # 1,023 products in one
    ],
    ids=["broadcast", "output", "read twice", "too long"],
)
def test_elementwise_ops_that_stay_apart(graph: Graph, left: int) -> None:
    fused = fuse_elementwise.run(graph)
    assert len(fused.nodes) == left
    same_meaning(graph, fused)


@pytest.mark.parametrize(
    ("steps", "left"),
    [((TURN, TURN_BACK), 1), ((TURN, CUT, TURN_SQUARE), 1), ((CUT, OTHER_FILL), 2), ((CUT, TURN_SQUARE), 1)],
)
def test_remaps_are_joined(steps: tuple[Remap, ...], left: int) -> None:
    graph = chain(*((op, (f"t{i - 1}" if i else "x",)) for i, op in enumerate(steps)))
    joined = join_remaps.run(graph)
    assert len(joined.nodes) == left
    same_meaning(graph, joined)


def test_unused_nodes_are_dropped() -> None:
    graph = chain((ADD, ("x", "y")), (MUL, ("t0", "y")), (Elementwise(("tanh", 0)), ("x",)))
    kept = drop_unused.run(graph)
    assert [node.name for node in kept.nodes] == ["n2"]
    same_meaning(graph, kept)


def padded(rows: tuple[int, ...], columns: tuple[int, ...], fill: float = 0.0, *, is_output: bool = False) -> Graph:
    """A remap of a 3 x 4 map by tables for its rows and columns, and a conv on the result."""
    tables = (np.arange(1), np.arange(2), np.array(rows), np.array(columns))
    pad = Node("pad", Remap((0, 1, 2, 3), tables, fill), ("x",), "padded")
    weight = np.arange(1, 37, dtype=np.float32).reshape(2, 2, 3, 3)
    conv = Node("conv", Conv(weight, np.ones(2, np.float32), (2, 1), (1, 0, 0, 1)), ("padded",), "y")
    return make_graph({"x": (1, 2, 3, 4)}, ["y", *(["padded"] if is_output else [])], [pad, conv])


def test_zeros_around_a_map_become_padding() -> None:
    graph = padded((-1, 0, 1, 2), (-1, -1, 0, 1, 2, 3, -1))
    (conv,) = fold_pads.run(graph).nodes
    assert isinstance(conv.op, Conv) and conv.op.pads == (2, 2, 0, 2) and conv.inputs == ("x",)
    x = {"x": np.random.default_rng(0).standard_normal((1, 2, 3, 4), np.float32)}
    np.testing.assert_allclose(interpret(fold_pads.run(graph), x)[0], interpret(graph, x)[0], rtol=1e-6)
    kept = fold_pads.run(padded((0, 1, 2, -1), (0, 1, 2, 3), is_output=True))
    assert [node.inputs for node in kept.nodes] == [("x",), ("x",)]


@pytest.mark.parametrize(
    "graph",
    [
        padded((-1, 0, 1, 2), (0, 1, 2, 3), fill=1.0),
        padded((-1, 0, 1), (0, 1, 2, 3)),
        padded((1, 0, 1, 2), (0, 1, 2, 3)),
        padded((0, -1, 1, 2), (0, 1, 2, 3)),
    ],
    ids=["another fill", "cut off", "reflected", "between"],
)
def test_pads_that_are_no_halo_stay(graph: Graph) -> None:
    assert [node.name for node in fold_pads.run(graph).nodes] == ["pad", "conv"]


@pytest.mark.parametrize(("items", "density", "is_conv"), [(16, 0.3, True), (15, 0.3, False), (40, 0.9, False)])
def test_sparse_layers_on_many_items_run_as_convs(items: int, density: float, is_conv: bool) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((6, 10), np.float32) * (rng.permutation(60).reshape(6, 10) < 60 * density)
    layer = Linear(weight.astype(np.float32), rng.standard_normal(6, np.float32))
    graph = make_graph({"x": (items, 10)}, ["y"], [Node("layer", layer, ("x",), "y")])
    made = tokens_to_pixels.run(graph)
    layers = [node for node in made.nodes if node.name == "layer"]
    assert isinstance(layers[0].op, Conv) == is_conv and made.shapes["y"] == (items, 6)
    x = {"x": rng.standard_normal((items, 10), np.float32)}
    np.testing.assert_allclose(interpret(made, x)[0], interpret(graph, x)[0], rtol=1e-5, atol=1e-6)


def vector_graph(function: str, vector: np.ndarray, *, read_twice: bool = False) -> Graph:
    """Reshaped tokens of a linear layer with 4 outputs, and what is done with them."""
    rng = np.random.default_rng(0)
    layer = Linear(rng.standard_normal((4, 4), np.float32), rng.standard_normal(4, np.float32))
    steps: list[tuple[Op, tuple[str, ...]]] = [
        (layer, ("x",)),
        (Reshape((1, 3, 4)), ("t0",)),
        (Constant(vector), ()),
        (Elementwise((function, 1, 0)), ("t2", "t1")),
        (Reshape((3, 4)), ("t1" if read_twice else "t3",)),
    ]
    return chain(*steps, outputs=("t3",))


@pytest.mark.parametrize("function", ["add", "mul"])
@pytest.mark.parametrize("shape", [(4,), (1, 1, 4)])
def test_a_vector_behind_a_linear_layer_folds_into_it(function: str, shape: tuple[int, ...]) -> None:
    graph = vector_graph(function, np.arange(1, 5, dtype=np.float32).reshape(shape))
    folded = fold_vectors.run(graph)
    assert [type(node.op) for node in folded.nodes] == [Linear, Reshape, Reshape]
    same_meaning(graph, folded, rtol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        vector_graph("add", np.ones(1, np.float32)),
        vector_graph("add", np.ones((3, 4), np.float32)),
        vector_graph("add", np.ones((1, 1, 1, 4), np.float32)),
        vector_graph("sub", np.ones(4, np.float32)),
        vector_graph("add", np.ones(4, np.float32), read_twice=True),
    ],
    ids=["one number", "matrix", "another rank", "another function", "read twice"],
)
def test_what_is_not_one_value_per_output_stays(graph: Graph) -> None:
    folded = fold_vectors.run(graph)
    assert len(folded.nodes) == len(graph.nodes)
    same_meaning(graph, folded)


def two_sparse_layers(between: Op, *, output: bool = False) -> Graph:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((4, 4), np.float32) * (np.arange(4) < 2)
    layer = Linear(weight, np.ones(4, np.float32))
    graph = chain(
        (Reshape((16, 4)), ("long",)), (layer, ("t0",)), (Reshape((1, 16, 4)), ("t1",)), (between, ("t2",)),
        (Reshape((16, 4)), ("t3",)), (layer, ("t4",)), outputs=("t3",) if output else (),
    )  # fmt: skip
    return tokens_to_pixels.run(graph)


def test_an_elementwise_op_between_pruned_layers_works_on_pixels() -> None:
    graph = two_sparse_layers(Elementwise(("tanh", 0)))
    fewer = elementwise_on_pixels.run(graph)
    turns = [sum(isinstance(node.op, Remap) for node in each.nodes) for each in (graph, fewer)]
    assert turns == [4, 2] and len(fewer.nodes) == len(graph.nodes) - 6
    same_meaning(graph, fewer)


def test_what_others_see_stays_tokens() -> None:
    graph = two_sparse_layers(Elementwise(("tanh", 0)), output=True)
    assert len(elementwise_on_pixels.run(graph).nodes) == len(graph.nodes)
