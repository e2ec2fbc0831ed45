"""LayerSpec: what is known of one weight-carrying layer, and LayerSetting: what its latency depends on."""

from __future__ import annotations

from math import prod
from typing import Literal

from prunemap.core.value import Value

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""(top, left, bottom, right)"""
LayerKind = Literal["conv", "depthwise", "conv_transpose", "linear", "lstm", "gru"]


def sliding_size(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Pair:
    """Return (height, width) of what a window of ``kernel`` gives over a map of ``size``."""
    top, left, bottom, right = pads
    return (
        (size[0] + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1,
        (size[1] + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1,
    )


class LayerSetting(Value):
    """Everything that the latency of a layer depends on, apart from its weights; the key of a latency table.

    A linear layer has ``kernel`` (1, 1) and ``size`` (1, 1). ``pads`` is (top, left, bottom, right).
    """

    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    size: tuple[int, int] = (1, 1)
    """Height and width of the input map."""

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I/groups, Kh, Kw), or (O, I) for a linear layer."""
        if self.kind == "linear":
            return (self.out_channels, self.in_channels)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def out_size(self) -> tuple[int, int]:
        """Height and width of the output map."""
        return sliding_size(self.size, self.kernel, self.stride, self.pads, self.dilation)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, dense."""
        return prod(self.weight_shape) * prod(self.out_size)

    def __str__(self) -> str:
        if self.kind == "linear":
            return f"linear {self.in_channels}→{self.out_channels}"
        kernel, stride = "x".join(map(str, self.kernel)), max(self.stride)
        size = "x".join(map(str, self.size))
        return f"{self.kind} {kernel}/{stride} {self.in_channels}→{self.out_channels} at {size}"


class LayerSpec(Value):
    """One weight-carrying node of a network.

    ``name`` is the ONNX node name (else its first output); ``module`` the qualified name of the torch module,
    "" where it is not known.
    """

    name: str
    module: str = ""
    kind: LayerKind
    weight_shape: tuple[int, ...]
    macs: int
    """Multiply-accumulates of one image, dense."""
    params: int
    setting: LayerSetting | None = None
    """None for kinds whose latency is not modelled yet."""
