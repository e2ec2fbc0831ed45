"""ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385), with the parameter names of torchvision.

For 28/32 px: a 3x3 stem and three stages of basic blocks (depth 6n + 2). For 224 px: ResNet-50 as torchvision has it
(v1.5: the stride sits in the 3x3 convolution). Every shortcut that changes the shape is a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from prunemap.models.layers import initialise, scaled

Block = Callable[[int, int, int], nn.Module]
"""(in_channels, channels, stride) → block."""
EXPANSION = 4


def conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size (at stride 1)."""
    return nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)


def conv1x1(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """Return a 1x1 convolution."""
    return nn.Conv2d(in_channels, channels, 1, stride, bias=False)


def shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    """Return the projection of a block, None where the identity fits."""
    if stride == 1 and in_channels == channels:
        return None
    return nn.Sequential(conv1x1(in_channels, channels, stride), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        sum_: Tensor = self.relu(self.bn2(self.conv2(out)) + identity)
        return sum_


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions (the last with four times the channels) and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, EXPANSION * channels)
        self.bn3 = nn.BatchNorm2d(EXPANSION * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, EXPANSION * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        sum_: Tensor = self.relu(self.bn3(self.conv3(out)) + identity)
        return sum_


def stage(block: Block, in_channels: int, channels: int, blocks: int, stride: int, expansion: int) -> nn.Sequential:
    """Return ``blocks`` blocks, the first with the stride."""
    inputs = [in_channels] + [expansion * channels] * (blocks - 1)
    return nn.Sequential(*(block(i, channels, stride if n == 0 else 1) for n, i in enumerate(inputs)))


class SmallResNet(nn.Module):
    """ResNet for 28/32 px: 3x3 stem, three stages of basic blocks, mean over the map, one linear layer."""

    def __init__(self, in_channels: int, classes: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = conv3x3(in_channels, first)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = stage(BasicBlock, first, first, blocks, 1, 1)
        self.layer2 = stage(BasicBlock, first, second, blocks, 2, 1)
        self.layer3 = stage(BasicBlock, second, third, blocks, 2, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class ResNet(nn.Module):
    """ResNet with bottleneck blocks for 224 px."""

    def __init__(self, in_channels: int, classes: int, blocks: Sequence[int], width: float) -> None:
        super().__init__()
        stem, *widths = (scaled(channels, width) for channels in (64, 64, 128, 256, 512))
        inputs = (stem, *(EXPANSION * channels for channels in widths[:3]))
        self.conv1 = nn.Conv2d(in_channels, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            stage(Bottleneck, inputs[n], widths[n], blocks[n], 1 if n == 0 else 2, EXPANSION) for n in range(4)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(EXPANSION * widths[3], classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def make_resnet8(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return ResNet-8, one block a stage."""
    return SmallResNet(in_channels, classes, [scaled(channels, width) for channels in (32, 64, 128)], blocks=1)


def make_resnet20(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return ResNet-20, three blocks a stage."""
    return SmallResNet(in_channels, classes, [scaled(channels, width) for channels in (16, 32, 64)], blocks=3)


def make_resnet50(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return ResNet-50."""
    return ResNet(in_channels, classes, (3, 4, 6, 3), width)
