"""RESIZE_RULES: Resize and Upsample. Nearest is a Remap, linear and cubic are one Interpolate per axis that changes.

Weights are computed in double precision. Which element is the nearest is found in single precision as in ONNX Runtime:
a scale of 0.6, just above that in fp32, then still hits an element where 0.6 would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isclose
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import MAX_ELEMENTS, Interpolate
from prunemap.compiler.onnx.node import GeneralRule, NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.movement import Places, taken_at

Coordinates = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Axis:
    """One axis that is resized."""

    axis: int
    size: int
    """In the input."""
    result: int
    """In the output."""
    scale: float
    region: tuple[float, float] = (0.0, 1.0)
    """Which part of the input is resized, by tf_crop_and_resize only."""


def _coordinates(axis: _Axis, transformation: str, dtype: type[np.floating[Any]]) -> Coordinates:
    """Return where each element of the output lies on the axis of the input."""
    y, scale = np.arange(axis.result, dtype=dtype), axis.scale
    exact = scale * axis.size  # the size of the output before it is rounded
    last = axis.size - 1
    if transformation == "asymmetric":
        return y / scale
    if transformation == "align_corners":
        return np.zeros_like(y) if exact == 1 else y * last / (exact - 1)
    if transformation == "tf_crop_and_resize":
        start, end = axis.region
        if exact == 1:
            return np.full_like(y, (start + end) * last / 2)
        return start * last + y * (end - start) * last / (exact - 1)
    if transformation == "pytorch_half_pixel" and exact == 1:
        return np.full_like(y, -0.5)
    if transformation in ("half_pixel", "pytorch_half_pixel"):
        return (y + 0.5) / scale - 0.5
    if transformation == "half_pixel_symmetric":
        return axis.size / 2 * (1 - axis.result / exact) + (y + 0.5) / scale - 0.5
    raise NotTaken(f"coordinate_transformation_mode {transformation!r} is not supported")


_ROUNDING: Mapping[str, Callable[[Coordinates], NDArray[np.bool_]]] = {
    "round_prefer_floor": lambda ratio: ratio > 0.5,
    "round_prefer_ceil": lambda ratio: ratio >= 0.5,
    "floor": lambda ratio: np.zeros_like(ratio, np.bool_),
    "ceil": lambda ratio: ratio > 0,
}
"""Whether a place between two elements, by its distance from the left one, takes the right one."""


def _nearest(x: Coordinates, size: int, mode: str) -> Places:
    """Return the nearest place to each coordinate."""
    if mode not in _ROUNDING:
        raise NotTaken(f"nearest_mode {mode!r} is not supported")
    left = np.floor(x)
    places: Places = np.clip(left + _ROUNDING[mode](x - left), 0, size - 1).astype(np.int64)
    return places


def _linear(t: Coordinates) -> Coordinates:
    return np.asarray(np.maximum(1 - np.abs(t), 0))


def _cubic(t: Coordinates, a: float) -> Coordinates:
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _interpolated(node: OnnxNode, axis: _Axis, x: Coordinates) -> Interpolate:
    """Return the op that reads an axis at coordinates ``x``: sums of the elements around, by their distance."""
    attributes = node.attributes
    cubic = attributes["mode"] == b"cubic"
    narrowing = min(axis.scale, 1.0) if attributes.get("antialias", 0) else 1.0
    start = floor((-2 if cubic else -1) / narrowing) + 1
    left = np.floor(x)
    places = left + np.arange(start, 2 - start)[:, None]
    distance = (places - x) * narrowing
    weights = _cubic(distance, attributes.get("cubic_coeff_a", -0.75)) if cubic else _linear(distance)
    if attributes.get("exclude_outside", 0):
        weights = np.where((places < 0) | (places >= axis.size), 0.0, weights)
    sums = weights.sum(0)
    weights = weights / np.where(sums == 0, 1.0, sums)
    read = weights.any(1)
    inside = np.clip(places[read], 0, axis.size - 1).astype(np.int64)
    return Interpolate(axis.axis, inside, weights[read].astype(np.float32))


def _resized(node: OnnxNode, axes: Sequence[_Axis], transformation: str, rounding: str) -> str:
    """Resize all axes, one after the other, those that shrink first, rows before columns; return the result's name.

    Args:
        rounding: the nearest_mode, "" before there was one.
    """
    tensor = node.tensor()
    places = {}
    nearest = node.attributes.get("mode", b"nearest") == b"nearest"
    for axis in sorted(axes, key=lambda axis: (axis.scale, -axis.axis)):
        x = _coordinates(axis, transformation, np.float32 if nearest else np.float64)
        if nearest:
            places[axis.axis] = _nearest(x, axis.size, rounding or ("ceil" if axis.scale < 1 else "floor"))
        else:
            tensor = node.build.add(_interpolated(node, axis, x), tensor)
            places[axis.axis] = np.arange(axis.result)
        if transformation == "tf_crop_and_resize":
            places[axis.axis] = np.where((x < 0) | (x > axis.size - 1), -1, places[axis.axis])
    return taken_at(node, tensor, places, node.attributes.get("extrapolation_value", 0.0))


def _check_mode(node: OnnxNode) -> None:
    mode = node.attributes.get("mode", b"nearest")
    if mode not in (b"nearest", b"linear", b"cubic"):
        raise NotTaken(f"mode {mode.decode()!r} is not supported")
    if mode != b"nearest" and node.kind() != "f32":
        raise NotTaken(f"mode {mode.decode()!r} of {node.kind()} is not supported")


def _resize(node: OnnxNode) -> Sequence[str]:
    _check_mode(node)
    if node.opset < 11:
        axes = _scaled_axes(node, node.floats(1, "scales"), "asymmetric", range(len(node.shape())))
        return [_resized(node, axes, "asymmetric", "")]
    transformation = node.attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    listed = [node.axis(axis) for axis in node.attributes.get("axes", range(len(node.shape())))]
    if node.has(3) and node.constant(3, "sizes").size:
        axes = _sized_axes(node, node.numbers(3, "sizes") or [], transformation, listed)
    else:
        axes = _scaled_axes(node, node.floats(2, "scales"), transformation, listed)
    return [_resized(node, axes, transformation, node.attributes.get("nearest_mode", b"round_prefer_floor").decode())]


def _scaled_axes(
    node: OnnxNode, scales: NDArray[np.float32], transformation: str, listed: Sequence[int]
) -> Sequence[_Axis]:
    """Return the axes that change, by their scales; a size is rounded down after a product in fp32, as in inference."""
    if scales.shape != (len(listed),) or not (scales > 0).all() or not (scales < MAX_ELEMENTS).all():
        raise NotTaken(f"its scales {scales.tolist()} are not one positive number for each of {len(listed)} axes")
    sizes = [int(np.float32(node.shape()[axis]) * scale) for axis, scale in zip(listed, scales, strict=True)]
    return _changing(node, listed, sizes, [float(scale) for scale in scales], transformation)


def _sized_axes(node: OnnxNode, sizes: Sequence[int], transformation: str, listed: Sequence[int]) -> Sequence[_Axis]:
    """Return the axes that change, by the sizes asked for."""
    before = [node.shape()[axis] for axis in listed]
    if len(sizes) != len(before) or 0 in before:
        raise NotTaken(f"its sizes {list(sizes)} do not fit {before}")
    scales = [size / old for size, old in zip(sizes, before, strict=True)]
    policy = node.attributes.get("keep_aspect_ratio_policy", b"stretch")
    if policy != b"stretch":
        scale = min(scales) if policy == b"not_larger" else max(scales)
        scales, sizes = [scale] * len(listed), [int(scale * old + 0.5) for old in before]
    return _changing(node, listed, sizes, scales, transformation)


def _changing(
    node: OnnxNode, listed: Sequence[int], sizes: Sequence[int], scales: Sequence[float], transformation: str
) -> Sequence[_Axis]:
    """Return the axes of which size, scale or region change anything."""
    if min(sizes, default=1) < 1 or max(sizes, default=1) > MAX_ELEMENTS:
        raise NotTaken(f"its sizes {list(sizes)} are empty, or more than {MAX_ELEMENTS} elements")
    count = len(listed)
    regions: Sequence[Any] = [(0.0, 1.0)] * count
    if transformation == "tf_crop_and_resize":
        roi = [float(value) for value in node.constant(1, "roi")]
        regions = list(zip(roi[:count], roi[count:], strict=True))
    shape = node.shape()
    axes = [
        _Axis(axis, shape[axis], size, scale, region)
        for axis, size, scale, region in zip(listed, sizes, scales, regions, strict=True)
    ]
    return [
        each for each in axes if each.size != each.result or not isclose(each.scale, 1.0) or each.region != (0.0, 1.0)
    ]


def _upsample(node: OnnxNode) -> Sequence[str]:
    """The forerunner of Resize, up to opset 9."""
    _check_mode(node)
    scales = node.floats(1, "scales") if node.has(1) else np.float32(node.attributes["scales"])
    axes = _scaled_axes(node, np.asarray(scales), "asymmetric", range(len(node.shape())))
    return [_resized(node, axes, "asymmetric", "")]


RESIZE_RULES: Mapping[str, GeneralRule] = {"Resize": _resize, "Upsample": _upsample}
