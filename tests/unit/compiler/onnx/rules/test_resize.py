"""Resize and Upsample, against ONNX's reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Interpolate, Remap
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)
TRANSFORMATIONS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
MODES = ("nearest", "linear", "cubic")
ROI = np.float32([0, 0, 0.2, -0.1, 1, 1, 0.7, 1.3])


def image(height: int = 5, width: int = 4) -> AnyArray:
    return RNG.standard_normal((1, 2, height, width), np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("size", [(1, 2, 9, 6), (1, 2, 3, 9), (1, 2, 5, 9), (1, 2, 1, 1)], ids=str)
def test_sizes(mode: str, transformation: str, size: tuple[int, ...]) -> None:
    how = {"mode": mode, "coordinate_transformation_mode": transformation, "extrapolation_value": 3.5}
    check_node("Resize", image(), ROI, None, np.asarray(size), **how)


@given(
    mode=st.sampled_from(MODES),
    transformation=st.sampled_from(TRANSFORMATIONS[:5]),
    rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
    scales=st.tuples(*[st.sampled_from([0.5, 0.6, 1.0, 1.3, 2.0, 3.0])] * 2),
    exclude=st.booleans(),
    antialias=st.booleans(),
)
@settings(max_examples=80)
def test_scales(
    mode: str, transformation: str, rounding: str, scales: tuple[float, float], exclude: bool, antialias: bool
) -> None:
    if mode == "nearest":
        scales = (round(2 * scales[0]) / 2, round(2 * scales[1]) / 2)  # no ties that only rounding decides
    if transformation == "half_pixel_symmetric":
        scales = (0.5, 3.0)  # others hit elements but for the evaluator's rounding, which then takes another one
    how = {
        "mode": mode,
        "coordinate_transformation_mode": transformation,
        "nearest_mode": rounding,
        "exclude_outside": int(exclude and mode != "nearest"),
        "antialias": int(antialias and mode != "nearest"),
        "cubic_coeff_a": -0.5,
    }
    graph = check_node("Resize", image(8, 6), None, np.float32([1, 1, *scales]), **how)
    changed = sum(scale != 1 for scale in scales)
    if mode != "nearest":
        assert sum(isinstance(node.op, Interpolate) for node in graph.nodes) == changed
    else:
        assert sum(isinstance(node.op, Remap) for node in graph.nodes) <= 1


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("mode", MODES)
def test_sizes_of_some_axes(policy: str, mode: str) -> None:
    how = {"axes": [3, 2], "keep_aspect_ratio_policy": policy, "mode": mode}
    check_node("Resize", image(), None, None, np.asarray([7, 8]), **how)


def test_volumes_and_integers() -> None:
    check_node(
        "Resize", RNG.standard_normal((1, 1, 2, 3, 2), np.float32), None, np.float32([1, 1, 2, 1.5, 2]), mode="linear"
    )
    check_node("Resize", np.arange(12).reshape(3, 4), None, np.float32([2, 0.5]))


@pytest.mark.parametrize(("op", "opset"), [("Resize", 10), ("Upsample", 9)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_older_opsets_are_asymmetric(op: str, opset: int, mode: str) -> None:
    x, scales = image(), np.float32([1, 1, 2, 3])
    model, fed = node_model(op, x, scales, opset=opset, mode=mode)
    (y,) = interpret(graph_of(model, [x]), fed)
    if mode == "nearest":
        np.testing.assert_array_equal(y, x.repeat(2, 2).repeat(3, 3))
    else:
        np.testing.assert_array_equal(y[:, :, ::2, ::3], x)
        np.testing.assert_allclose(y[:, :, 1, 0], (x[:, :, 0, 0] + x[:, :, 1, 0]) / 2, rtol=1e-6)
        np.testing.assert_array_equal(y[:, :, 9], y[:, :, 8])


@pytest.mark.parametrize(
    ("op", "opset", "places"), [("Resize", 13, [0, 1, 3, 5, 6, 8]), ("Resize", 10, [0, 2, 4, 5, 7, 9])]
)
def test_scales_that_fp32_does_not_hold(op: str, opset: int, places: list[int]) -> None:
    """3 / 0.6 is 5, although 0.6 in fp32 is a bit more than that. Opset 10 rounds up where it shrinks."""
    x, scales = np.arange(10, dtype=np.float32), np.float32([0.6])
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if opset > 10 else {}
    model, fed = node_model(op, x, *(() if opset == 10 else (None,)), scales, opset=opset, **how)
    (y,) = interpret(graph_of(model, [x]), fed)
    assert list(y) == places
