"""MODELS: the networks that prunemap can build, one file per family, with torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType

import torch
from torch import nn

from prunemap.core.table import by_name, look_up
from prunemap.errors import Problems, UserError
from prunemap.models.entry import ModelEntry, Options
from prunemap.models.mobilenetv2 import make_mobilenetv2, make_mobilenetv2_cifar
from prunemap.models.resnet import make_resnet8, make_resnet20, make_resnet50
from prunemap.models.vgg import make_vgg16, make_vgg16_cifar

__all__ = ["MODELS", "ModelEntry", "Options", "build_model"]

MODELS: dict[str, ModelEntry] = by_name(
    (
        ModelEntry("resnet8", 28, make_resnet8),  # ResNet-8, widths 32/64/128, for 28 or 32 px
        ModelEntry("resnet20", 32, make_resnet20),  # ResNet-20 of CIFAR-10, widths 16/32/64
        ModelEntry("vgg16-cifar", 32, make_vgg16_cifar),  # VGG-16 with batch norm and one linear layer
        ModelEntry("mobilenetv2-cifar", 32, make_mobilenetv2_cifar),  # MobileNetV2 with the strides of CIFAR-10
        ModelEntry("resnet50", 224, make_resnet50),  # ResNet-50 (v1.5)
        ModelEntry("vgg16", 224, make_vgg16),  # VGG-16 without batch norm
        ModelEntry("mobilenetv2", 224, make_mobilenetv2),
    )
)


def build_model(
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    options: Options = MappingProxyType({}),
    seed: int = 0,
) -> nn.Module:
    """Return a network with fresh weights that follow from ``seed``; the global random state is left alone.

    Args:
        input_shape: (C, H, W) of one image.
        options: such as ``{"width": 0.5}``.

    Raises:
        UserError: no such model or option, or the model cannot take such images.
    """
    entry = look_up(MODELS, name, "model")
    settings = {**entry.options, **checked_options(entry, options)}
    channels = input_shape[0]
    try:
        with torch.device("meta"), torch.no_grad():
            entry.make(channels, classes, **settings).eval()(torch.empty(1, *input_shape))
    except RuntimeError as error:
        raise UserError(
            f"model: {name} is made for {entry.input_size} px, it cannot take images of {list(input_shape)}: {error}"
        ) from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return entry.make(channels, classes, **settings)


def checked_options(entry: ModelEntry, options: Mapping[str, float]) -> Mapping[str, float]:
    """Return the options.

    Raises:
        UserError: one is not known to the model, or not positive and finite.
    """
    problems = Problems(f"model options of {entry.name}")
    for option, value in options.items():
        if option not in entry.options:
            problems.add(f"got {option!r}, allowed are {', '.join(entry.options)}")
        elif not 0 < value < inf:
            problems.add(f"{option}: got {value:g}, allowed is a finite number above 0")
    problems.raise_if_any()
    return options
