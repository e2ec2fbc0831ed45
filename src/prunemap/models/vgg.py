"""VGG-16 (Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556), with the parameter names of torchvision.

For 224 px without batch norm and with three linear layers, as published. For 32 px with batch norm and one linear
layer, as it is trained on CIFAR-10 (Liu and Deng, 2015).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from prunemap.models.layers import initialise, scaled

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096
LAST_MAP = 7
"""Pixels per side after the last pooling at 224 px."""


class VGG(nn.Module):
    """Convolutions, then linear layers on the flattened map."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


def feature_layers(in_channels: int, width: float, batch_norm: bool) -> Iterator[nn.Module]:
    """Yield 13 convolutions of 3x3, each with ReLU, and a max pooling after every stage."""
    for stage in STAGES:
        for channels in stage:
            out_channels = scaled(channels, width)
            yield nn.Conv2d(in_channels, out_channels, 3, padding=1)
            if batch_norm:
                yield nn.BatchNorm2d(out_channels)
            yield nn.ReLU(inplace=True)
            in_channels = out_channels
        yield nn.MaxPool2d(2, 2)


def make_vgg16_cifar(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return VGG-16 for 32 px."""
    features = nn.Sequential(*feature_layers(in_channels, width, batch_norm=True))
    return VGG(features, nn.Linear(scaled(STAGES[-1][-1], width), classes))


def make_vgg16(in_channels: int, classes: int, width: float) -> nn.Module:
    """Return VGG-16 for 224 px."""
    hidden, last = scaled(HIDDEN, width), scaled(STAGES[-1][-1], width)
    classifier = nn.Sequential(
        nn.Linear(last * LAST_MAP**2, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(inplace=True),
        nn.Dropout(),
        nn.Linear(hidden, classes),
    )
    return VGG(nn.Sequential(*feature_layers(in_channels, width, batch_norm=False)), classifier)
