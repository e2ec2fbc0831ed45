"""What a layer computes, in NumPy: timings are only kept when the compiled layer gave the same."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prunemap.core.layer import LayerSetting

Array = NDArray[np.float32]


def compute_layer(setting: LayerSetting, weight: Array, x: Array) -> Array:
    """Return the output of a layer without bias, one matrix product per group.

    Args:
        weight: (O, I/groups, Kh, Kw) or (O, I).
        x: (1, C, H, W), or (1, I) for a linear layer.
    """
    if setting.kind == "linear":
        return x @ weight.T
    top, left, bottom, right = setting.pads
    (stride_y, stride_x), (dilation_y, dilation_x) = setting.stride, setting.dilation
    reach = [d * (k - 1) + 1 for d, k in zip(setting.dilation, setting.kernel, strict=True)]
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, ::stride_y, ::stride_x, ::dilation_y, ::dilation_x]
    height, width = setting.out_size
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(setting.groups, -1, height * width)
    result: Array = weight.reshape(setting.groups, len(weight) // setting.groups, -1) @ columns
    return result.reshape(1, len(weight), height, width)
