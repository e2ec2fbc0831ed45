"""Small networks of published families for sound, text lines, video and plain vectors, as torch definitions."""

from __future__ import annotations

from functools import reduce

import torch
from architecture_tokens import Attention
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 8, 16, 32)
"""Of the temporal networks."""


class TemporalNetwork(nn.Module):
    """TCN (Bai et al., 2018): causal dilated convolutions with residual sums. (N, 16, T) to (N, 10, T)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.begin = nn.Conv1d(16, width, 1)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, 3, dilation=dilation) for dilation in DILATIONS)
        self.end = nn.Conv1d(width, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x)
        for dilation, conv in zip(DILATIONS, self.convs, strict=True):
            x = x + F.relu(conv(F.pad(x, (2 * dilation, 0))))
        return self.end(x)


class GatedLayer(nn.Module):
    """A causal convolution gated by another, then 1x1. (N, width, T) to the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.filter = nn.Conv1d(width, width, 2, dilation=dilation, padding=dilation)
        self.gate = nn.Conv1d(width, width, 2, dilation=dilation, padding=dilation)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[2]
        filtered = torch.tanh(self.filter(x)[..., :steps])
        return self.mix(filtered * torch.sigmoid(self.gate(x)[..., :steps]))


class WaveNet(nn.Module):
    """WaveNet (van den Oord et al., 2016) with six layers. (N, 1, T) to (N, 64, T)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.begin = nn.Conv1d(1, width, 1)
        self.layers = nn.ModuleList(GatedLayer(width, dilation) for dilation in DILATIONS)
        self.end = nn.Conv1d(width, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.begin(x)
        found = []
        for layer in self.layers:
            found.append(layer(x))
            x = x + found[-1]
        return self.end(F.relu(reduce(torch.add, found)))


class Crnn(nn.Module):
    """CRNN (Shi et al., 2017): convolutions and two LSTMs in both directions read a line of text, (N, 1, 32, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.MaxPool2d((8, 1)),
        )
        self.recurrence = nn.LSTM(128, 128, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(256, 37)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.features(x).squeeze(2).transpose(1, 2)
        return F.log_softmax(self.head(self.recurrence(columns)[0]), -1)


class Conformer(nn.Module):
    """Half a block of Conformer (Gulati et al., 2020): perceptron, attention, convolution module. (N, T, width)."""

    def __init__(self, width: int = 144) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, width),
        )
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, 4))
        self.norm = nn.LayerNorm(width)
        self.convs = nn.Sequential(
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(1),
            nn.Conv1d(width, width, 31, padding=15, groups=width),
            nn.BatchNorm1d(width),
            nn.SiLU(),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.perceptron(x)
        x = x + self.attention(x)
        return x + self.convs(self.norm(x).transpose(1, 2)).transpose(1, 2)


def separable(width: int) -> nn.Sequential:
    """Return a depthwise 3x3 and a 1x1 convolution, with biases, each with its norm and activation."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class KeywordSpotting(nn.Module):
    """DS-CNN (Zhang et al., 2017), as in MLPerf Tiny: (N, 1, 49, 10) to 12 words."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, (10, 4), 2, (5, 1)), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(separable(width) for _ in range(4)))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 12))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)))


class VideoNetwork(nn.Module):
    """C3D (Tran et al., 2015) with three convolutions over time and space. (N, 3, T, H, W) to 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(32, 64, 3, padding=1),
            nn.BatchNorm3d(64),
            nn.ReLU(),
            nn.MaxPool3d(2),
            nn.Conv3d(64, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3, 4)))


class Perceptron(nn.Module):
    """A multilayer perceptron with both kinds of norm: (N, 128) to 10 probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(128, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Linear(512, 512),
            nn.LayerNorm(512),
            nn.GELU(),
            nn.Linear(512, 10),
            nn.Softmax(-1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
