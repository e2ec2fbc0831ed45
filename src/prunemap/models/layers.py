"""What the model families share: scaled widths and initial weights."""

from __future__ import annotations

from torch import nn

CHANNEL_STEP = 8
"""Scaled channel counts are multiples of this."""
LINEAR_STD = 0.01


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` · ``width`` as a multiple of 8 that is not more than 10 % below it (MobileNetV2's rule)."""
    exact = channels * width
    rounded = max(CHANNEL_STEP, int(exact + CHANNEL_STEP / 2) // CHANNEL_STEP * CHANNEL_STEP)
    return rounded if rounded >= 0.9 * exact else rounded + CHANNEL_STEP


def initialise(module: nn.Module) -> None:
    """Kaiming normal (fan out) for convolutions, normal for linear layers, zero biases (He et al., 2015)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, LINEAR_STD)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
