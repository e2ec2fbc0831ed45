"""What the latency of an ONNX node with weights depends on, read from its attributes and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from prunemap.compiler.graph.ir import Shape
from prunemap.compiler.onnx.node import NotTaken
from prunemap.compiler.onnx.rules.conv_transpose import read_transposed_window
from prunemap.compiler.onnx.rules.windows import read_window
from prunemap.core.layer import GATES, LayerKind, LayerSetting
from prunemap.errors import UserError


def node_setting(
    kind: LayerKind, attributes: Mapping[str, Any], weight: Shape, x: Shape | None, y: Shape | None
) -> LayerSetting | None:
    """Return the setting of a convolution, a transposed one or a linear layer.

    Args:
        weight: (O, I/groups, …) or (O, I).
        x: shape of the input, ``y`` of the output; None where it is not known.

    Returns:
        None where the shapes are not known or do not fit: the import says what is wrong.
    """
    try:
        if kind == "linear":
            return None if not y or len(weight) != 2 else _linear(weight, prod(y[:-1]))
        return None if x is None or len(weight) != len(x) else _window(kind, attributes, weight, x)
    except (ValueError, UserError, NotTaken):
        return None


def recurrent_settings(
    kind: LayerKind, attributes: Mapping[str, Any], weight: Sequence[int], x: Shape | None
) -> tuple[LayerSetting | None, LayerSetting | None]:
    """Return the settings of the two layers of one direction: on the inputs of all steps, and on the state.

    Args:
        weight: (gates · hidden, inputs).
        x: shape of the input, None where it is not known.
    """
    if x is None or len(x) != 3:
        return None, None
    size = (x[1], x[0]) if attributes.get("layout", 0) else (x[0], x[1])
    after = kind != "gru" or bool(attributes.get("linear_before_reset", 0))
    hidden = weight[0] // GATES[kind]
    try:
        state = LayerSetting(kind=kind, in_channels=hidden, out_channels=weight[0], size=size, reset_after=after)
        return _linear(weight, prod(size)), state
    except ValueError:
        return None, None


def _linear(weight: Sequence[int], items: int) -> LayerSetting:
    return LayerSetting(kind="linear", in_channels=weight[1], out_channels=weight[0], size=(1, items))


def _window(kind: LayerKind, attributes: Mapping[str, Any], weight: Shape, x: Shape) -> LayerSetting:
    read = read_transposed_window if kind == "conv_transpose" else read_window
    window, groups = read(attributes, weight[2:], x[2:]), int(attributes.get("group", 1))
    return LayerSetting(
        kind="depthwise" if kind == "conv" and groups == x[1] and groups > 1 else kind,
        in_channels=x[1],
        out_channels=weight[0],
        kernel=window.kernel,
        stride=window.stride,
        pads=window.pads,
        dilation=window.dilation,
        groups=groups,
        size=x[2:],
    )
