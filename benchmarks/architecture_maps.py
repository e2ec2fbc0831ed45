"""Small networks of published families that make images, maps or boxes, as torch definitions."""

from __future__ import annotations

from functools import partial

import torch
from architecture_images import conv_norm
from torch import Tensor, nn
from torch.nn import functional as F

YOLO_BOX, YOLO_CLASSES = 4, 80
DEEPLAB_RATES = (6, 12, 18)
"""Dilations of the pyramid."""
DEEPLAB_CLASSES = 21

conv_silu = partial(conv_norm, activation=nn.SiLU)


def two_convs(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(inputs, outputs, 3), conv_norm(outputs, outputs, 3))


class UNet(nn.Module):
    """U-Net (Ronneberger et al., 2015): three levels down and up, 16 channels at the top."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList([two_convs(3, width), two_convs(width, 2 * width), two_convs(2 * width, 4 * width)])
        self.middle = two_convs(4 * width, 8 * width)
        widths = (4 * width, 2 * width, width)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * outputs, outputs, 2, 2) for outputs in widths)
        self.up = nn.ModuleList(two_convs(2 * outputs, outputs) for outputs in widths)
        self.head = nn.Conv2d(width, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for convs in self.down:
            levels.append(convs(x))
            x = F.max_pool2d(levels[-1], 2)
        x = self.middle(x)
        for grow, convs in zip(self.grow, self.up, strict=True):
            x = convs(torch.cat([levels.pop(), grow(x)], 1))
        return self.head(x)


def grown(inputs: int, outputs: int, stride: int, padding: int) -> nn.Sequential:
    """Return a 4x4 transposed convolution with its norm and activation."""
    conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class DcganGenerator(nn.Module):
    """The generator of DCGAN (Radford et al., 2016): 100 numbers to an image of 64x64."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            grown(100, 8 * width, 1, 0),
            grown(8 * width, 4 * width, 2, 1),
            grown(4 * width, 2 * width, 2, 1),
            grown(2 * width, width, 2, 1),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class SplitStage(nn.Module):
    """Bottlenecks on half of the channels; the results of all are put side by side (YOLOv8's C2f)."""

    def __init__(self, inputs: int, outputs: int, repeats: int = 1) -> None:
        super().__init__()
        half = outputs // 2
        self.begin = conv_silu(inputs, outputs)
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(conv_silu(half, half, 3), conv_silu(half, half, 3)) for _ in range(repeats)
        )
        self.end = conv_silu(half * (2 + repeats), outputs)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.begin(x).chunk(2, 1))
        for bottleneck in self.bottlenecks:
            parts.append(parts[-1] + bottleneck(parts[-1]))
        return self.end(torch.cat(parts, 1))


class PoolPyramid(nn.Module):
    """The input beside what one, two and three 5x5 pools make of it (YOLOv8's SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.begin = conv_silu(channels, channels // 2)
        self.end = conv_silu(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.begin(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.end(torch.cat(parts, 1))


class Yolo(nn.Module):
    """YOLOv8-nano (Jocher et al., 2023) with one convolution for each head, without the pyramid's way down."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            conv_silu(3, 16, 3, 2),
            conv_silu(16, 32, 3, 2),
            SplitStage(32, 32),
            conv_silu(32, 64, 3, 2),
            SplitStage(64, 64, 2),
        )
        self.middle = nn.Sequential(conv_silu(64, 128, 3, 2), SplitStage(128, 128, 2))
        self.coarse = nn.Sequential(conv_silu(128, 256, 3, 2), SplitStage(256, 256), PoolPyramid(256))
        self.to_middle = SplitStage(384, 128)
        self.to_fine = SplitStage(192, 64)
        self.heads = nn.ModuleList(nn.Conv2d(width, YOLO_BOX + YOLO_CLASSES, 1) for width in (64, 128, 256))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.to_middle(torch.cat([F.interpolate(coarse, scale_factor=2), middle], 1))
        fine = self.to_fine(torch.cat([F.interpolate(middle, scale_factor=2), fine], 1))
        maps = zip(self.heads, (fine, middle, coarse), strict=True)
        found = torch.cat([head(features).flatten(2) for head, features in maps], 2)
        boxes, classes = torch.split(found, [YOLO_BOX, YOLO_CLASSES], 1)
        return torch.cat([boxes.sigmoid() * 2 - 0.5, classes.sigmoid()], 1)


class Espcn(nn.Module):
    """ESPCN (Shi et al., 2016): an image three times as large, its pixels from channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 64, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(32, 9, 3, padding=1),
            nn.PixelShuffle(3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def reflected(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution with mirrored edges, instance norm and an activation."""
    return nn.Sequential(
        nn.ReflectionPad2d(kernel // 2),
        nn.Conv2d(inputs, outputs, kernel, stride),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.ReLU(),
    )


class StyleTransfer(nn.Module):
    """Fast style transfer (Johnson et al., 2016) with one level down and up."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            reflected(3, width, 9),
            reflected(width, 2 * width, 3, 2),
            reflected(2 * width, 2 * width, 3),
            nn.Upsample(scale_factor=2),
            reflected(2 * width, width, 3),
            nn.ReflectionPad2d(4),
            nn.Conv2d(width, 3, 9),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Denoiser(nn.Module):
    """Residual blocks with group norm and SiLU as in diffusion models (Ho et al., 2020), at one size."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.begin = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(4)
        )
        self.end = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x)
        for block in self.blocks:
            x = x + block(x)
        return self.end(x)


class DeepLab(nn.Module):
    """DeepLabV3 (Chen et al., 2017): dilated convolutions side by side, then enlarged to the size of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_silu(3, 32, 3, 2), conv_silu(32, 64, 3, 2), conv_silu(64, 128, 3, 2))
        dilated = (nn.Conv2d(128, 64, 3, padding=rate, dilation=rate) for rate in DEEPLAB_RATES)
        self.pyramid = nn.ModuleList([nn.Conv2d(128, 64, 1), *dilated])
        self.whole = nn.Conv2d(128, 64, 1)
        self.head = nn.Conv2d(64 * (2 + len(DEEPLAB_RATES)), DEEPLAB_CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        parts = [F.relu(conv(features)) for conv in self.pyramid]
        whole = F.relu(self.whole(features.mean((2, 3), keepdim=True)))
        parts.append(F.interpolate(whole, size=features.shape[2:], mode="bilinear"))
        return F.interpolate(self.head(torch.cat(parts, 1)), size=x.shape[2:], mode="bilinear")
