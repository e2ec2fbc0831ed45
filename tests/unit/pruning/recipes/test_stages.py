"""The stages train and prune, from file to file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors.torch import load_file

from prunemap.core.plan import Plan
from prunemap.core.value import read_json
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning import (
    PruneConfig,
    PrunePhase,
    StageFiles,
    TrainConfig,
    TrainReport,
    build_described,
    describe_model,
    evaluate,
    list_layers,
    load_checkpoint,
    prune_to_files,
    train_to_files,
)
from prunemap.pruning.prune_config import Method

CONFIG = TrainConfig(epochs=1, batch_size=24, lr=0.05, warmup_epochs=0.2)
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def dense(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, trained."""
    info = describe_model("resnet8", {"width": 0.25}, data)
    output = tmp_path_factory.mktemp("dense") / "dense.safetensors"
    train_to_files(build_described(info), info, data, CONFIG, output)
    return output


@pytest.fixture
def plan(dense: Path, make_plan: MakePlan) -> Plan:
    layers = list_layers(load_checkpoint(dense)[0], torch.zeros(1, 1, 8, 8))
    return make_plan(layers, "punched:4x2", 0.25, dense=("conv1", "fc"))


def test_training_leaves_checkpoint_onnx_and_report(dense: Path, data: Dataset) -> None:
    files = StageFiles(dense)
    assert {path.name for path in dense.parent.iterdir()} == {
        "dense.safetensors",
        "dense.onnx",
        "dense.json",
        "dense.run.safetensors",
    }
    module, info = load_checkpoint(dense)
    report = read_json(files.report, TrainReport, "report")
    assert report.info == info
    assert report.test_accuracy == evaluate(module, data.test)
    assert report.held_out_accuracy == evaluate(module, data.held_out)
    assert (report.weights_kept, report.macs_kept, report.test_images) == (1, 1, 60)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(files.onnx).graph.initializer}
    assert np.array_equal(weights["layer3.0.conv2.weight"], module.state_dict()["layer3.0.conv2.weight"].numpy())


def test_pruning_keeps_the_zeros_through_retraining(dense: Path, plan: Plan, data: Dataset, tmp_path: Path) -> None:
    files = StageFiles(tmp_path / "pruned.safetensors")
    report = prune_to_files(dense, plan, data, CONFIG, files.checkpoint)
    assert report == read_json(files.report, TrainReport, "report")
    masks, weights = load_file(files.masks), load_checkpoint(files.checkpoint)[0].state_dict()
    assert set(masks) == {entry.module for entry in plan.layers} - {"conv1", "fc"}
    for name, mask in masks.items():
        assert not weights[f"{name}.weight"][~mask].any()
        assert float(mask.float().mean()) == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(weights["conv1.weight"], load_checkpoint(dense)[0].state_dict()["conv1.weight"])
    assert 0.2 < report.conv_macs_kept < 0.4
    assert report.held_out_accuracy_before is not None
    assert report.history is not None


def test_one_shot_is_pruning_without_retraining(dense: Path, plan: Plan, data: Dataset, tmp_path: Path) -> None:
    report = prune_to_files(dense, plan, data, None, tmp_path / "pruned.safetensors")
    assert report.history is None
    assert report.held_out_accuracy == report.held_out_accuracy_before
    assert not StageFiles(tmp_path / "pruned.safetensors").run.exists()


def test_an_output_of_another_name_is_refused() -> None:
    with pytest.raises(UserError, match=r"-o/--output: got model\.onnx, allowed is a name that ends in \.safetensors"):
        StageFiles.of("model.onnx")


@pytest.mark.parametrize("method", ["reweighted", "gradual", "admm"])
def test_weights_to_prune_are_found_by_training(
    dense: Path, plan: Plan, data: Dataset, tmp_path: Path, method: Method
) -> None:
    files = StageFiles(tmp_path / "pruned.safetensors")
    two = CONFIG.model_copy(update={"epochs": 2, "distillation": 0.5})
    phase = PrunePhase(config=PruneConfig(method=method, density=0.3), training=two, reestimate_batchnorm=True)
    report = prune_to_files(dense, plan, data, CONFIG, files.checkpoint, phase=phase)
    assert report == read_json(files.report, TrainReport, "report")
    assert report.pruning == phase
    assert report.pruning_history is not None
    assert len(report.pruning_history.epochs) == 2
    assert report.rates is not None
    assert report.rates.density == pytest.approx(0.3, abs=0.01)
    assert len({layer.density for layer in report.rates.layers}) > 1, "one threshold gives each layer its own density"
    masks, weights = load_file(files.masks), load_checkpoint(files.checkpoint)[0].state_dict()
    for name, mask in masks.items():
        assert not weights[f"{name}.weight"][~mask].any()
    again = prune_to_files(dense, plan, data, CONFIG, files.checkpoint, resume=True, phase=phase)
    assert again == report


def test_a_phase_needs_training_unless_it_is_one_shot() -> None:
    with pytest.raises(ValueError, match="method gradual: needs a training of one epoch or more"):
        PrunePhase(config=PruneConfig(method="gradual"))
    with pytest.raises(ValueError, match="method one_shot: needs no training"):
        PrunePhase(training=CONFIG)


def test_a_plan_that_leaves_everything_dense_prunes_nothing(
    dense: Path, data: Dataset, make_plan: MakePlan, tmp_path: Path
) -> None:
    plan = make_plan(list_layers(load_checkpoint(dense)[0], torch.zeros(1, 1, 8, 8)), "dense", 1.0)
    report = prune_to_files(dense, plan, data, None, tmp_path / "pruned.safetensors")
    assert (report.macs_kept, report.rates) == (1.0, None)
