"""A filter that is pruned is really gone: so is its bias, and so is the batch norm behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import Conv, Linear
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from prunemap.core.plan import Plan
from prunemap.datasets import Dataset
from prunemap.models import build_model
from prunemap.pruning import Pruner, TrainConfig, export_onnx, list_layers, prune, train
from prunemap.pruning.dead_filters import Filters, filters_of
from prunemap.pruning.layers import resolve_plan
from prunemap.pruning.masks import check_zeros

MakePlan = Callable[..., Plan]
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Shared(nn.Module):
    """A batch norm behind two convolutions, one behind a relu and a concat, one behind a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.both = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.three, self.late = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up, self.norm = nn.ConvTranspose2d(8, 6, 2), nn.BatchNorm2d(6, affine=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.both(self.one(x)) + self.both(self.two(x))
        z = self.late(torch.cat([torch.relu(self.three(y)), y], 1))
        return self.norm(self.up(torch.relu(self.depthwise(z))))


def filters_by(module: nn.Module, example: torch.Tensor, make_plan: MakePlan, scheme: str = "filter") -> Filters:
    layers = [layer for layer in list_layers(module, example) if layer.kind != "depthwise"]
    return filters_of(module, example, resolve_plan(make_plan(layers, scheme, 0.5), layers))


def test_whose_parameters_go_with_a_filter(make_plan: MakePlan) -> None:
    """Through a concat and a depthwise layer too, but not those of a batch norm that is called twice."""
    filters = filters_by(Shared(), EXAMPLE, make_plan)
    alive = {name: np.ones(6 if name == "up" else 4, bool) for name in ("one", "two", "three", "up")}
    alive["three"][1] = alive["up"][2] = alive["one"][0] = False
    masks = filters.companions(alive)
    dead = {name: np.flatnonzero(~mask).tolist() for name, mask in masks.items()}
    assert dead == {
        "one.bias": [0],
        "three.bias": [1],
        "late.weight": [1],
        "late.bias": [1],
        "depthwise.bias": [1],
        "up.bias": [2],
        "norm.weight": [2],
        "norm.bias": [2],
    }
    assert filters.shared == (frozenset({"one", "two"}),)
    assert filters_by(Shared(), EXAMPLE, make_plan, "punched:2x2").companions({}) == {}


def test_a_network_that_is_not_known_loses_no_batch_norm(make_plan: MakePlan) -> None:
    class Unknown(Shared):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.qr(super().forward(x))[0]

    with pytest.warns(UserWarning, match="every layer chooses its own filters, and batch norms behind them stay"):
        filters = filters_by(Unknown(), EXAMPLE, make_plan)
    assert filters.shared == ()
    alive = np.asarray([True, False, True, True])
    masks = filters.companions({"one": alive})
    assert masks.keys() == {"one.bias"} and masks["one.bias"] is alive


def trained_statistics(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(layer.bias, 0.2, 0.3, generator=generator)


def shares_of(module: nn.Module, example: torch.Tensor, make_plan: MakePlan, path: Path) -> dict[str, float]:
    """Return the weights that are left of each layer, of half of its filters; depthwise layers and fc stay whole."""
    trained_statistics(module)
    layers = [layer for layer in list_layers(module.eval(), example) if layer.kind != "depthwise"]
    prune(module, make_plan(layers, "filter", 0.5, dense=("fc",)), example)
    export_onnx(module, example, path)
    graph = import_graph(read_onnx(path))
    after = optimise(graph)
    x = {name: np.random.default_rng(0).standard_normal(graph.shapes[name], np.float32) for name in graph.inputs}
    np.testing.assert_allclose(interpret(after, x)[0], interpret(graph, x)[0], atol=1e-5)
    return {n.name: float(np.mean(n.op.weight != 0)) for n in after.nodes if isinstance(n.op, Conv | Linear)}


def test_the_compiler_drops_every_dead_channel(make_plan: MakePlan, tmp_path: Path) -> None:
    """Half of the filters of every layer gone leaves a quarter of the weights, through residual sums too."""
    module = build_model("resnet8", (1, 16, 16), 10, {"width": 0.5})
    shares = shares_of(module, torch.zeros(1, 1, 16, 16), make_plan, tmp_path / "m.onnx")
    assert len(shares) == 10
    assert {name for name, share in shares.items() if share > 0.251} == {"conv1", "fc"}
    assert shares["conv1"] == shares["fc"] == 0.5


class Around(nn.Module):
    """Convolutions a and b and what lies between them; (1, 3, 8, 8) → (1, 8, 8, 8)."""

    def __init__(self, between: Callable[[Around, torch.Tensor], torch.Tensor], channels: int = 8) -> None:
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise, self.gate = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)
        self.up, self.b = nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Conv2d(channels, 8, 3, padding=1)
        self.norm, self.between = nn.BatchNorm2d(channels), between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.between(self, self.a(x)))


def mixed(n: Around, y: torch.Tensor) -> torch.Tensor:
    return y.reshape(1, 2, 4, 8, 8).transpose(1, 2).reshape(1, 8, 8, 8)


BETWEEN: dict[str, tuple[Callable[[Around, torch.Tensor], torch.Tensor], int]] = {
    "batch norm behind the activation": (lambda n, y: n.bn(torch.relu(y)), 8),
    "concat, then batch norm": (lambda n, y: torch.relu(n.norm(torch.cat([torch.relu(n.bn(y)), y], 1))), 16),
    "depthwise": (lambda n, y: torch.relu(n.bn(n.depthwise(torch.relu(y)))), 8),
    "silu": (lambda n, y: nn.functional.silu(n.bn(y)), 8),
    "gate": (lambda n, y: y * torch.sigmoid(n.gate(y.mean((2, 3), keepdim=True))), 8),
    "shuffle": (mixed, 8),
    "split": (lambda n, y: torch.cat([y.chunk(2, 1)[1], y], 1), 12),
    "transposed": (lambda n, y: torch.relu(n.up(y)), 8),
    "pools": (lambda n, y: nn.functional.avg_pool2d(nn.functional.max_pool2d(y, 3, 1, 1), 3, 1, 1), 8),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_a_filter_takes_the_channels_behind_with_it(name: str, make_plan: MakePlan, tmp_path: Path) -> None:
    between, channels = BETWEEN[name]
    shares = shares_of(Around(between, channels), torch.zeros(1, 3, 8, 8), make_plan, tmp_path / "m.onnx")
    assert shares["a"] <= 0.5
    assert shares["b"] == (pytest.approx(0.25, abs=0.09) if name == "split" else 0.25)
    assert shares.get("up", 0.25) == 0.25
    assert "gate" not in shares or shares["gate"] <= 0.25


class Small(nn.Module):
    """Convolutions over a line, and linear layers over tokens with a gelu between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn, self.b = nn.Conv1d(3, 8, 3, padding=1), nn.BatchNorm1d(8), nn.Conv1d(8, 8, 3, padding=1)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.b(torch.relu(self.bn(self.a(x)))))
        return self.down(nn.functional.gelu(self.up(y.transpose(1, 2))))


def test_over_lines_and_tokens(make_plan: MakePlan, tmp_path: Path) -> None:
    shares = shares_of(Small(), torch.zeros(1, 3, 18), make_plan, tmp_path / "m.onnx")
    assert shares == {"a": 0.5, "b": 0.25, "up": 0.25, "down": 0.25}


@pytest.mark.parametrize("retrained", [True, False])
def test_they_stay_zero(net: nn.Module, make_plan: MakePlan, data: Dataset, retrained: bool) -> None:
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
