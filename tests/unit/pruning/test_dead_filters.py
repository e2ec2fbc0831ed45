"""A filter that is pruned is really gone: so is its bias, and so is the batch norm behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunemap.compiler.ir import Conv, Linear
from prunemap.compiler.onnx_file import read_onnx
from prunemap.compiler.onnx_import import import_graph
from prunemap.compiler.passes import optimise
from prunemap.core.plan import Plan
from prunemap.datasets import Dataset
from prunemap.models import build_model
from prunemap.pruning import Pruner, TrainConfig, export_onnx, list_layers, prune, train
from prunemap.pruning.dead_filters import companions
from prunemap.pruning.layers import resolve_plan
from prunemap.pruning.masks import check_zeros

MakePlan = Callable[..., Plan]
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Shared(nn.Module):
    """A batch norm behind two convolutions, one behind a relu, one behind a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.both = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.three, self.late = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.up, self.norm = nn.ConvTranspose2d(4, 6, 2), nn.BatchNorm2d(6, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.both(self.one(x)) + self.both(self.two(x))
        return self.norm(self.up(self.late(torch.relu(self.three(y)))))


def test_whose_parameters_go_with_a_filter(make_plan: MakePlan) -> None:
    module = Shared()
    layers = list_layers(module, EXAMPLE)
    choices = resolve_plan(make_plan(layers, "filter", 0.5), layers)
    assert companions(module, EXAMPLE, choices) == {
        "one": ("one.bias",),
        "two": (),
        "three": ("three.bias",),
        "up": ("up.bias", "norm.weight", "norm.bias"),
    }
    assert not any(layer._forward_hooks for layer in module.modules())
    other = resolve_plan(make_plan(layers, "punched:2x2", 0.5), layers)
    assert companions(module, EXAMPLE, other) == {}


def trained_statistics(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 0.2, 0.3, generator=generator)


def test_the_compiler_drops_every_dead_channel(make_plan: MakePlan, tmp_path: Path) -> None:
    """Half of the filters of every layer gone leaves a quarter of the weights, through residual sums too."""
    module = build_model("resnet8", (1, 16, 16), 10, {"width": 0.5})
    trained_statistics(module)
    example = torch.zeros(1, 1, 16, 16)
    prune(module, make_plan(list_layers(module, example), "filter", 0.5, dense=("fc",)), example)
    export_onnx(module, example, tmp_path / "m.onnx")
    graph = optimise(import_graph(read_onnx(tmp_path / "m.onnx")))
    shares = {n.name: float(np.mean(n.op.weight != 0)) for n in graph.nodes if isinstance(n.op, Conv | Linear)}
    assert len(shares) == 10
    assert {name for name, share in shares.items() if share > 0.251} == {"conv1", "fc"}
    assert shares["conv1"] == shares["fc"] == 0.5


@pytest.mark.parametrize("retrained", [True, False])
def test_they_stay_zero(net: nn.Module, make_plan: MakePlan, data: Dataset, tmp_path: Path, retrained: bool) -> None:
    """Held through retraining, and by a Pruner that is saved and resumed."""
    trained_statistics(net)
    plan = make_plan(list_layers(net, EXAMPLE), "filter", 0.5, dense=("fc",))
    if retrained:
        masks = prune(net, plan, EXAMPLE)
        train(net, data, TrainConfig(epochs=1, warmup_epochs=0.5, batch_size=24), masks=masks)
    else:
        first = Pruner(net, plan, EXAMPLE, method="one_shot")
        second = Pruner(net, plan, EXAMPLE, method="one_shot")
        second.load_state_dict(first.state_dict())
        masks = second.masks
    assert {"conv1", "bn.weight", "bn.bias", "depthwise.bias", "conv2.bias"} <= masks.keys()
    check_zeros(net, masks)
    dead = ~masks["conv1"].flatten(1).any(1)
    assert torch.equal(dead, ~masks["bn.bias"])
    assert int(dead.sum()) == 4
    assert not net.get_parameter("bn.bias")[dead].any()
    assert net.get_parameter("bn.bias")[~dead].all()
