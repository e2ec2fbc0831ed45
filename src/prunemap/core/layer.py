"""LayerSpec: what is known of one weight-carrying layer, and LayerSetting: what its latency depends on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from pydantic import model_validator

from prunemap.core.value import Value

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""(top, left, bottom, right)"""
LayerKind = Literal["conv", "depthwise", "conv_transpose", "linear", "lstm", "gru"]
GATES = {"lstm": 4, "gru": 3}
"""How many gates every unit of a recurrent layer has."""
CONVOLUTIONS = ("conv", "depthwise", "conv_transpose")
_PLAIN_KINDS = ("linear", *GATES)


def sliding_sizes(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Return the size of what a window of ``kernel`` gives over a map of ``size``, axis by axis.

    Args:
        pads: all begins, then all ends.
    """
    ends = pads[len(size) :]
    axes = zip(size, kernel, stride, pads, ends, dilation, strict=False)
    return tuple((n + begin + end - d * (k - 1) - 1) // s + 1 for n, k, s, begin, end, d in axes)


def windows_reach(size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int]) -> bool:
    """Return whether every window has a place on the map: whether none lies in the padding alone."""
    counts = sliding_sizes(size, kernel, stride, pads, (1,) * len(size))
    axes = zip(size, kernel, stride, pads, counts, strict=False)
    return all(begin < k and (count - 1) * s - begin < n for n, k, s, begin, count in axes)


def sliding_size(size: Pair, kernel: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Pair:
    """Return (height, width) of what a window of ``kernel`` gives over a map of ``size``."""
    height, width = sliding_sizes(size, kernel, stride, pads, dilation)
    return height, width


class LayerSetting(Value):
    """Everything that the latency of a layer depends on, apart from its weights; the key of a latency table.

    Convolutions, transposed ones too, have one value per axis of the map: (L,) in 1-D, (H, W), or (D, H, W). A linear
    layer has ``size`` (1, N), the vectors that one run multiplies: tokens, items of a batch, or both. An LSTM or GRU is
    two layers per direction: the product with the inputs is a linear one on all steps; kind ``lstm`` or ``gru`` is the
    recurrence, ``in_channels`` = H states to ``out_channels`` = G·H gates, ``size`` = (steps, batch).

    Raises:
        ValueError: not one value per axis, a value out of range, or one that the kind does not have.
    """

    kind: LayerKind
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...] = (1, 1)
    stride: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    """All begins, then all ends: in 2-D (top, left, bottom, right). Of a transposed convolution what is cut off the
    full result; an end is negative where output padding adds to it."""
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    size: tuple[int, ...] = (1, 1)
    """Of the input map."""
    reset_after: bool = True
    """gru: the reset gate multiplies the product with the state, as in torch, not the state before it."""

    @model_validator(mode="after")
    def _check(self) -> LayerSetting:
        axes, given = len(self.size), (self.kernel, self.stride, self.dilation, self.size)
        if axes not in (1, 2, 3) or {len(self.pads) / 2, *map(len, given)} != {axes}:
            raise ValueError(
                f"kernel {self.kernel}, stride {self.stride}, dilation {self.dilation}, size {self.size} and pads "
                f"{self.pads}: allowed are one to three axes, one value each (pads: two)"
            )
        if min(self.in_channels, self.out_channels, self.groups, *sum(given, ())) < 1:
            raise ValueError("channels, groups, kernel, stride, dilation and size: allowed are values from 1")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.in_channels} and {self.out_channels} channels: {self.groups} must divide them")
        if self.kind in _PLAIN_KINDS and (axes != 2 or self.groups != 1 or {*sum(given[:3], ())} != {1}):
            raise ValueError(f"{self.kind}: allowed are size (1, vectors) or (steps, batch), and no window or groups")
        if self.kind in GATES and self.out_channels != GATES[self.kind] * self.in_channels:
            raise ValueError(
                f"{self.kind}: out_channels must be {GATES[self.kind]} gates of the {self.in_channels} states"
            )
        return self

    @property
    def is_recurrent(self) -> bool:
        """Whether it is the recurrence of an LSTM or GRU."""
        return self.kind in GATES

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I/groups, …) with the axes of the kernel, or (O, I) for linear and recurrent layers."""
        if self.kind in _PLAIN_KINDS:
            return (self.out_channels, self.in_channels)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def out_size(self) -> tuple[int, ...]:
        """Size of the output map; what ``size`` is for linear and recurrent layers."""
        if self.kind == "conv_transpose":
            axes = zip(
                self.size, self.kernel, self.stride, self.dilation, self.pads, self.pads[len(self.size) :], strict=False
            )
            return tuple(s * (n - 1) + d * (k - 1) + 1 - begin - end for n, k, s, d, begin, end in axes)
        return sliding_sizes(self.size, self.kernel, self.stride, self.pads, self.dilation)

    @property
    def in_shape(self) -> tuple[int, ...]:
        """(1, C, …) of one image, (N, I) of a linear layer, (T, B, G·H) of a recurrence: sums of the inputs."""
        if self.is_recurrent:
            return (*self.size, self.out_channels)
        return (self.size[1], self.in_channels) if self.kind == "linear" else (1, self.in_channels, *self.size)

    @property
    def out_shape(self) -> tuple[int, ...]:
        """(1, O, …) of one image, (N, O) of a linear layer, (T, B, H) of a recurrence."""
        if self.is_recurrent:
            return (*self.size, self.in_channels)
        return (self.size[1], self.out_channels) if self.kind == "linear" else (1, self.out_channels, *self.out_size)

    @property
    def uses(self) -> int:
        """How often every weight is multiplied by in one run, for one image."""
        return prod(self.size if self.kind == "conv_transpose" else self.out_size)

    @property
    def passes(self) -> int:
        """How often the weights must be read: in every step of a recurrence."""
        return self.size[0] if self.is_recurrent else 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, dense."""
        return prod(self.weight_shape) * self.uses

    def __str__(self) -> str:
        """A short name; it says whatever is not as usual, so that different settings have different ones."""
        if self.is_recurrent:
            return f"{self.kind} of {self.in_channels}, {self.size[0]} steps{self._extras()}"
        if self.kind == "linear":
            items = f" at {self.size[1]}" if self.size[1] > 1 else ""
            return f"linear {self.in_channels}→{self.out_channels}{items}"
        stride = "x".join(map(str, self.stride if len(set(self.stride)) > 1 else self.stride[:1]))
        kernel, size = ("x".join(map(str, each)) for each in (self.kernel, self.size))
        return f"{self.kind} {kernel}/{stride} {self.in_channels}→{self.out_channels} at {size}{self._extras()}"

    def _extras(self) -> str:
        if self.is_recurrent:
            found = {f"batch {self.size[1]}": self.size[1] > 1, "reset before": not self.reset_after}
        else:
            found = {
                "dilation " + "x".join(map(str, self.dilation)): set(self.dilation) != {1},
                f"{self.groups} groups": self.groups > 1 and self.kind != "depthwise",
                "pads " + " ".join(map(str, self.pads)): self.pads != self._usual_pads(),
            }
        return "".join(f", {text}" for text, holds in found.items() if holds)

    def _usual_pads(self) -> tuple[int, ...]:
        """Those that keep the size of the map, up to the stride."""
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True)]
        if self.kind != "conv_transpose":
            return 2 * tuple(each // 2 for each in reach)
        totals = [each - s for each, s in zip(reach, self.stride, strict=True)]
        return (*((total + 1) // 2 for total in totals), *(total // 2 for total in totals))


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
    """None where the sizes of its tensors are not known."""
