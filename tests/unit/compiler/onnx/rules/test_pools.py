"""ONNX pools, against ONNX's reference evaluator, and where it does not follow the documentation against torch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, WindowPool
from prunemap.errors import UnsupportedError
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)
SIZES = {1: (9,), 2: (9, 8), 3: (6, 7, 5)}


def values(*shape: int) -> AnyArray:
    return RNG.standard_normal((2, 3, *shape), np.float32)


windows = st.integers(1, 3).flatmap(
    lambda axes: st.fixed_dictionaries(
        {
            "kernel_shape": st.lists(st.integers(1, 3), min_size=axes, max_size=axes),
            "strides": st.lists(st.integers(1, 3), min_size=axes, max_size=axes),
            "dilations": st.lists(st.integers(1, 2), min_size=axes, max_size=axes),
        }
    )
)


def half_the_kernel(window: dict[str, list[int]]) -> list[int]:
    """The largest pads that torch allows."""
    return [size // 2 for size in window["kernel_shape"]]


@given(window=windows, ceil_mode=st.booleans(), by_column=st.booleans())
@settings(max_examples=40)
def test_max_pools_and_their_places(window: dict[str, list[int]], ceil_mode: bool, by_column: bool) -> None:
    axes = len(window["strides"])
    x, pads = values(*SIZES[axes]), half_the_kernel(window)
    how = {"pads": pads * 2, "ceil_mode": int(ceil_mode), "storage_order": int(by_column)}
    model, fed = node_model("MaxPool", x, outputs=2, **window, **how)
    pool = (torch.nn.MaxPool1d, torch.nn.MaxPool2d, torch.nn.MaxPool3d)[axes - 1]
    largest, places = pool(
        window["kernel_shape"], window["strides"], pads, window["dilations"], return_indices=True, ceil_mode=ceil_mode
    )(torch.from_numpy(x))
    got = interpret(graph_of(model, [x, np.zeros(x.shape, np.int64)]), fed)
    np.testing.assert_array_equal(got[0], largest.numpy())
    np.testing.assert_array_equal(got[1], in_the_batch(places.numpy(), SIZES[axes], by_column))


def in_the_batch(places: AnyArray, size: tuple[int, ...], by_column: bool) -> AnyArray:
    """Turn torch's places in a plane into ONNX's in the flattened batch."""
    if by_column:
        places = np.ravel_multi_index(np.unravel_index(places, size), size, order="F")
    planes = np.arange(6).reshape(2, 3, *(1,) * len(size))
    return planes * np.prod(size) + places


@given(window=windows, count=st.booleans())
@settings(max_examples=40)
def test_average_pools(window: dict[str, list[int]], count: bool) -> None:
    x = values(*SIZES[len(window["strides"])])
    how = {"pads": half_the_kernel(window) * 2, "count_include_pad": int(count)}
    check_node("AveragePool", x, **window, **how)


@given(window=windows, count=st.booleans())
@settings(max_examples=40)
def test_averages_of_windows_over_the_end(window: dict[str, list[int]], count: bool) -> None:
    """The reference evaluator moves such windows to the middle, torch and ONNX's documentation do not."""
    axes = len(window["strides"])
    x, pads = values(*SIZES[axes]), half_the_kernel(window)
    how = {"kernel_shape": window["kernel_shape"], "strides": window["strides"], "pads": pads * 2}
    model, fed = node_model("AveragePool", x, **how, ceil_mode=1, count_include_pad=int(count))
    pool = (torch.nn.AvgPool1d, torch.nn.AvgPool2d, torch.nn.AvgPool3d)[axes - 1]
    want = pool(window["kernel_shape"], window["strides"], pads, ceil_mode=True, count_include_pad=count)
    expected = want(torch.from_numpy(x)).numpy()
    (got,) = interpret(graph_of(model, [x]), fed)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "auto_pad"),
    [
        *product(("AveragePool", "LpPool"), ("SAME_UPPER", "SAME_LOWER", "VALID")),
        *product(("MaxPool",), ("SAME_UPPER", "VALID")),  # the reference evaluator takes SAME_LOWER for SAME_UPPER
    ],
)
def test_auto_pad(op: str, auto_pad: str) -> None:
    check_node(op, values(9), kernel_shape=[4], strides=[3], auto_pad=auto_pad)
    check_node(op, values(6, 6, 4), kernel_shape=[2, 3, 2], strides=[2, 1, 2], auto_pad=auto_pad)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("pads", [(3, 0), (0, 3), (2, 2)])
def test_windows_in_the_padding_alone(op: str, axes: int, pads: tuple[int, int]) -> None:
    """The kernels of maps read the rows that a window has on the map: such pools are general ones."""
    counted = {} if op == "MaxPool" else {"count_include_pad": 1}
    how = {"kernel_shape": [2] * axes, "strides": [1] * axes, "pads": [pads[0]] * axes + [pads[1]] * axes, **counted}
    x = values(*SIZES[axes])
    model, fed = node_model(op, x, **how)
    graph = graph_of(model, [x])
    assert [type(node.op) for node in graph.nodes] == [WindowPool]
    empty = -np.inf if op == "MaxPool" else 0
    padded = np.pad(x, [(0, 0), (0, 0), *[pads] * axes], constant_values=empty)
    each = np.lib.stride_tricks.sliding_window_view(padded, (2,) * axes, tuple(range(2, 2 + axes)))
    reduce = np.max if op == "MaxPool" else np.mean
    np.testing.assert_allclose(interpret(graph, fed)[0], reduce(each, axis=tuple(range(-axes, 0))), atol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms(p: int) -> None:
    check_node("LpPool", values(7, 8), p=p, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], dilations=[1, 2])


@pytest.mark.parametrize("op", ["GlobalMaxPool", "GlobalAveragePool"])
def test_global_pools(op: str) -> None:
    check_node(op, values(4, 5))
    model, fed = node_model(op, values(3, 4, 5))
    (got,) = interpret(graph_of(model, [*fed.values()]), fed)
    reduce = np.max if op == "GlobalMaxPool" else np.mean
    np.testing.assert_allclose(got, reduce(fed["i0"], axis=(2, 3, 4), keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_norms(p: int) -> None:
    model, fed = node_model("GlobalLpPool", values(3, 4), p=p)
    (got,) = interpret(graph_of(model, [*fed.values()]), fed)
    np.testing.assert_allclose(got, (np.abs(fed["i0"]) ** p).sum((2, 3), keepdims=True) ** (1 / p), rtol=1e-5)


def test_pools_over_more_than_three_axes_are_refused() -> None:
    model, fed = node_model("MaxPool", values(2, 2, 2, 2), kernel_shape=[1, 1, 1, 1])
    with pytest.raises(UnsupportedError, match="a pool over 4 axes, up to 3 are supported"):
        graph_of(model, [*fed.values()])
