"""Window attributes (kernel, stride, pads, dilation) of ONNX conv and pool nodes as this project writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prunemap.core.layer import Pads, Pair
from prunemap.errors import UserError


@dataclass(frozen=True)
class Window:
    """A 2-D window; ``pads`` is (top, left, bottom, right) with auto_pad resolved."""

    kernel: Pair
    stride: Pair
    pads: Pads
    dilation: Pair


def read_window(attributes: Mapping[str, Any], kernel: Sequence[int], size: Sequence[int]) -> Window:
    """Return the window of a node.

    Args:
        kernel: (Kh, Kw).
        size: (H, W) of the input.

    Raises:
        UserError: a stride or dilation below 1, or a negative pad.
    """
    stride = _pair(attributes.get("strides", (1, 1)))
    dilation = _pair(attributes.get("dilations", (1, 1)))
    kernel = _pair(kernel)
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto.startswith("SAME") and min(stride) > 0:
        pads = _same_pads(auto, kernel, stride, dilation, size)
    elif auto == "VALID":
        pads = (0, 0, 0, 0)
    else:
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        pads = (top, left, bottom, right)
    if min(*stride, *dilation, *kernel) < 1 or min(pads) < 0:
        given = f"kernel {kernel}, strides {stride}, dilations {dilation} and pads {pads}"
        raise UserError(f"model: a node has {given}; allowed are 1 or more, pads 0 or more")
    return Window(kernel, stride, pads, dilation)


def with_ceil(window: Window, size: Sequence[int]) -> Window:
    """Return the window padded at the bottom and right so that flooring gives ONNX's ceil_mode size."""
    pads = list(window.pads)
    for axis in (0, 1):
        reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
        span = size[axis] + pads[axis] + pads[axis + 2] - reach
        missing = -span % window.stride[axis]
        starts_inside = span + missing < size[axis] + pads[axis]
        pads[axis + 2] += missing if starts_inside else 0
    return Window(window.kernel, window.stride, (pads[0], pads[1], pads[2], pads[3]), window.dilation)


def _same_pads(auto: str, kernel: Pair, stride: Pair, dilation: Pair, size: Sequence[int]) -> Pads:
    before, after = [], []
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (-(-size[axis] // stride[axis]) - 1) * stride[axis] + reach - size[axis])
        small, large = total // 2, total - total // 2
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return (before[0], before[1], after[0], after[1])


def _pair(values: Sequence[int]) -> Pair:
    first, second = values
    return (int(first), int(second))
