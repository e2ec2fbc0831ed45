"""Layers of other kinds than those of the zoo, with the sizes of real networks."""

from __future__ import annotations

from prunemap.core.layer import GATES, LayerKind, LayerSetting

STEPS = 32
TOKENS = 128
SAMPLES = 1000


def along(channels: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> LayerSetting:
    """A 1-D convolution of sound or sensors: as many channels out as in."""
    pad = dilation * (kernel // 2)
    return LayerSetting(
        kind="conv", in_channels=channels, out_channels=channels, kernel=(kernel,), stride=(stride,), pads=(pad, pad),
        dilation=(dilation,), size=(SAMPLES,),
    )  # fmt: skip


def twice_as_large(inputs: int, outputs: int, kernel: int, size: int) -> LayerSetting:
    """The transposed convolution of decoders and generators."""
    pad = (kernel - 2) // 2
    return LayerSetting(
        kind="conv_transpose", in_channels=inputs, out_channels=outputs, kernel=(kernel, kernel), stride=(2, 2),
        pads=(pad,) * 4, size=(size, size),
    )  # fmt: skip


def on_tokens(inputs: int, outputs: int, tokens: int = TOKENS) -> LayerSetting:
    return LayerSetting(kind="linear", in_channels=inputs, out_channels=outputs, size=(1, tokens))


def recurrence(kind: LayerKind, hidden: int) -> LayerSetting:
    return LayerSetting(kind=kind, in_channels=hidden, out_channels=GATES[kind] * hidden, size=(STEPS, 1))


OTHER_LAYERS = (
    *(along(channels) for channels in (64, 128, 256, 512)),
    along(128, kernel=5, stride=2),
    along(128, dilation=4),
    *(twice_as_large(256, 128, kernel, 14) for kernel in (4, 2)),
    *(twice_as_large(128, 64, kernel, 28) for kernel in (4, 2)),
    on_tokens(384, 384),
    on_tokens(384, 1536),
    on_tokens(768, 3072),
    on_tokens(3072, 768),
    recurrence("lstm", 512),
    recurrence("lstm", 1024),
    recurrence("gru", 1024),
    on_tokens(512, 4 * 512, STEPS),
)
"""The last is what an LSTM of 512 computes of its inputs; products on tokens are those of MiniLM and BERT."""
