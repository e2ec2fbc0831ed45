"""Checkpoints of networks of the MODELS table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from prunemap.datasets import load_dataset
from prunemap.errors import UserError
from prunemap.pruning import (
    ModelInfo,
    build_described,
    describe_model,
    load_checkpoint,
    load_checkpoint_for,
    save_checkpoint,
    save_compact_checkpoint,
)
from prunemap.pruning.recipes.start_weights import load_weights

INFO = ModelInfo(
    model="resnet20",
    options={"width": 0.5},
    input_shape=(1, 28, 28),
    classes=("a", "b", "c"),
    dataset="letters",
    mean=(0.5,),
    std=(0.25,),
)


def test_round_trip(tmp_path: Path) -> None:
    module = build_described(INFO, seed=3)
    module.get_buffer("bn1.running_mean").fill_(0.25)
    save_checkpoint(tmp_path / "m.safetensors", module, INFO)
    loaded, info = load_checkpoint(tmp_path / "m.safetensors")
    assert info == INFO
    assert not loaded.training
    assert loaded.state_dict().keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_tied_and_channels_last_weights_can_be_saved(tmp_path: Path) -> None:
    module = build_described(INFO).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.bn1.bias = module.bn1.weight
    save_checkpoint(tmp_path / "m.safetensors", module, INFO)
    loaded, _ = load_checkpoint(tmp_path / "m.safetensors")
    assert torch.equal(loaded.bn1.bias, module.bn1.weight)
    assert torch.equal(loaded.conv1.weight, module.conv1.weight)


def test_description_of_a_data_set() -> None:
    info = describe_model("resnet8", {}, load_dataset("fashion-mnist-subset"))
    assert info.input_shape == (1, 28, 28)
    assert info.classes[0] == "T-shirt/top"
    assert (info.dataset, info.mean, info.std) == ("fashion-mnist-subset", (0.2860,), (0.3530,))


def test_unusable_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    with pytest.raises(UserError, match="checkpoint: no such file"):
        load_checkpoint(file)
    file.write_bytes(b"PK\x03\x04 a pickle of somebody else's")
    with pytest.raises(UserError, match=r"m\.safetensors is corrupted or not a safetensors file"):
        load_checkpoint(file)
    save_checkpoint(file, torch.nn.Linear(2, 2), INFO)
    with pytest.raises(UserError, match=r"the weights in .*m\.safetensors do not fit resnet20: "):
        load_checkpoint(file)
    save_checkpoint(file, build_described(INFO), INFO.model_copy(update={"model": "resnet7"}))
    with pytest.raises(UserError, match="model: got 'resnet7', allowed are"):
        load_checkpoint(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="is corrupted"):
        load_checkpoint(file)


def test_a_training_run_is_not_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="is not a ModelInfo file of prunemap"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_a_compact_checkpoint_rounds_weights_and_leaves_zeros_out(tmp_path: Path) -> None:
    module = build_described(INFO, seed=3)
    with torch.no_grad():
        module.layer3[0].conv2.weight[:, 3:] = 0
    plain, compact = tmp_path / "plain.safetensors", tmp_path / "compact.safetensors"
    save_checkpoint(plain, module, INFO)
    save_compact_checkpoint(compact, module, INFO)
    loaded, info = load_checkpoint(compact)
    assert info == INFO
    for name, value in module.state_dict().items():
        found = loaded.state_dict()[name]
        assert found.dtype == value.dtype
        assert torch.equal(found, value.half().to(value.dtype) if value.ndim > 1 else value), name
    assert compact.stat().st_size < 0.6 * plain.stat().st_size
    with safe_open(compact, framework="pt") as file:
        assert file.get_tensor("layer3.0.conv2.weight").shape == (32 * 3 * 9,)


def test_a_compact_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    module = build_described(INFO)
    with torch.no_grad():
        module.conv1.weight[1:] = 0
    save_compact_checkpoint(tmp_path / "m.safetensors", module, INFO.model_copy(update={"options": {"width": 1}}))
    with pytest.raises(UserError, match=r"the weights in .*m\.safetensors do not fit resnet20: "):
        load_checkpoint(tmp_path / "m.safetensors")


def test_a_compact_weight_of_another_size_is_refused(tmp_path: Path) -> None:
    wide, narrow = torch.nn.Linear(8, 32), torch.nn.Linear(8, 16)
    with torch.no_grad():
        wide.weight[1:] = 0
    save_compact_checkpoint(tmp_path / "m.safetensors", wide, INFO)
    with pytest.raises(UserError, match=r"what is kept of weight does not fit \[16, 8\]"):
        load_weights(narrow, tmp_path / "m.safetensors", "start")


def test_a_checkpoint_and_data_must_fit(tmp_path: Path) -> None:
    data = load_dataset("fashion-mnist-subset")
    save_checkpoint(tmp_path / "m.safetensors", build_described(INFO), INFO)
    with pytest.raises(UserError, match=r"it has 3 classes, fashion-mnist-subset has 10"):
        load_checkpoint_for(tmp_path / "m.safetensors", data)
    info = describe_model("resnet8", {"width": 0.25}, data).model_copy(
        update={"dataset": "fashion-mnist", "mean": (9,)}
    )
    save_checkpoint(tmp_path / "m.safetensors", build_described(info), info)
    with pytest.warns(UserWarning, match="was trained on fashion-mnist, and goes on with fashion-mnist-subset"):
        _, found = load_checkpoint_for(tmp_path / "m.safetensors", data)
    assert (found.dataset, found.mean) == (data.name, data.normalisation.mean)
