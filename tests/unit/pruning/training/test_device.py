"""Training batches for a GPU are those of the CPU; the device that is asked for is the one that is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from prunemap.core.plan import Plan
from prunemap.datasets import Dataset
from prunemap.datasets.memory import MemoryImages
from prunemap.errors import UserError
from prunemap.pruning import Pruner, TrainConfig, list_layers, prune, train
from prunemap.pruning.masks import check_zeros
from prunemap.pruning.training.batches import ResidentImages, training_batches
from prunemap.pruning.training.device import choose_device, device_of, placed, uses_bfloat16

CPU = torch.device("cpu")


def test_batches_cut_on_the_device_equal_those_read_on_the_cpu(data: Dataset) -> None:
    assert isinstance(data.train.source, MemoryImages)
    resident = ResidentImages(data.train, data.train.source, CPU)
    read = training_batches(data.train, 24, 3, CPU)
    for epoch in (0, 5):
        pairs = list(zip(resident.training_batches(24, 3, epoch), read(epoch), strict=True))
        assert len(pairs) == data.train.training_steps(24)
        for cut, expected in pairs:
            assert torch.equal(cut.labels, expected.labels)
            assert cut.images.is_contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(cut.images, expected.images, rtol=1e-6, atol=1e-6)


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(name).type for name in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(UserError, match="device: got cuda, but torch finds no GPU"):
        choose_device("cuda")
    with pytest.raises(UserError, match="device: got 'tpu', allowed are auto, cpu, cuda"):
        choose_device("tpu")


def test_a_gpu_that_is_not_there_stops_training_before_it_begins(
    net: nn.Module, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds no GPU"):
        train(net, data, TrainConfig(epochs=2, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("masked", [False, True])
def test_training_on_a_gpu_is_training_on_the_cpu(
    make_net: Callable[[], nn.Module], make_plan: Callable[..., Plan], data: Dataset, tmp_path: Path, masked: bool
) -> None:
    """In float32 without dropout, where a wrong step would show after a few epochs."""
    config = TrainConfig(epochs=3, batch_size=24, lr=0.05, warmup_epochs=0.5, precision="float32")
    nets, histories = [make_net() for _ in range(2)], []
    for net, device in zip(nets, ("cpu", "cuda"), strict=True):
        net.dropout = nn.Identity()
        example = torch.zeros(1, 1, 8, 8)
        masks = prune(net, make_plan(list_layers(net, example), "unstructured", 0.5), example) if masked else {}
        settings = config.model_copy(update={"device": device})
        histories.append(train(net, data, settings, masks=masks, checkpoint=tmp_path / device))
        assert device_of(net) == CPU
    for cpu, gpu in zip(*(history.epochs for history in histories), strict=True):
        assert gpu.loss == pytest.approx(cpu.loss, rel=0.02)
    for name, value in nets[0].state_dict().items():
        torch.testing.assert_close(nets[1].state_dict()[name].float(), value.float(), rtol=0.05, atol=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("method", ["reweighted", "gradual", "admm"])
def test_pruning_on_a_gpu_is_pruning_on_the_cpu(
    make_net: Callable[[], nn.Module], make_plan: Callable[..., Plan], data: Dataset, method: str
) -> None:
    """The recorded step sees the penalty and the masks of later updates."""
    config = TrainConfig(epochs=3, batch_size=24, lr=0.05, warmup_epochs=0.5, precision="float32")
    example, shares = torch.zeros(1, 1, 8, 8), []
    for device in ("cpu", "cuda"):
        net = make_net()
        net.dropout = nn.Identity()
        plan = make_plan(list_layers(net, example), "punched:4x2", 0.4, dense=("conv1", "fc"))
        pruner = Pruner(net, plan, example, method=method, steps=27)
        train(net, data, config.model_copy(update={"device": device}), pruner=pruner)
        pruner.finalize()
        shares.append(pruner.masks["conv2"].cpu())
        check_zeros(net, pruner.masks)
    assert float((shares[0] == shares[1]).float().mean()) > 0.95


def test_a_module_is_moved_back(net: nn.Module) -> None:
    with pytest.raises(KeyboardInterrupt), placed(net, torch.device("meta")):
        assert device_of(net).type == "meta"
        net.to_empty(device=CPU)
        raise KeyboardInterrupt
    assert device_of(net) == CPU
    assert device_of(nn.ReLU()) == CPU


def test_bfloat16_is_automatic_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert uses_bfloat16("auto", torch.device("cuda"))
    assert uses_bfloat16("bfloat16", CPU)
    assert not uses_bfloat16("float32", torch.device("cuda"))
