"""ONNX reductions, softmax, normalisations and sorting, against ONNX's reference evaluator."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray
from prunemap.errors import UnsupportedError
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)


def floats(*shape: int) -> AnyArray:
    return RNG.standard_normal(shape, np.float32)


X = floats(2, 6, 4, 3)
POSITIVE = np.abs(X) + np.float32(0.1)
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


@pytest.mark.parametrize("op", REDUCTIONS)
@settings(max_examples=12)
@given(axes=st.sets(st.integers(-4, 3), max_size=4), keepdims=st.booleans(), noop=st.booleans())
def test_reductions(op: str, axes: set[int], keepdims: bool, noop: bool) -> None:
    axes = {axis % 4 - 4 * (axis % 2) for axis in axes}  # none twice, some counted from the end
    how = {"keepdims": int(keepdims), "noop_with_empty_axes": int(noop)}
    check_node(f"Reduce{op}", POSITIVE, np.int64(sorted(axes)), **how)


@pytest.mark.parametrize("how", [{}, {"axes": [-1, 1]}, {"axes": [0], "keepdims": 0}], ids=str)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_axes_were_an_attribute(op: str, how: dict[str, Any]) -> None:
    check_node(f"Reduce{op}", POSITIVE, opset=11, **how)


@pytest.mark.parametrize("op", sorted({*REDUCTIONS} - {"LogSumExp"}))  # which the reference evaluator cannot
def test_a_tensor_without_axes(op: str) -> None:
    check_node(f"Reduce{op}", np.float32(2.5))


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_booleans(op: str) -> None:
    check_node(f"Reduce{op}", X > 0.5, np.int64([1]), keepdims=0)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("how", [{}, {"axis": 0}, {"axis": 2}, {"axis": -2}], ids=str)
@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_before_and_after_its_axis_changed(op: str, how: dict[str, int], opset: int) -> None:
    if opset == 13:
        check_node(op, X, opset=13, **how)
        return
    model, fed = node_model(op, X, opset=11, **how)  # the reference evaluator takes one axis only
    first = how.get("axis", 1) % 4
    rows = X.reshape(int(np.prod(X.shape[:first])), -1)
    latest, _ = node_model(op, rows, opset=13)
    (want,) = interpret(graph_of(latest, [rows]), {"i0": rows})
    (have,) = interpret(graph_of(model, [X]), fed)
    np.testing.assert_allclose(have.reshape(rows.shape), want, rtol=1e-6)


TIES = np.float32([[1, 3, 3, 2], [2, 0, 2, 0]])


@pytest.mark.parametrize("how", [{}, {"axis": -1}, {"axis": 1, "keepdims": 0, "select_last_index": 1}], ids=str)
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_places_of_the_best(op: str, how: dict[str, int]) -> None:
    check_node(op, TIES, **how)


@pytest.mark.parametrize("how", [{}, {"largest": 0}, {"axis": 1, "sorted": 0}], ids=str)
def test_top_k(how: dict[str, int]) -> None:
    check_node("TopK", np.round(X * 2), np.int64([3]), outputs=2, **how)


@pytest.mark.parametrize("how", [{}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}], ids=str)
@pytest.mark.parametrize("axis", [1, -1])
def test_cumulative_sums(axis: int, how: dict[str, int]) -> None:
    check_node("CumSum", X, np.int64(axis), **how)


LARGE = RNG.integers(-(2**31), 2**31, (3, 4, 50)).astype(np.int32)
"""Most are not fp32 numbers; some differ only in their last bits."""
LARGE[:, :, 10:] = LARGE[:, :, :1] // 9 * 9 + RNG.integers(0, 9, (3, 4, 40), np.int32)


@pytest.mark.parametrize("x", [LARGE, LARGE % 3, np.full_like(LARGE, -(2**31))], ids=["any", "small", "least"])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin", "ReduceMax", "ReduceMin"])
def test_integers_are_compared_exactly(op: str, x: AnyArray) -> None:
    for last in (0, 1):
        how = {"axis": 2, "select_last_index": last} if op.startswith("Arg") else {"axes": [2]}
        check_node(op, x, opset=13, keepdims=0, **how)


@pytest.mark.parametrize("x", [LARGE // 50, LARGE // 2**16], ids=["large", "small"])
def test_integers_are_added_exactly(x: AnyArray) -> None:
    small = x // 2**9
    check_node("ReduceSum", x, np.int64([2]))
    check_node("ReduceL1", x, np.int64([2]))
    check_node("ReduceSumSquare", small // 2**8, np.int64([0, 2]))
    check_node("CumSum", x, np.int64(2), exclusive=1)
    check_node("CumSum", x, np.int64(2), reverse=1)


SQUARE = floats(6, 6, 4, 3)
"""As many images as channels: of others the reference evaluator does not normalise all channels."""
NORMS: list[tuple[str, list[AnyArray], dict[str, Any]]] = [
    ("InstanceNormalization", [X, floats(6), floats(6)], {"epsilon": 0.01}),
    ("InstanceNormalization", [X[0], floats(4 + 2)[:4], floats(4)], {"computed": (0, 1, 2)}),
    ("LayerNormalization", [X, floats(3)], {}),
    ("LayerNormalization", [X, floats(4, 3), floats(3)], {"axis": 2, "epsilon": 0.1, "outputs": 3}),
    ("LayerNormalization", [X, floats(6, 4, 3), floats(6, 1, 1)], {"axis": -3, "computed": (0, 1, 2)}),
    ("GroupNormalization", [X, floats(6), floats(6)], {"num_groups": 2, "opset": 21}),
    ("GroupNormalization", [X[..., 0], floats(6), floats(6)], {"num_groups": 3, "computed": (0, 1), "opset": 21}),
    ("RMSNormalization", [X, floats(3)], {"opset": 23}),
    ("RMSNormalization", [X, floats(4, 3)], {"opset": 23, "axis": 2, "epsilon": 0.1}),
    ("MeanVarianceNormalization", [X], {}),
    ("MeanVarianceNormalization", [X[0]], {"axes": [0, -1]}),
    ("LpNormalization", [X], {}),
    ("LpNormalization", [np.abs(X)], {"axis": 1, "p": 1}),  # of signed values the reference sums no magnitudes
    ("LRN", [SQUARE], {"size": 3}),
    ("LRN", [SQUARE], {"size": 4, "alpha": 0.5, "beta": 0.6, "bias": 2.0}),
]


@pytest.mark.parametrize(("op", "inputs", "how"), NORMS, ids=lambda each: re.sub(r"\W+", "_", str(each))[:40])
def test_normalisations(op: str, inputs: list[AnyArray], how: dict[str, Any]) -> None:
    check_node(op, *inputs, **how)


def test_the_norm_of_zeros() -> None:
    x = np.float32([[0, 0], [3, 4]])
    model, fed = node_model("LpNormalization", x)
    (y,) = interpret(graph_of(model, [x]), fed)
    np.testing.assert_allclose(y, [[0, 0], [0.6, 0.8]], rtol=1e-6)


REFUSED: list[tuple[str, list[AnyArray], dict[str, Any], str]] = [
    ("ReduceSum", [X, np.int64([4])], {}, "axis 4 of 4"),
    ("ReduceSum", [X, np.int64([1])], {"computed": (0, 1)}, "its axes is computed"),
    ("ReduceSum", [np.ones(9000, np.int32)], {}, "a sum of 9000 integers"),
    ("ReduceMean", [LARGE], {}, "mean of integers"),
    ("Softmax", [LARGE], {}, "are i32; f32 is supported"),
    ("TopK", [X, np.int64([9])], {"outputs": 2}, "k is 9, allowed is 1 to 3"),
    ("LpNormalization", [X], {"p": 3}, "p is 3"),
    ("InstanceNormalization", [X, floats(5), floats(5)], {}, r"shape \[5\], \[6\] is supported"),
]


@pytest.mark.parametrize(("op", "inputs", "how", "why"), REFUSED, ids=lambda each: re.sub(r"\W+", "_", str(each))[:30])
def test_what_is_refused(op: str, inputs: list[AnyArray], how: dict[str, Any], why: str) -> None:
    model, _ = node_model(op, *inputs, **how)
    with pytest.raises(UnsupportedError, match=why):
        graph_of(model, [X] * len(model.graph.output))
