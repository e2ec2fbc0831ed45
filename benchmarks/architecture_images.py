"""Small networks of published families that classify images by convolutions, as torch definitions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOBILENET_BLOCKS = (
    # kernel, stride, channels in, expanded, out, squeezes, activation
    (3, 2, 16, 16, 16, True, nn.ReLU),
    (3, 2, 16, 72, 24, False, nn.ReLU),
    (3, 1, 24, 88, 24, False, nn.ReLU),
    (5, 2, 24, 96, 40, True, nn.Hardswish),
    (5, 1, 40, 240, 40, True, nn.Hardswish),
    (5, 1, 40, 240, 40, True, nn.Hardswish),
    (5, 1, 40, 120, 48, True, nn.Hardswish),
    (5, 1, 48, 144, 48, True, nn.Hardswish),
    (5, 2, 48, 288, 96, True, nn.Hardswish),
    (5, 1, 96, 576, 96, True, nn.Hardswish),
    (5, 1, 96, 576, 96, True, nn.Hardswish),
)
"""Of MobileNetV3-Small: Howard et al., 2019, table 2."""
SHUFFLENET_STAGES = ((24, 116, 3), (116, 232, 7), (232, 464, 3))
"""Channels in and out, and blocks after the first, of ShuffleNetV2 1x: Ma et al., 2018."""
DENSENET_STAGES = (6, 12, 8)
"""Layers of each dense block: the first two of DenseNet-121, and part of its third."""
REGNET_BLOCKS = (
    # channels in, out, stride
    (32, 48, 2),
    (48, 120, 2),
    (120, 120, 1),
    (120, 336, 2),
    (336, 336, 1),
    (336, 336, 1),
)
REGNET_GROUP = 24
"""Channels of a group."""


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Return a convolution without bias, batch norm and an activation; ``nn.Identity`` = none."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation())


def pooled(x: Tensor) -> Tensor:
    """Return the mean of each channel, (N, C)."""
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution, layer norm, and two linear layers on each pixel, scaled before the residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.project(F.gelu(self.expand(y))) * self.scale
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt (Liu et al., 2022) with three stages, half as wide as its Tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 48, 4, 4),
            ChannelNorm(48),
            *(ConvNeXtBlock(48) for _ in range(2)),
            ChannelNorm(48),
            nn.Conv2d(48, 96, 2, 2),
            *(ConvNeXtBlock(96) for _ in range(2)),
            ChannelNorm(96),
            nn.Conv2d(96, 192, 2, 2),
            *(ConvNeXtBlock(192) for _ in range(3)),
        )
        self.norm = nn.LayerNorm(192)
        self.head = nn.Linear(192, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean((2, 3))))


class SqueezeExcitation(nn.Module):
    """Scale every channel by what two 1x1 convolutions make of the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = -(-channels // 32) * 8
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.excite(F.relu(self.squeeze(means))))


class MobileNetBlock(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze and excitation where asked for, 1x1 projection."""

    def __init__(
        self,
        kernel: int,
        stride: int,
        inputs: int,
        expanded: int,
        outputs: int,
        squeezes: bool,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(inputs, expanded, activation=activation) if expanded != inputs else nn.Identity(),
            conv_norm(expanded, expanded, kernel, stride, expanded, nn.Identity),
            SqueezeExcitation(expanded) if squeezes else nn.Identity(),
            activation(),
            conv_norm(expanded, outputs, activation=nn.Identity),
        )
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.skips else self.layers(x)


class MobileNetV3(nn.Module):
    """MobileNetV3-Small (Howard et al., 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(3, 16, 3, 2, activation=nn.Hardswish)
        self.blocks = nn.Sequential(*(MobileNetBlock(*sizes) for sizes in MOBILENET_BLOCKS))
        self.last = conv_norm(96, 576, activation=nn.Hardswish)
        self.head = nn.Sequential(nn.Linear(576, 1024), nn.Hardswish(), nn.Linear(1024, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.last(self.blocks(self.stem(x)))))


def shuffled(x: Tensor) -> Tensor:
    """Return the channels of both halves in turn."""
    batch, channels, height, width = x.shape
    halves = x.reshape(batch, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(batch, channels, height, width)


def shuffle_branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return 1x1, depthwise 3x3 and 1x1 convolutions."""
    return nn.Sequential(
        conv_norm(inputs, outputs),
        conv_norm(outputs, outputs, 3, stride, outputs, nn.Identity),
        conv_norm(outputs, outputs),
    )


class ShuffleBlock(nn.Module):
    """Half of the channels through a branch, the other half as it is, then shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = shuffle_branch(channels // 2, channels // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x.chunk(2, 1)
        return shuffled(torch.cat([kept, self.branch(changed)], 1))


class ShuffleDown(nn.Module):
    """All channels through two branches of stride 2, then shuffled."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.short = nn.Sequential(
            conv_norm(inputs, inputs, 3, 2, inputs, nn.Identity),
            conv_norm(inputs, outputs // 2),
        )
        self.branch = shuffle_branch(inputs, outputs // 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return shuffled(torch.cat([self.short(x), self.branch(x)], 1))


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2 1x (Ma et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for inputs, outputs, repeats in SHUFFLENET_STAGES:
            stages.append(ShuffleDown(inputs, outputs))
            stages += [ShuffleBlock(outputs) for _ in range(repeats)]
        self.stem = nn.Sequential(conv_norm(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(*stages)
        self.last = conv_norm(464, 1024)
        self.head = nn.Linear(1024, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.stages(self.stem(x))).mean((2, 3)))


class DenseLayer(nn.Module):
    """Norms before the convolutions, 1x1 and 3x3; the result is put beside the input."""

    def __init__(self, inputs: int, growth: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.layers(x)], 1)


class DenseNet(nn.Module):
    """DenseNet (Huang et al., 2017) with three dense blocks."""

    def __init__(self, growth: int = 32) -> None:
        super().__init__()
        channels = 64
        layers: list[nn.Module] = [conv_norm(3, channels, 7, 2), nn.MaxPool2d(3, 2, 1)]
        for stage, repeats in enumerate(DENSENET_STAGES):
            for _ in range(repeats):
                layers.append(DenseLayer(channels, growth))
                channels += growth
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
            if stage < len(DENSENET_STAGES) - 1:
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.features(x)))


class RegNetBlock(nn.Module):
    """Bottleneck whose 3x3 convolution has groups of a fixed width."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(inputs, outputs),
            conv_norm(outputs, outputs, 3, stride, outputs // REGNET_GROUP),
            conv_norm(outputs, outputs, activation=nn.Identity),
        )
        changes = stride > 1 or inputs != outputs
        self.shortcut = conv_norm(inputs, outputs, 1, stride, activation=nn.Identity) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


class RegNet(nn.Module):
    """RegNetX (Radosavovic et al., 2020), shorter than its smallest."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(3, 32, 3, 2)
        self.blocks = nn.Sequential(*(RegNetBlock(*sizes) for sizes in REGNET_BLOCKS))
        self.head = nn.Linear(336, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.blocks(self.stem(x))))


class Inception(nn.Module):
    """Four branches side by side: 1x1, 3x3, 5x5 and a pool, 256 channels in all."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Conv2d(inputs, 64, 1),
                nn.Sequential(nn.Conv2d(inputs, 96, 1), nn.ReLU(), nn.Conv2d(96, 128, 3, padding=1)),
                nn.Sequential(nn.Conv2d(inputs, 16, 1), nn.ReLU(), nn.Conv2d(16, 32, 5, padding=2)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(inputs, 32, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([branch(x) for branch in self.branches], 1))


class GoogLeNet(nn.Module):
    """GoogLeNet (Szegedy et al., 2015) with three inception modules, without local response norm."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(64, 192, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            Inception(192),
            Inception(256),
            nn.MaxPool2d(3, 2, 1),
            Inception(256),
        )
        self.head = nn.Linear(256, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(pooled(self.features(x)))


class ConvMixerBlock(nn.Module):
    """9x9 depthwise convolution with a residual sum, then 1x1; norms behind the activations."""

    def __init__(self, width: int) -> None:
        super().__init__()
        depthwise = nn.Conv2d(width, width, 9, padding=4, groups=width)
        self.space = nn.Sequential(depthwise, nn.GELU(), nn.BatchNorm2d(width))
        self.channels = nn.Sequential(nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.channels(x + self.space(x))


class ConvMixer(nn.Module):
    """ConvMixer (Trockman and Kolter, 2022) with four blocks of 128 channels."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, width, 7, 7), nn.GELU(), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(ConvMixerBlock(width) for _ in range(4)))
        self.head = nn.Linear(width, 100)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.patches(x)).mean((2, 3)))
