"""Window attributes (kernel, stride, pads, dilation) of ONNX conv and pool nodes, of any number of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prunemap.core.layer import Pads, Pair
from prunemap.errors import UserError

MAX_WINDOW = 2**20
"""No kernel, stride, dilation or pad may be larger: steps count in 32 bits."""


@dataclass(frozen=True)
class Window:
    """A window with auto_pad resolved; ``pads`` has all begins, then all ends: in 2-D (top, left, bottom, right)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...]


def read_window(attributes: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> Window:
    """Return the window of a node.

    Args:
        kernel: one size per axis, (Kh, Kw) in 2-D.
        size: the same axes of the input, (H, W) in 2-D.

    Raises:
        ValueError: not one value per axis.
        UserError: a stride or dilation below 1, or a negative pad.
    """
    count = len(size)
    stride = tuple(attributes.get("strides", (1,) * count))
    dilation = tuple(attributes.get("dilations", (1,) * count))
    kernel = tuple(int(each) for each in kernel)
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    pads = (0,) * (2 * count) if auto == "VALID" else tuple(attributes.get("pads", (0,) * (2 * count)))
    if {len(kernel), len(stride), len(dilation), len(pads) / 2} != {count}:
        raise ValueError(f"kernel {kernel}, strides {stride}, dilations {dilation} and pads {pads} for {count} axes")
    if auto.startswith("SAME") and min(stride) > 0:
        pads = _same_pads(auto, kernel, stride, dilation, size)
    if min(*stride, *dilation, *kernel) < 1 or min(pads) < 0 or max(*stride, *dilation, *kernel, *pads) > MAX_WINDOW:
        given = f"kernel {kernel}, strides {stride}, dilations {dilation} and pads {pads}"
        raise UserError(f"model: a node has {given}; allowed are 1 to {MAX_WINDOW}, pads from 0")
    return Window(kernel, stride, pads, dilation)


def with_ceil(window: Window, size: Sequence[int]) -> Window:
    """Return the window padded at the ends so that flooring gives ONNX's ceil_mode size."""
    pads, count = list(window.pads), len(size)
    for axis in range(count):
        reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        span = size[axis] + pads[axis] + pads[axis + count] - reach
        missing = -span % window.stride[axis]
        starts_inside = span + missing < size[axis] + pads[axis]
        pads[axis + count] += missing if starts_inside else 0
    return replace(window, pads=tuple(pads))


def _same_pads(
    auto: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], size: Sequence[int]
) -> tuple[int, ...]:
    before, after = [], []
    for axis in range(len(size)):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (-(-size[axis] // stride[axis]) - 1) * stride[axis] + reach - size[axis])
        small, large = total // 2, total - total // 2
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return (*before, *after)


def of_one_row(window: Window) -> Window:
    """Return a 1-D window as that of maps of one row."""
    begin, end = window.pads
    return Window((1, *window.kernel), (1, *window.stride), (0, begin, 0, end), (1, *window.dilation))


def pair(values: Sequence[int]) -> Pair:
    """Return the two values of a 2-D window."""
    first, second = values
    return (first, second)


def four(values: Sequence[int]) -> Pads:
    """Return the pads of a 2-D window."""
    top, left, bottom, right = values
    return (top, left, bottom, right)
