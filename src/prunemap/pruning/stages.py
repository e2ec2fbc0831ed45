"""The stages ``train`` and ``prune`` from file to file.

``OUTPUT.safetensors`` comes with its siblings: ``.onnx`` (the same weights, zeros in place), ``.json`` (the report),
``.run.safetensors`` (the training run, to resume from) and, when pruned, ``.masks.safetensors``; while the weights to
prune are found by training, ``.pruning.safetensors`` (that run).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from pydantic import model_validator
from torch import nn

from prunemap.core.files import check_writable
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE
from prunemap.core.value import Value, write_json
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.batchnorm import reestimate_batchnorm, reestimation_images
from prunemap.pruning.checkpoint import ModelInfo, load_checkpoint, save_checkpoint
from prunemap.pruning.device import choose_device, placed
from prunemap.pruning.evaluate import evaluate
from prunemap.pruning.export import export_onnx
from prunemap.pruning.layers import list_layers, resolve_plan
from prunemap.pruning.masks import Masks, kept
from prunemap.pruning.prune_config import PruneConfig
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.rates import PrunedRates
from prunemap.pruning.tensor_file import write_tensors
from prunemap.pruning.train import train
from prunemap.pruning.train_config import History, TrainConfig

SUFFIX = ".safetensors"


class PrunePhase(Value):
    """How the weights to prune are found, before the retraining."""

    config: PruneConfig = PruneConfig(method="one_shot")
    """Its ``steps`` follow from the training."""
    training: TrainConfig | None = None
    """Of the network while it is pruned; None for one-shot pruning, which needs none."""
    reestimate_batchnorm: bool = False
    """Measure the statistics of batch norm again when the weights are pruned."""

    @model_validator(mode="after")
    def _trained(self) -> Self:
        if (self.config.method == "one_shot") != (self.training is None):
            wanted = "no training" if self.training else "a training of one epoch or more"
            raise ValueError(f"method {self.config.method}: needs {wanted}")
        return self


ONE_SHOT = PrunePhase()


class TrainReport(Value):
    """What a training or a pruning stage made. Accuracies are shares, 0 to 1."""

    info: ModelInfo
    history: History | None
    """None when a pruned network was not retrained."""
    pruning: PrunePhase | None = None
    pruning_history: History | None = None
    """Of the training in which the weights to prune were found."""
    rates: PrunedRates | None = None
    """What every pruned layer keeps."""
    test_accuracy: float
    test_images: int
    held_out_accuracy: float
    held_out_accuracy_before: float | None = None
    """After pruning, before retraining."""
    weights_kept: float = 1.0
    """Kept / all weights of the weight-carrying layers."""
    macs_kept: float = 1.0
    """The same in multiply-accumulates."""
    conv_macs_kept: float = 1.0
    """The same of the conv layers, depthwise included."""


@dataclass(frozen=True)
class StageFiles:
    """The files of a stage."""

    checkpoint: Path

    @classmethod
    def of(cls, output: str | Path) -> StageFiles:
        """Check the name of the output.

        Raises:
            UserError: it does not end in .safetensors, or cannot be written.
        """
        if Path(output).suffix != SUFFIX:
            raise UserError(f"-o/--output: got {output}, allowed is a name that ends in {SUFFIX}")
        check_writable(output)
        return cls(Path(output))

    @property
    def onnx(self) -> Path:
        """The exported network."""
        return self.checkpoint.with_suffix(".onnx")

    @property
    def report(self) -> Path:
        """The :class:`TrainReport`."""
        return self.checkpoint.with_suffix(".json")

    @property
    def run(self) -> Path:
        """The training run, to resume from."""
        return self.checkpoint.with_suffix(".run" + SUFFIX)

    @property
    def pruning_run(self) -> Path:
        """The training run in which the weights to prune are found, to resume from."""
        return self.checkpoint.with_suffix(".pruning" + SUFFIX)

    @property
    def results(self) -> tuple[Path, ...]:
        """What a finished stage leaves for others."""
        return (self.checkpoint, self.onnx, self.report)

    @property
    def masks(self) -> Path:
        """The masks of a pruned network."""
        return self.checkpoint.with_suffix(".masks" + SUFFIX)


def use_threads(threads: int) -> None:
    """Train with so many threads; 0 = as many as torch chooses.

    Raises:
        UserError: it is negative.
    """
    if threads < 0:
        raise UserError(f"threads: got {threads}, allowed is 0 (all cores) or more")
    if threads:
        torch.set_num_threads(threads)


def train_to_files(
    module: nn.Module, info: ModelInfo, dataset: Dataset, config: TrainConfig, output: str | Path, resume: bool = False
) -> TrainReport:
    """Train a network and write its files.

    Raises:
        UserError: see :func:`prunemap.pruning.train`; or the files cannot be written.
    """
    files = StageFiles.of(output)
    history = train(module, dataset, config, checkpoint=files.run, resume=resume)
    return _finish(files, module, info, dataset, _Pruned(), device=choose_device(config.device), history=history)


def prune_to_files(
    checkpoint: str | Path,
    plan: Plan,
    dataset: Dataset,
    config: TrainConfig | None,
    output: str | Path,
    resume: bool = False,
    *,
    phase: PrunePhase = ONE_SHOT,
    device: str = "auto",
) -> TrainReport:
    """Prune a trained network by a plan, retrain it with the zeros held, and write its files.

    Args:
        checkpoint: of the dense network.
        config: how to retrain, the dense network being the teacher of a distillation; None = not at all.
        phase: how to find the weights to prune.
        device: where to measure the accuracy if there is no config.

    Raises:
        UserError: the checkpoint or the plan does not fit; see also :func:`prunemap.pruning.train`.
    """
    files, place = StageFiles.of(output), choose_device(device if config is None else config.device)
    module, info = load_checkpoint(checkpoint)
    teacher = load_checkpoint(checkpoint)[0]
    pruned = _prune(module, plan, dataset, files, phase, teacher, resume)
    with placed(module, place):
        if phase.reestimate_batchnorm:
            reestimate_batchnorm(module, reestimation_images(dataset))
        before = evaluate(module, dataset.held_out)
    history = None
    if config is not None:
        history = train(
            module, dataset, config, masks=pruned.masks, teacher=teacher, checkpoint=files.run, resume=resume
        )
    write_tensors(files.masks, dict(pruned.masks), info)
    return _finish(files, module, info, dataset, pruned, device=place, history=history, before=before)


@dataclass(frozen=True)
class _Pruned:
    """What pruning a network has given; by default that it was not pruned."""

    masks: Masks = field(default_factory=dict)
    phase: PrunePhase | None = None
    rates: PrunedRates | None = None
    history: History | None = None


def _prune(
    module: nn.Module,
    plan: Plan,
    dataset: Dataset,
    files: StageFiles,
    phase: PrunePhase,
    teacher: nn.Module,
    resume: bool,
) -> _Pruned:
    """Prune the module in place, trained meanwhile if the method needs it."""
    example, training, history = torch.zeros(1, *dataset.input_shape), phase.training, None
    if all(entry.scheme == DENSE for entry in resolve_plan(plan, list_layers(module, example)).values()):
        return _Pruned()
    steps = dataset.train.training_steps(training.batch_size) * training.epochs if training else 1
    pruner = Pruner(module, plan, example, **phase.config.model_dump() | {"steps": steps})
    if training is not None:
        history = train(
            module, dataset, training, pruner=pruner, teacher=teacher, checkpoint=files.pruning_run, resume=resume
        )
    rates = pruner.finalize()
    masks = {name: mask for name, mask in pruner.masks.items() if not mask.all()}
    return _Pruned(masks, phase, rates, history)


def _example(info: ModelInfo) -> torch.Tensor:
    return torch.zeros(1, *info.input_shape)


def _finish(
    files: StageFiles,
    module: nn.Module,
    info: ModelInfo,
    dataset: Dataset,
    pruned: _Pruned,
    *,
    device: torch.device,
    history: History | None,
    before: float | None = None,
) -> TrainReport:
    """Write checkpoint, ONNX and report; the report last, so that it vouches for the others."""
    layers = list_layers(module, _example(info))
    everything = kept(pruned.masks, layers)
    with placed(module, device):
        test_accuracy, held_out_accuracy = evaluate(module, dataset.test), evaluate(module, dataset.held_out)
    report = TrainReport(
        info=info,
        history=history,
        pruning=pruned.phase,
        pruning_history=pruned.history,
        rates=pruned.rates,
        test_accuracy=test_accuracy,
        test_images=len(dataset.test),
        held_out_accuracy=held_out_accuracy,
        held_out_accuracy_before=before,
        weights_kept=everything.weights,
        macs_kept=everything.macs,
        conv_macs_kept=kept(pruned.masks, [layer for layer in layers if layer.kind != "linear"]).macs,
    )
    save_checkpoint(files.checkpoint, module, info)
    export_onnx(module, _example(info), files.onnx)
    write_json(files.report, report)
    return report
