"""Weights to start from: checkpoints, state dicts of others, and every way in which they can be wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.models import MODELS
from prunemap.pruning import build_described, describe_model, save_checkpoint, save_compact_checkpoint
from prunemap.pruning.recipes.start_weights import load_weights

# SHA-256 of the sorted lines "name shape" of torchvision 0.29.1's state dicts.
TORCHVISION = {
    "resnet50": "2d5b8870b35e15302b693633772b7dd09604c71f966194756edea01b1c1ca347",
    "vgg16": "26a44a8d3cab16c67a2e446a90410ce627919f48ca28949d4a95f218ccda926f",
    "mobilenetv2": "b37e2a9130e6341bc6158c07707da3e63bbde46fdbffb1ff4d42ea45ff281e7e",
}


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not run",)


@pytest.mark.parametrize("name", TORCHVISION)
def test_state_dicts_of_torchvision_fit_the_zoo(name: str) -> None:
    with torch.device("meta"):
        state = MODELS[name].make(3, 1000, **MODELS[name].options).state_dict()
    lines = "\n".join(f"{key} {list(value.shape)}" for key, value in sorted(state.items()))
    assert hashlib.sha256(lines.encode()).hexdigest() == TORCHVISION[name]


def as_zeros(net: nn.Module) -> None:
    with torch.no_grad():
        for value in net.state_dict().values():
            value.zero_()


@pytest.mark.parametrize("holder", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_files_of_torch_save(net: nn.Module, tmp_path: Path, holder: str | None, prefix: str) -> None:
    state = {prefix + name: value.clone() for name, value in net.state_dict().items()}
    wanted = {name.removeprefix(prefix): value for name, value in state.items()}
    torch.save(state if holder is None else {holder: state, "epoch": 3}, tmp_path / "w.pth")
    as_zeros(net)
    load_weights(net, tmp_path / "w.pth", "model.start")
    assert all(torch.equal(value, wanted[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("save", [save_checkpoint, save_compact_checkpoint, None])
def test_safetensors_with_and_without_a_description(
    data: Dataset, tmp_path: Path, save: Callable[..., None] | None
) -> None:
    info = describe_model("resnet8", {"width": 0.25}, data)
    module, other = build_described(info, 1), build_described(info, 2)
    if save is None:
        save_file(module.state_dict(), tmp_path / "w.safetensors")
    else:
        save(tmp_path / "w.safetensors", module, info)
    load_weights(other, tmp_path / "w.safetensors", "model.start")
    for one, two in zip(module.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-3)


def test_what_does_not_fit_is_listed(net: nn.Module, tmp_path: Path) -> None:
    state: dict[str, Tensor] = dict(net.state_dict())
    del state["fc.bias"]
    torch.save({**state, "extra": torch.ones(1), "conv1.weight": torch.ones(8, 1, 5, 5)}, tmp_path / "w.pt")
    before = net.get_parameter("conv2.weight").clone()
    with pytest.raises(UserError) as caught:
        load_weights(net, tmp_path / "w.pt", "model.start")
    message = str(caught.value)
    for line in (
        "missing: fc.bias",
        "not in the model: extra",
        "conv1.weight: shape [8, 1, 5, 5] in the file, [8, 1, 3, 3]",
    ):
        assert line in message
    assert torch.equal(net.get_parameter("conv2.weight"), before)


def test_files_that_hold_no_weights(net: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Harmful()}, tmp_path / "harmful.pth")
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    for name, message in (
        ("harmful.pth", "is corrupted or holds more than tensors"),
        ("numbers.pth", "holds no state dict"),
        ("noise.pth", "is corrupted"),
        ("noise.safetensors", "is corrupted or not a safetensors file"),
        ("none.pth", "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            load_weights(net, tmp_path / name, "model.start")
    assert "this must not run" not in capsys.readouterr().out
