"""ConvTranspose as one convolution, so that the kernels for pruned weights run it.

y[u] = Σ x[i] · W[k] over i·s + k·d = u. Write u = m·s + r and k·d = q·s + r: phase r of the output is
y_r[m] = Σ x[m − q] · W[k] over the k of that r, a convolution. So one with the s phases as channels computes all of
them, every weight in one place of it and zeros elsewhere. Then the phases are interleaved and the padding is cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy as np

from prunemap.compiler.graph.ir import MAX_ELEMENTS, Array
from prunemap.compiler.onnx.node import NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.convolution import check_axes, constant_bias, convolved, with_computed_bias
from prunemap.compiler.onnx.rules.elementwise import check_kinds
from prunemap.compiler.onnx.rules.movement import taken_at, transposed
from prunemap.compiler.onnx.rules.windows import Window


@dataclass(frozen=True)
class _Axis:
    """One axis of the maps. Places of the output are counted before the padding is cut off."""

    size: int
    """Of the input."""
    kernel: int
    stride: int
    dilation: int
    begin: int
    """The first place that is wanted."""
    out: int
    """How many are."""

    @property
    def shifts(self) -> list[tuple[int, int]]:
        """(r, q) of every kernel position."""
        return [(k * self.dilation % self.stride, k * self.dilation // self.stride) for k in range(self.kernel)]

    @property
    def reach(self) -> int:
        """The largest q."""
        return self.shifts[-1][1]

    @property
    def step(self) -> int:
        """The dilation of the convolution: what all q are multiples of."""
        return gcd(*(q for _, q in self.shifts)) or 1

    @property
    def taps(self) -> int:
        """The kernel size of the convolution."""
        return self.reach // self.step + 1

    @property
    def pads(self) -> tuple[int, int]:
        """Of the convolution: it computes all that is wanted, and more only where its pads would be negative."""
        last = (self.begin + self.out - 1) // self.stride  # the largest m
        return max(0, self.reach - self.begin // self.stride), max(0, last + 1 - self.size)

    @property
    def first(self) -> int:
        """The first place that the convolution computes."""
        return (self.reach - self.pads[0]) * self.stride


def conv_transpose(node: OnnxNode) -> Sequence[str]:
    """Take in a ConvTranspose with constant weights."""
    check_kinds(node)
    weight, channels = node.floats(1, "weight"), node.shape()[1]
    check_axes(node, weight)
    groups = int(node.attributes.get("group", 1))
    if groups < 1 or channels % groups or len(weight) != channels:
        raise NotTaken(f"{channels} input channels do not fit weight {weight.shape} in {groups} groups")
    axes = _axes(node.attributes, weight.shape[2:], node.shape()[2:])
    if weight.size * prod(axis.stride * axis.taps for axis in axes) > MAX_ELEMENTS:
        raise NotTaken(f"its strides and dilations {[(axis.stride, axis.dilation) for axis in axes]} are too large")
    return [with_computed_bias(node, _interleaved(node, _phases(node, weight, axes, groups), axes, groups))]


def _phases(node: OnnxNode, weight: Array, axes: Sequence[_Axis], groups: int) -> str:
    """Compute every phase; the channels are (groups, phases along every axis, outputs of the group)."""
    outputs = weight.shape[1]
    kernels = _kernels(weight, axes, groups)
    bias = constant_bias(node, groups * outputs)
    if bias.shape != (groups * outputs,):
        raise NotTaken(f"bias has shape {bias.shape}")
    strides = [axis.stride for axis in axes]
    every = np.broadcast_to(bias.reshape(groups, *(1,) * len(axes), outputs), (groups, *strides, outputs)).reshape(-1)
    pads = (*(axis.pads[0] for axis in axes), *(axis.pads[1] for axis in axes))
    window = Window(kernels.shape[2:], (1,) * len(axes), pads, tuple(axis.step for axis in axes))
    return convolved(node, kernels, every.copy(), window, groups)


def _kernels(weight: Array, axes: Sequence[_Axis], groups: int) -> Array:
    """Return (groups · phases · outputs of the group, inputs of the group, …)."""
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    given = weight.reshape(groups, inputs, outputs, *weight.shape[2:]).swapaxes(1, 2)
    strides, taps = [axis.stride for axis in axes], [axis.taps for axis in axes]
    kernels = np.zeros((groups, *strides, outputs, inputs, *taps), np.float32)
    everything = slice(None)
    for place in np.ndindex(*weight.shape[2:]):
        shifts = [axis.shifts[k] for axis, k in zip(axes, place, strict=True)]
        at = [axis.taps - 1 - q // axis.step for axis, (_, q) in zip(axes, shifts, strict=True)]
        kernels[(everything, *(r for r, _ in shifts), everything, everything, *at)] = given[(..., *place)]
    return kernels.reshape(-1, inputs, *taps)


def _interleaved(node: OnnxNode, phases: str, axes: Sequence[_Axis], groups: int) -> str:
    """Put the phases beside each other and cut off what is not wanted."""
    strides, count = [axis.stride for axis in axes], len(axes)
    batch, rows, *size = node.build.shapes[phases]
    if max(strides) > 1:
        outputs = rows // (groups * int(np.prod(strides)))
        split = node.build.reshape(phases, (batch * groups, *strides, outputs, *size))
        order = (place for axis in range(count) for place in (2 + count + axis, 1 + axis))
        beside = transposed(node, split, (0, 1 + count, *order))
        spread = (n * stride for n, stride in zip(size, strides, strict=True))
        phases = node.build.reshape(beside, (batch, groups * outputs, *spread))
    wanted = (np.arange(axis.out) + axis.begin - axis.first for axis in axes)
    return taken_at(node, phases, dict(enumerate(wanted, start=2)))


def read_transposed_window(attributes: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> Window:
    """Return the window of a ConvTranspose: its pads are what is cut off the full result, less what is added to it.

    Raises:
        NotTaken: the attributes do not fit each other.
    """
    axes = _axes(attributes, kernel, size)
    full = [axis.stride * (axis.size - 1) + axis.dilation * (axis.kernel - 1) + 1 for axis in axes]
    ends = [n - axis.begin - axis.out for n, axis in zip(full, axes, strict=True)]
    pads = (*(axis.begin for axis in axes), *ends)
    return Window(tuple(kernel), tuple(axis.stride for axis in axes), pads, tuple(axis.dilation for axis in axes))


def _axes(given: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> list[_Axis]:
    """Read the attributes, axis by axis."""
    count = len(size)
    strides, dilations = given.get("strides", (1,) * count), given.get("dilations", (1,) * count)
    extra, shape = given.get("output_padding", (0,) * count), given.get("output_shape")
    pads, auto = given.get("pads", (0,) * (2 * count)), given.get("auto_pad", b"NOTSET").decode()
    lengths = (len(strides), len(dilations), len(extra), len(pads) / 2, len(shape or strides))
    if set(lengths) != {count} or min(*strides, *dilations) < 1 or min(*pads, *extra) < 0:
        sizes = f"strides {strides}, dilations {dilations}, pads {pads}, output_padding {extra}, output_shape {shape}"
        raise NotTaken(f"{sizes} for {count} axes")
    axes = []
    for i in range(count):
        full = strides[i] * (size[i] - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1
        if shape is not None or auto.startswith("SAME"):
            out = int(shape[i - count]) if shape is not None else size[i] * strides[i]
            begin = _begin(full - out, auto)
            if shape is None and full < out:  # runtimes differ
                raise NotTaken(f"{auto} with a window that is smaller than its stride")
        else:
            begin, end = (0, 0) if auto == "VALID" else (pads[i], pads[i + count])
            out = full - begin - end
        if out < 1:
            raise NotTaken(f"its output would have size {out}")
        axes.append(_Axis(size[i], kernel[i], strides[i], dilations[i], begin, out))
    return axes


def _begin(padding: int, auto: str) -> int:
    """Return how much of the padding is at the beginning; where it is negative, zeros are added at the end."""
    padding = max(0, padding)
    return padding // 2 if auto == "SAME_UPPER" else padding - padding // 2


def as_conv_weight(weight: Array, groups: int) -> Array:
    """Return the weight of a ConvTranspose, (I, O/groups, …), as (O, I/groups, …)."""
    parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return parts.swapaxes(1, 2).reshape(groups * weight.shape[1], -1, *weight.shape[2:])
