"""ONNX nodes that move elements, against ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.graph.ir import AnyArray, Gather, Graph, Remap
from prunemap.errors import UnsupportedError
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)


def values(*shape: int) -> AnyArray:
    return RNG.standard_normal(shape, np.float32)


def ops_of(graph: Graph) -> list[str]:
    return [type(node.op).__name__ for node in graph.nodes]


def integers(*numbers: int) -> AnyArray:
    return np.asarray(numbers, np.int64)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("computed", [(0, 1), (0, 2), (1,)], ids=str)
def test_concat_of_computed_and_constant_inputs(axis: int, computed: tuple[int, ...]) -> None:
    parts = [values(*(size + i * (place == axis % 3) for place, size in enumerate((2, 3, 4)))) for i in range(3)]
    assert ops_of(check_node("Concat", *parts, computed=computed, axis=axis)).count("Join") == 1


def test_empty_constants_are_left_out_of_a_concat() -> None:
    graph = check_node("Concat", np.zeros((0, 3), np.float32), values(2, 3), values(1, 3), computed=(1, 2), axis=0)
    assert ops_of(graph) == ["Join"]


@pytest.mark.parametrize(
    ("inputs", "how"),
    [
        ((), {"num_outputs": 3}),
        ((integers(1, 4, 2),), {}),
        ((), {"opset": 11, "split": [5, 1, 1]}),
        ((integers(1, 4, 2),), {"opset": 13}),
    ],
    ids=str,
)
def test_split(inputs: Sequence[AnyArray], how: dict[str, object]) -> None:
    check_node("Split", values(2, 7), *inputs, axis=1, outputs=3, **how)


BOUNDS = st.integers(-9, 9) | st.sampled_from([np.iinfo(np.int64).max, np.iinfo(np.int64).min + 1])


@given(st.lists(st.tuples(BOUNDS, BOUNDS, st.sampled_from([-3, -2, -1, 1, 2, 5])), min_size=1, max_size=3))
@settings(max_examples=60)
def test_slice(cuts: list[tuple[int, int, int]]) -> None:
    x = values(5, 6, 4)
    starts, ends, steps = (integers(*column) for column in zip(*cuts, strict=True))
    axes = integers(*range(-len(cuts), 0))
    if x[(..., *(slice(*cut) for cut in cuts))].size:
        check_node("Slice", x, starts, ends, axes, steps)


def test_slice_by_attributes() -> None:
    check_node("Slice", values(5, 6, 4), opset=9, starts=[1, -3], ends=[4, 99], axes=[0, 2])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str) -> None:
    graph = check_node("Pad", values(4, 3, 5), integers(1, 0, 2, 3, 2, 0), opset=19, mode=mode)
    assert ops_of(graph) == ["Remap"]
    check_node("Pad", values(4, 3, 5), integers(2, 1, 0, 2), None, integers(-1, 0), opset=19, mode=mode)


def test_pads_with_a_value() -> None:
    check_node("Pad", values(2, 3), integers(0, 1, 2, 0), np.float32(1.5))
    check_node("Pad", values(2, 3), opset=9, pads=[0, 1, 2, 0], value=-2.0)
    check_node("Pad", np.arange(6).reshape(2, 3), integers(0, 1, 2, 0), np.int64(7))


def test_negative_pads_cut() -> None:
    x = values(4, 6)
    model, _ = node_model("Pad", x, integers(-1, 2, 1, -3))
    remap = graph_of(model, [x]).nodes[0].op
    assert isinstance(remap, Remap)
    assert [list(table) for table in remap.tables] == [[1, 2, 3, -1], [-1, -1, 0, 1, 2]]


def test_transpose() -> None:
    assert ops_of(check_node("Transpose", values(2, 3, 4, 5), perm=[2, 0, 3, 1])) == ["Remap"]
    check_node("Transpose", values(2, 3, 4))
    check_node("Transpose", np.arange(6).reshape(2, 3) > 2)


@pytest.mark.parametrize("wanted", [(4, -1), (0, 0, 2, -1), (24,), (2, 3, 4, 1, 1), (6, 4, 1, 1), (-1, 3)], ids=str)
def test_reshape(wanted: tuple[int, ...]) -> None:
    check_node("Reshape", values(2, 3, 4), integers(*wanted))
    check_node("Reshape", values(2, 3, 2, 2), integers(*wanted))


@pytest.mark.parametrize("axis", [-2, 0, 1, 3])
def test_flatten(axis: int) -> None:
    check_node("Flatten", values(2, 3, 4), axis=axis)


def test_squeeze_and_unsqueeze() -> None:
    check_node("Squeeze", values(1, 3, 1, 4))
    check_node("Squeeze", values(1, 3, 1, 4), integers(-2))
    check_node("Squeeze", values(1, 3, 1, 4), opset=11, axes=[0])
    check_node("Unsqueeze", values(3, 4), integers(3, 0, -3))
    check_node("Unsqueeze", values(3, 4), opset=11, axes=[1])
    check_node("Unsqueeze", np.asarray(2, np.float32), integers(0))


def test_expand_and_tile() -> None:
    check_node("Expand", values(3, 1, 4), integers(2, 1, 5, 1))
    check_node("Expand", values(3, 4), integers(1))
    check_node("Tile", values(2, 3), integers(3, 2))


@pytest.mark.parametrize("axis", [0, -2, 2])
@pytest.mark.parametrize("indices", [np.asarray(-1), integers(0, 2, -3), integers(1, 0, 2, -1).reshape(2, 2)], ids=str)
def test_gather(axis: int, indices: AnyArray) -> None:
    known = check_node("Gather", values(3, 4, 3), indices, axis=axis)
    computed = check_node("Gather", values(3, 4, 3), indices, axis=axis, computed=(0, 1))
    table = check_node("Gather", values(3, 4, 3), indices, axis=axis, computed=(1,))
    assert any(isinstance(node.op, Remap) for node in known.nodes)
    assert all(any(isinstance(node.op, Gather) for node in graph.nodes) for graph in (computed, table))


def test_gather_of_what_is_not_there() -> None:
    model, fed = node_model("Gather", values(3, 4), integers(3))
    with pytest.raises(UnsupportedError, match="it picks from 3 to 3 of 3"):
        graph_of(model, [*fed.values()])


@pytest.mark.parametrize("computed", [(0,), (0, 1)], ids=str)
def test_gather_elements_and_tuples(computed: tuple[int, ...]) -> None:
    check_node("GatherElements", values(3, 4), RNG.integers(-4, 4, (3, 2)), computed=computed, axis=1)
    check_node("GatherND", values(3, 4, 2), RNG.integers(-3, 3, (5, 2)), computed=computed)
    check_node("GatherND", values(3, 4, 2), RNG.integers(-4, 4, (3, 2, 1)), computed=computed, batch_dims=1)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter(reduction: str) -> None:
    places = integers(4, 0, 2).reshape(3, 1)
    check_node("ScatterND", values(5, 3), places, values(3, 3), computed=(0, 2), reduction=reduction)
    places = integers(1, 0, 2, 3, 0, 1).reshape(2, 3)
    check_node("ScatterElements", values(4, 3), places, values(2, 3), computed=(0, 1, 2), reduction=reduction)
    check_node("ScatterElements", values(3, 4), places.T, values(3, 2), computed=(2,), axis=1, reduction=reduction)
    whole = integers(10, 0, 30, 0), integers(1, 3).reshape(2, 1), integers(21, 42)
    check_node("ScatterND", *whole, computed=(0, 2), reduction=reduction)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    check_node("DepthToSpace", values(2, 12, 3, 4), blocksize=2, mode=mode)


def test_space_to_depth_undoes_depth_to_space() -> None:
    check_node("SpaceToDepth", values(2, 3, 6, 4), blocksize=2)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-2, 0, 1, 7])
def test_trilu(upper: int, k: int) -> None:
    x = values(2, 3, 4)
    x[0, 0] = np.nan  # a product with a mask would keep it
    check_node("Trilu", x, np.asarray(k), upper=upper)
    check_node("Trilu", np.arange(12).reshape(3, 4), np.asarray(k), upper=upper)
