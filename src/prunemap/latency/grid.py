"""GRID: usual layer settings, so that networks that nobody has profiled can be estimated."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from prunemap.core.layer import LayerSetting

MOST_MACS, LEAST_MACS = 300e6, 1e6
"""Of a setting; larger and smaller ones are far from both ends of what networks have."""

DEPTHWISE = ((112, 32), (56, 96), (56, 192), (28, 144), (28, 288), (14, 288), (14, 576), (7, 576), (7, 960))
"""(size of the output map, channels)"""


def _convolutions(kernel: int, stride: int, channels: tuple[tuple[int, int], ...]) -> Iterator[LayerSetting]:
    pad = kernel // 2
    for size, (inputs, outputs) in product((56, 28, 14, 7), channels):
        setting = LayerSetting(
            kind="conv",
            in_channels=inputs,
            out_channels=outputs,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pads=(pad, pad, pad, pad),
            size=(size * stride, size * stride),
        )
        if LEAST_MACS <= setting.macs <= MOST_MACS:
            yield setting


def _depthwise(stride: int) -> Iterator[LayerSetting]:
    for size, channels in DEPTHWISE:
        yield LayerSetting(
            kind="depthwise",
            in_channels=channels,
            out_channels=channels,
            kernel=(3, 3),
            stride=(stride, stride),
            pads=(1, 1, 1, 1),
            groups=channels,
            size=(size * stride, size * stride),
        )


def _linear() -> Iterator[LayerSetting]:
    for inputs, outputs in ((128, 128), (512, 512), (512, 2048), (2048, 512), (2048, 2048)):
        yield LayerSetting(kind="linear", in_channels=inputs, out_channels=outputs)


SAME = ((32, 32), (64, 64), (128, 128), (256, 256), (512, 512))
WIDER = ((32, 64), (64, 128), (128, 256), (256, 512))
EXPANDING = ((32, 128), (32, 192), (64, 256), (128, 512), (160, 960), (256, 1024))
"""And the other way round: bottlenecks and inverted ones."""

GRID: tuple[LayerSetting, ...] = (
    *_convolutions(3, 1, SAME),
    *_convolutions(3, 2, WIDER),
    *_convolutions(1, 1, (*SAME, *EXPANDING, *((wide, narrow) for narrow, wide in EXPANDING))),
    *_convolutions(1, 2, WIDER),
    *_depthwise(1),
    *_depthwise(2),
    *_linear(),
)
"""The most common kernels and strides; each has enough neighbours in channels and map size to interpolate between."""
