"""Weights of every kind: found, seen as the schemes see them, listed with their MACs, pruned and exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from prunemap.compiler.layers import read_layers
from prunemap.core.plan import Plan
from prunemap.errors import UserError
from prunemap.pruning import export_onnx, list_layers, prune
from prunemap.pruning.export import convert_module
from prunemap.pruning.masks import apply_masks, check_zeros
from prunemap.pruning.weights import prunable_weights

MakePlan = Callable[..., Plan]


class Recurrent(nn.Module):
    """An LSTM both ways, a GRU, a linear layer; (N, L, 5) → (N, L, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.gru(self.lstm(x)[0])[0])


class Attention(nn.Module):
    """Self-attention and a linear layer; (N, L, 8) → (N, L, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.attention(x, x, x, need_weights=False)[0])


class Upscaler(nn.Module):
    """Convolutions in one and two dimensions, transposed ones too, in groups and dilated; (N, 4, 12) → (N, 2, …)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1d = nn.Conv1d(4, 8, 5, padding=4, dilation=2, groups=2)
        self.up1d = nn.ConvTranspose1d(8, 6, 3, stride=2, groups=2)
        self.conv2d = nn.Conv2d(6, 8, (1, 7), groups=2)
        self.up2d = nn.ConvTranspose2d(8, 6, (3, 2), groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up2d(self.conv2d(self.up1d(self.conv1d(x))[:, :, None]))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "recurrent": (Recurrent, (1, 7, 5)),
    "attention": (Attention, (1, 7, 8)),
    "upscaler": (Upscaler, (1, 4, 12)),
}


def make(name: str) -> tuple[nn.Module, torch.Tensor]:
    build, shape = CASES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(), torch.randn(shape)


def test_layers_and_macs() -> None:
    found = {name: [(s.module, s.kind, s.weight_shape, s.macs) for s in list_layers(*make(name))] for name in CASES}
    assert found["recurrent"][:3] == [
        ("lstm.weight_ih_l0", "lstm", (16, 5), 7 * 80),
        ("lstm.weight_hh_l0", "lstm", (16, 4), 7 * 64),
        ("lstm.weight_ih_l0_reverse", "lstm", (16, 5), 7 * 80),
    ]
    assert found["recurrent"][4:] == [
        ("gru.weight_ih_l0", "gru", (18, 8), 7 * 144),
        ("gru.weight_hh_l0", "gru", (18, 6), 7 * 108),
        ("fc", "linear", (2, 6), 7 * 12),
    ]
    assert found["attention"] == [
        ("attention.in_proj_weight", "linear", (24, 8), 7 * 192),
        ("attention.out_proj", "linear", (8, 8), 7 * 64),
        ("fc", "linear", (3, 8), 7 * 24),
    ]
    assert found["upscaler"] == [
        ("conv1d", "conv", (8, 2, 5), 12 * 80),
        ("up1d", "conv_transpose", (6, 4, 3), 12 * 72),
        ("conv2d", "conv", (8, 3, 1, 7), 19 * 168),
        ("up2d", "conv_transpose", (6, 4, 3, 2), 19 * 144),
    ]


@pytest.mark.parametrize("name", CASES)
def test_onnx_has_the_same_layers(name: str, tmp_path: Path) -> None:
    """Kind, shape and MACs, in the same order, so that a plan made from the one fits the other; of a batch of two."""
    module, example = make(name)
    example = torch.cat([example, example])
    convert_module(module, example, tmp_path / "m.onnx")
    exported, listed = [layer.spec for layer in read_layers(tmp_path / "m.onnx")], list_layers(module, example)
    assert [(s.kind, s.weight_shape) for s in exported] == [(s.kind, s.weight_shape) for s in listed]
    assert [s.macs for s in exported] == [s.macs for s in listed]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scheme", ["punched:2x2", "filter"])
def test_pruned_and_exported_they_compute_the_same(name: str, scheme: str, make_plan: MakePlan, tmp_path: Path) -> None:
    module, example = make(name)
    masks = prune(module, make_plan(list_layers(module, example), scheme, 0.5), example)
    check_zeros(module, masks)
    assert set(masks) >= set(prunable_weights(module))
    export_onnx(module, example, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": example.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, module.eval()(example).numpy(), atol=1e-5)
    densities = [float((layer.weight != 0).mean()) for layer in read_layers(tmp_path / "m.onnx")]
    assert max(densities) < 0.75


def test_attention_is_marked_in_onnx(tmp_path: Path) -> None:
    module, example = make("attention")
    export_onnx(module, example, tmp_path / "m.onnx")
    marks = [prop.value for node in onnx.load(tmp_path / "m.onnx").graph.node for prop in node.metadata_props]
    assert marks == ["attention.in_proj_weight", "attention.out_proj", "fc"]


def test_recurrent_layers_are_marked_in_onnx(tmp_path: Path) -> None:
    """So that layers of equal shapes are told apart, by whichever way the file was written."""
    stack = nn.Sequential(nn.LSTM(4, 4, num_layers=2, bidirectional=True))
    examples = torch.randn(3, 1, 4)
    names = list(prunable_weights(stack))
    convert_module(stack, examples, tmp_path / "m.onnx")
    layers = [layer.spec for layer in read_layers(tmp_path / "m.onnx")]
    assert [layer.module for layer in layers] == names
    one, example = make("recurrent")
    export_onnx(one, example, tmp_path / "n.onnx")
    specs = [layer.spec for layer in read_layers(tmp_path / "n.onnx")]
    assert [layer.module for layer in specs] == [layer.module for layer in list_layers(one, example)]


def test_attention_with_keys_of_another_width() -> None:
    attention = nn.MultiheadAttention(8, 2, kdim=6, vdim=4)
    query, key, value = torch.zeros(3, 2, 8), torch.zeros(5, 2, 6), torch.zeros(5, 2, 4)
    layers = list_layers(attention, {"query": query, "key": key, "value": value})
    assert [(layer.module, layer.macs) for layer in layers] == [
        ("q_proj_weight", 3 * 64),
        ("k_proj_weight", 5 * 48),
        ("v_proj_weight", 5 * 32),
        ("out_proj", 3 * 64),
    ]


def test_packed_sequences_and_cells() -> None:
    layers = list_layers(nn.LSTM(5, 4), (pack_sequence([torch.zeros(6, 5), torch.zeros(2, 5)]),))
    assert [layer.macs for layer in layers] == [6 * 80, 6 * 64]
    cell = list_layers(nn.GRUCell(5, 4), torch.zeros(2, 5))
    assert [(layer.module, layer.macs) for layer in cell] == [("weight_ih", 60), ("weight_hh", 48)]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_a_transposed_convolution_is_seen_filters_first(groups: int, inputs: int, outputs: int, kernel: int) -> None:
    """Each filter that schemes see makes exactly the channel of its number."""
    layer = nn.ConvTranspose2d(groups * inputs, groups * outputs, kernel, groups=groups, bias=False)
    (weight,) = prunable_weights(layer).values()
    seen = weight.seen(weight.parameter.detach())
    assert seen.shape == (groups * outputs, inputs, kernel, kernel)
    assert torch.equal(weight.stored(seen), layer.weight)
    mask = torch.ones_like(seen, dtype=torch.bool)
    mask[-1] = False
    apply_masks(layer, {"": weight.stored(mask)})
    alive = layer(torch.randn(1, groups * inputs, 3, 3)).detach().abs().amax((0, 2, 3)) > 0
    assert alive.tolist() == [True] * (groups * outputs - 1) + [False]


def test_a_computed_weight_is_refused(make_plan: MakePlan) -> None:
    module = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.Linear(8, 8))
    plan = make_plan(list_layers(module, torch.zeros(1, 4)), "unstructured", 0.5)
    with pytest.raises(UserError, match=r"layer '0' \[8, 4\]: its weight is computed by a parametrization"):
        prune(module, plan, torch.zeros(1, 4))
    assert module[1].weight.all()
