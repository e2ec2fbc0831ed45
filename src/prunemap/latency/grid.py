"""GRID: usual layer settings, so that networks that nobody has profiled can be estimated."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from prunemap.core.layer import LayerSetting

MOST_MACS, LEAST_MACS = 300e6, 1e6
"""Of a setting; larger and smaller ones are far from both ends of what networks have."""

DEPTHWISE = {
    3: ((112, 32), (56, 96), (56, 192), (28, 144), (28, 288), (14, 288), (14, 576), (7, 576), (7, 960)),
    5: ((28, 96), (28, 240), (14, 288), (14, 672), (7, 576), (7, 1152)),
    7: ((56, 96), (28, 192), (14, 384), (7, 768)),
}
"""By kernel: (size of the output map, channels)"""
VECTORS = (1, 32, 128)
"""Of linear layers; in transformers every token is one."""


def _conv(kernel: int, stride: int, inputs: int, outputs: int, size: int) -> LayerSetting:
    """Return a convolution of a square map; patches, whose stride is their size, have no padding."""
    pad = kernel // 2 if stride < kernel else 0
    return LayerSetting(
        kind="conv",
        in_channels=inputs,
        out_channels=outputs,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pads=4 * (pad,),
        size=(size, size),
    )


def _convolutions(kernel: int, stride: int, channels: tuple[tuple[int, int], ...]) -> Iterator[LayerSetting]:
    for size, (inputs, outputs) in product((56, 28, 14, 7), channels):
        setting = _conv(kernel, stride, inputs, outputs, size * stride)
        if LEAST_MACS <= setting.macs <= MOST_MACS:
            yield setting


def _stems(kernel: int, stride: int, sizes: tuple[int, ...], channels: tuple[int, ...]) -> Iterator[LayerSetting]:
    """Yield first layers: they read the three colours of an image of some size."""
    for size, outputs in product(sizes, channels):
        yield _conv(kernel, stride, 3, outputs, size)


def _depthwise(kernel: int, stride: int) -> Iterator[LayerSetting]:
    for size, channels in DEPTHWISE[kernel]:
        yield LayerSetting(
            kind="depthwise",
            in_channels=channels,
            out_channels=channels,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            pads=4 * (kernel // 2,),
            groups=channels,
            size=(size * stride, size * stride),
        )


def _linear() -> Iterator[LayerSetting]:
    sizes = ((128, 128), (192, 768), (768, 192), (512, 512), (512, 2048), (2048, 512), (2048, 2048))
    for vectors, (inputs, outputs) in product(VECTORS, sizes):
        setting = LayerSetting(kind="linear", in_channels=inputs, out_channels=outputs, size=(1, vectors))
        if setting.macs <= MOST_MACS:
            yield setting
    yield LayerSetting(kind="linear", in_channels=4096, out_channels=4096)  # weights that no cache holds


SAME = ((32, 32), (64, 64), (128, 128), (256, 256), (512, 512))
WIDER = ((32, 64), (64, 128), (128, 256), (256, 512))
EXPANDING = ((32, 128), (32, 192), (64, 256), (128, 512), (160, 960), (256, 1024))
"""And the other way round: bottlenecks and inverted ones."""

GRID: tuple[LayerSetting, ...] = (
    *_convolutions(3, 1, SAME),
    *_convolutions(3, 2, WIDER),
    *_convolutions(1, 1, (*SAME, *EXPANDING, *((wide, narrow) for narrow, wide in EXPANDING))),
    *_convolutions(1, 2, WIDER),
    *_stems(3, 1, (32, 224), (16, 64)),
    *_stems(3, 2, (224,), (16, 32, 64)),
    *_stems(7, 2, (112, 224), (32, 64)),
    *_stems(4, 4, (224,), (64, 96, 128, 192)),
    *_stems(16, 16, (224,), (192, 384, 768, 1024)),
    *_depthwise(3, 1),
    *_depthwise(3, 2),
    *_depthwise(5, 1),
    *_depthwise(5, 2),
    *_depthwise(7, 1),
    *_linear(),
)
"""The most common kernels and strides; each has enough neighbours in channels and map size to interpolate between."""
