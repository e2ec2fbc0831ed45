"""MobileNetV2 (Sandler et al., 2018, https://arxiv.org/abs/1801.04381), with the parameter names of torchvision.

For 32 px the stem and the second stage keep their resolution, as is usual on CIFAR-10.
"""

from __future__ import annotations

from torch import Tensor, nn

from prunemap.models.layers import initialise, scaled

# (expansion, channels, blocks) of each stage
STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
# stride of the stem, then of each stage
STRIDES_224 = (2, 1, 2, 2, 2, 1, 2, 1)
STRIDES_32 = (1, 1, 1, 2, 2, 1, 2, 1)
STEM, HEAD = 32, 1280
DROPOUT = 0.2


def conv_bn_relu6(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution that keeps the size (at stride 1), batch norm and ReLU6."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection without activation; the shortcut joins the narrow ends."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [conv_bn_relu6(in_channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.use_shortcut = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.use_shortcut else out


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, 1x1 head, mean over the map, one linear layer."""

    def __init__(self, in_channels: int, classes: int, width: float, strides: tuple[int, ...]) -> None:
        super().__init__()
        stem_stride, *stage_strides = strides
        channels = scaled(STEM, width)
        layers: list[nn.Module] = [conv_bn_relu6(in_channels, channels, 3, stem_stride)]
        for (expansion, stage_channels, blocks), stride in zip(STAGES, stage_strides, strict=True):
            out_channels = scaled(stage_channels, width)
            for n in range(blocks):
                layers.append(InvertedResidual(channels, out_channels, stride if n == 0 else 1, expansion))
                channels = out_channels
        head = scaled(HEAD, max(1.0, width))
        self.features = nn.Sequential(*layers, conv_bn_relu6(channels, head, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(head, classes))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return logits


def make_mobilenetv2(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return MobileNetV2 for 224 px."""
    return MobileNetV2(in_channels, classes, width, STRIDES_224)


def make_mobilenetv2_cifar(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return MobileNetV2 for 32 px."""
    return MobileNetV2(in_channels, classes, width, STRIDES_32)
