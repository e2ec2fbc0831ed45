"""Every network of the MODELS table."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunemap.errors import UserError
from prunemap.models import MODELS, ModelEntry, build_model
from prunemap.models.layers import scaled

# As torchvision counts them (ImageNet), He et al. (0.27 M), Liu and Deng; with 10 classes at 28/32 px.
PARAMETERS = {
    "resnet8": 308_650,
    "resnet20": 272_474,
    "vgg16-cifar": 14_728_266,
    "mobilenetv2-cifar": 2_236_682,
    "resnet50": 25_557_032,
    "vgg16": 138_357_544,
    "mobilenetv2": 3_504_872,
}
# The first and last weights and one in the middle, as in torchvision's state dicts.
TORCHVISION_KEYS = {
    "resnet50": {"conv1.weight", "layer1.0.downsample.0.weight", "layer3.5.conv3.weight", "bn1.running_var", "fc.bias"},
    "vgg16": {"features.0.weight", "features.28.bias", "classifier.0.weight", "classifier.6.bias"},
    "mobilenetv2": {
        "features.0.0.weight",
        "features.1.conv.1.weight",
        "features.17.conv.3.running_mean",
        "features.18.0.weight",
        "classifier.1.bias",
    },
}


def on_meta(entry: ModelEntry, classes: int) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return entry.make(3, classes, **entry.options)


@pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
def test_number_of_parameters(entry: ModelEntry) -> None:
    module = on_meta(entry, 1000 if entry.input_size == 224 else 10)
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[entry.name]


@pytest.mark.parametrize("name", TORCHVISION_KEYS)
def test_parameters_are_called_as_in_torchvision(name: str) -> None:
    assert TORCHVISION_KEYS[name] <= set(on_meta(MODELS[name], 1000).state_dict())


@pytest.mark.parametrize("entry", MODELS.values(), ids=MODELS)
def test_signal_neither_dies_nor_explodes(entry: ModelEntry) -> None:
    """A quarter of the width and, where the network takes them, small images keep it fast."""
    size = entry.input_size if entry.name.startswith("vgg") else 32
    shape = (3, size, size)
    module = build_model(entry.name, shape, 10, {"width": 0.25})
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    outputs = module.train()(images)
    assert outputs.shape == (2, 10)
    assert 1e-6 < outputs.std() < 10
    assert not torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_resnet8_takes_both_small_sizes(shape: tuple[int, int, int]) -> None:
    module = build_model("resnet8", shape, 10)
    assert module(torch.zeros(1, *shape)).shape == (1, 10)


def test_seed_gives_the_weights_and_leaves_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (build_model("resnet8", (1, 28, 28), 10, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert not torch.equal(first.fc.weight, third.fc.weight)


def test_width_scales_the_channels() -> None:
    module = build_model("vgg16-cifar", (3, 32, 32), 10, {"width": 0.5})
    convs = [layer.out_channels for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert convs == [32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256, 256]
    assert [scaled(channels, 0.1) for channels in (16, 64, 100, 200)] == [8, 8, 16, 24]


def test_bad_requests_are_all_named() -> None:
    with pytest.raises(UserError, match="model: got 'resnet18', allowed are resnet8, resnet20"):
        build_model("resnet18", (3, 32, 32), 10)
    with pytest.raises(UserError) as caught:
        build_model("resnet8", (1, 28, 28), 10, {"depth": 3, "width": -1})
    assert "got 'depth', allowed are width" in str(caught.value)
    assert "width: got -1, allowed is a finite number above 0" in str(caught.value)
    with pytest.raises(UserError, match="width: got inf, allowed is a finite number above 0"):
        build_model("resnet8", (1, 28, 28), 10, {"width": float("inf")})
    with pytest.raises(UserError, match=r"vgg16-cifar is made for 32 px, it cannot take images of \[1, 28, 28\]"):
        build_model("vgg16-cifar", (1, 28, 28), 10)
