"""Convolutions of one to three axes as 2-D ones, so that the kernels for pruned weights run them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from prunemap.compiler.graph.ir import Array, Conv
from prunemap.compiler.onnx.node import NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.elementwise import check_kinds, per_channel
from prunemap.compiler.onnx.rules.movement import taken_at, transposed
from prunemap.compiler.onnx.rules.windows import Window, four, of_one_row, pair, read_window


def conv(node: OnnxNode) -> Sequence[str]:
    """Take in a Conv with constant weights."""
    check_kinds(node)
    weight = node.floats(1, "weight")
    check_axes(node, weight)
    window = read_window(node.attributes, weight.shape[2:], node.shape()[2:])
    groups = int(node.attributes.get("group", 1))
    y = convolved(node, weight, constant_bias(node, len(weight)), window, groups)
    return [with_computed_bias(node, y)]


def check_axes(node: OnnxNode, weight: Array) -> None:
    """Raise NotTaken for more axes than three, or than the weight has."""
    rank = len(node.shape())
    if rank not in (3, 4, 5) or weight.ndim != rank:
        shapes = f"{list(node.shape())} by {list(weight.shape)}"
        raise NotTaken(f"a convolution of {shapes}, only those of one, two or three axes are supported")


def constant_bias(node: OnnxNode, outputs: int) -> Array:
    """Return the bias, zeros where it is computed or not given."""
    return node.floats(2, "bias") if node.is_constant(2) else np.zeros(outputs, np.float32)


def with_computed_bias(node: OnnxNode, y: str) -> str:
    """Add the bias if it is computed."""
    if not node.has(2) or node.is_constant(2):
        return y
    return node.build.apply("add", y, per_channel(node, 2, len(node.build.shapes[y]) - 2))


def convolved(node: OnnxNode, weight: Array, bias: Array, window: Window, groups: int) -> str:
    """Run a convolution on the first input; return the name of the result.

    Args:
        weight: (O, I/groups, …) with one to three axes of the kernel.
    """
    x, shape, count = node.tensor(), node.shape(), weight.ndim - 2
    if count == 3:
        return _in_three_axes(node, weight, bias, window, groups)
    if count == 1:  # of maps of one row
        x = node.build.reshape(x, (*shape[:2], 1, shape[2]))
        weight, window = weight[:, :, None], of_one_row(window)
    y = node.build.add_layer(conv_op(weight, bias, window, groups), x)
    sizes = node.build.shapes[y]
    return y if count == 2 else node.build.reshape(y, (*sizes[:2], sizes[3]))


def conv_op(weight: Array, bias: Array, window: Window, groups: int) -> Conv:
    """Return a 2-D convolution."""
    return Conv(weight, bias, pair(window.stride), four(window.pads), pair(window.dilation), groups)


def _in_three_axes(node: OnnxNode, weight: Array, bias: Array, window: Window, groups: int) -> str:
    """Every plane of the result is an image: the planes that its windows reach are its channels, (C, Kd)."""
    batch, channels, depth, *size = node.shape()
    taps, (begin, end) = window.kernel[0], window.pads[::3]
    last = depth + begin + end - window.dilation[0] * (taps - 1)
    starts = np.arange(0, last, window.stride[0]) - begin
    places = starts[:, None] + window.dilation[0] * np.arange(taps)
    places = np.where((places >= 0) & (places < depth), places, -1)
    planes = taken_at(node, node.tensor(), {2: places.reshape(-1)})
    planes = node.build.reshape(planes, (batch, channels, len(starts), taps, *size))
    planes = transposed(node, planes, (0, 2, 1, 3, 4, 5))
    images = node.build.reshape(planes, (batch * len(starts), channels * taps, *size))
    _, up, left, _, down, right = window.pads
    flat = Window(window.kernel[1:], window.stride[1:], (up, left, down, right), window.dilation[1:])
    merged = weight.reshape(len(weight), prod(weight.shape[1:3]), *weight.shape[3:])
    y = node.build.add_layer(conv_op(merged, bias, flat, groups), images)
    y = node.build.reshape(y, (batch, len(starts), *node.build.shapes[y][1:]))
    return transposed(node, y, (0, 2, 1, 3, 4))
