"""The layers of a module, as LayerSpec."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunemap.core.layer import LayerSetting
from prunemap.models import build_model
from prunemap.pruning import list_layers
from prunemap.pruning.layers import evaluation_mode


class Tokens(nn.Module):
    """A layer that is used twice, in the order opposite to its definition, and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.second(self.first(x)))


def test_small_network(net: nn.Module) -> None:
    layers = list_layers(net, torch.zeros(2, 1, 8, 8))
    assert [(layer.module, layer.kind, layer.weight_shape) for layer in layers] == [
        ("conv1", "conv", (8, 1, 3, 3)),
        ("depthwise", "depthwise", (8, 1, 3, 3)),
        ("conv2", "conv", (16, 8, 3, 3)),
        ("fc", "linear", (3, 16)),
    ]
    assert [layer.macs for layer in layers] == [72 * 64, 72 * 64, 1152 * 16, 48]
    assert layers[2].setting == LayerSetting(
        kind="conv", in_channels=8, out_channels=16, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), size=(8, 8)
    )


def test_settings_agree_with_what_was_run() -> None:
    for layer in list_layers(
        build_model("mobilenetv2-cifar", (3, 32, 32), 10, {"width": 0.25}), torch.zeros(1, 3, 32, 32)
    ):
        assert layer.setting is not None
        assert layer.setting.weight_shape == layer.weight_shape
        assert layer.setting.macs == layer.macs
        assert layer.params == torch.Size(layer.weight_shape).numel()


EVEN_KERNEL = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@EVEN_KERNEL
@pytest.mark.parametrize(
    ("conv", "pads"),
    [
        (nn.Conv2d(2, 2, (3, 5), padding=(1, 2)), (1, 2, 1, 2)),
        (nn.Conv2d(2, 2, (3, 4), padding="same", dilation=(2, 1)), (2, 1, 2, 2)),
        (nn.Conv2d(2, 2, 3, padding="valid"), (0, 0, 0, 0)),
    ],
)
def test_padding(conv: nn.Conv2d, pads: tuple[int, int, int, int]) -> None:
    (layer,) = list_layers(nn.Sequential(conv), torch.zeros(1, 2, 9, 10))
    assert layer.setting is not None
    assert layer.setting.pads == pads
    assert layer.setting.macs == layer.macs


@EVEN_KERNEL
def test_same_padding_is_where_torch_puts_it() -> None:
    conv = nn.Conv2d(1, 1, 4, padding="same", bias=False)
    (layer,) = list_layers(nn.Sequential(conv), torch.zeros(1, 1, 6, 6))
    assert layer.setting is not None
    top, left, bottom, right = layer.setting.pads
    x = torch.randn(1, 1, 6, 6)
    padded = nn.functional.pad(x, (left, right, top, bottom))
    assert torch.allclose(nn.functional.conv2d(padded, conv.weight), conv(x), atol=1e-6)


def test_order_of_execution_and_layers_used_twice() -> None:
    first, second = list_layers(Tokens(), torch.zeros(2, 5, 4))
    assert (first.module, first.macs) == ("first", 5 * 16)
    assert (second.module, second.macs) == ("second", 2 * 5 * 16)
    assert first.setting is None, "the latency of a layer on several tokens is not modelled"


def test_nothing_is_left_behind(net: nn.Module) -> None:
    net.train()
    net.get_submodule("bn").eval()
    before = net.get_buffer("bn.running_mean").clone()
    list_layers(net, torch.ones(1, 1, 8, 8))
    assert net.training
    assert not net.get_submodule("bn").training
    assert torch.equal(net.get_buffer("bn.running_mean"), before)
    assert not any(layer._forward_hooks for layer in net.modules())


def test_evaluation_mode_ends_with_an_error_too(net: nn.Module) -> None:
    with pytest.raises(ZeroDivisionError), evaluation_mode(net.train()):
        assert not net.get_submodule("dropout").training
        raise ZeroDivisionError
    assert net.get_submodule("dropout").training
    assert torch.is_grad_enabled()
