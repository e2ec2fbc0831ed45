"""The stages ``train`` and ``prune`` from file to file; see :mod:`prunemap.pruning.recipes.stage_files` for the files.

Of several processes that train one network all call, and the first one writes.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunemap.core.layer import CONVOLUTIONS, LayerSpec
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE
from prunemap.core.value import write_json
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.export import export_onnx
from prunemap.pruning.layers import list_layers, resolve_plan
from prunemap.pruning.masks import Masks, kept
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.rates import PrunedRates, with_energy
from prunemap.pruning.recipes.stage_files import ONE_SHOT, PrunePhase, StageFiles, TrainReport
from prunemap.pruning.training.batchnorm import reestimate_batchnorm, reestimation_images
from prunemap.pruning.training.checkpoint import ModelInfo, load_checkpoint_for, save_checkpoint
from prunemap.pruning.training.device import choose_device, placed
from prunemap.pruning.training.distributed import is_first, wait_for_all
from prunemap.pruning.training.epoch_log import EpochLog, PhaseLog
from prunemap.pruning.training.evaluate import evaluate
from prunemap.pruning.training.tensor_file import write_tensors
from prunemap.pruning.training.train import train
from prunemap.pruning.training.train_config import History, TrainConfig


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
    module: nn.Module,
    info: ModelInfo,
    dataset: Dataset,
    config: TrainConfig | None,
    output: str | Path,
    resume: bool = False,
    *,
    log: EpochLog | None = None,
    device: str = "auto",
) -> TrainReport:
    """Train a network and write its files.

    Args:
        config: None = write it as it is.
        log: takes every epoch.
        device: where to measure the accuracy if there is no config.

    Raises:
        UserError: see :func:`prunemap.pruning.train`; or the files cannot be written.
    """
    files, history = StageFiles.of(output), None
    if config is not None:
        history = train(module, dataset, config, checkpoint=files.run, resume=resume, log=_part(log, "dense"))
    place = choose_device(device if config is None else config.device)
    return _finish(files, module, info, dataset, _Pruned(), device=place, history=history)


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
    """Prune a trained network of the zoo by a plan, retrain it, and write its files; see :func:`prune_module_to_files`.

    Args:
        checkpoint: of the dense network.

    Raises:
        UserError: the checkpoint does not fit the data, or the plan the network; see also
            :func:`prunemap.pruning.train`.
    """
    module, info = load_checkpoint_for(checkpoint, dataset)
    return prune_module_to_files(module, info, plan, dataset, config, output, resume, phase=phase, device=device)


def prune_module_to_files(
    module: nn.Module,
    info: ModelInfo,
    plan: Plan | None,
    dataset: Dataset,
    config: TrainConfig | None,
    output: str | Path,
    resume: bool = False,
    *,
    phase: PrunePhase = ONE_SHOT,
    device: str = "auto",
    log: EpochLog | None = None,
) -> TrainReport:
    """Prune a trained network by a plan, retrain it with the zeros held, and write its files.

    Args:
        plan: None = a control: the same trainings, and nothing pruned.
        config: how to retrain, the dense network being the teacher of a distillation; None = not at all.
        phase: how to find the weights to prune.
        device: where to measure the accuracy if there is no config.
        log: takes every epoch.

    Raises:
        UserError: the plan does not fit; see also :func:`prunemap.pruning.train`.
    """
    files, place = StageFiles.of(output), choose_device(device if config is None else config.device)
    stage = _Stage(module, deepcopy(module), dataset, files, resume)
    pruned = _train_dense(stage, phase, log) if plan is None else _prune(stage, plan, phase, log)
    with placed(module, place):
        if phase.reestimate_batchnorm:
            reestimate_batchnorm(module, reestimation_images(dataset))
        before = evaluate(module, dataset.held_out)
    history = None
    if config is not None:
        part = _part(log, "retrain" if plan else "control", lambda: kept(pruned.masks, stage.layers).macs)
        history = stage.train(config, files.run, masks=pruned.masks, log=part)
    if plan is not None and is_first():
        write_tensors(files.masks, dict(pruned.masks), info)
    return _finish(files, module, info, dataset, pruned, device=place, history=history, before=before)


@dataclass(frozen=True)
class _Pruned:
    """What pruning a network has given; by default that it was not pruned."""

    masks: Masks = field(default_factory=dict)
    phase: PrunePhase | None = None
    rates: PrunedRates | None = None
    history: History | None = None


@dataclass(frozen=True)
class _Stage:
    """What is pruned in place, and what stays the same meanwhile."""

    module: nn.Module
    dense: nn.Module
    """The network before, the teacher of a distillation."""
    dataset: Dataset
    files: StageFiles
    resume: bool

    @property
    def example(self) -> torch.Tensor:
        """One input."""
        return torch.zeros(1, *self.dataset.input_shape)

    @cached_property
    def layers(self) -> list[LayerSpec]:
        """Of the module."""
        return list_layers(self.module, self.example)

    def train(self, config: TrainConfig, checkpoint: Path, **what: Any) -> History:
        """Train the module; see :func:`prunemap.pruning.train`."""
        return train(
            self.module,
            self.dataset,
            config,
            teacher=self.dense,
            checkpoint=checkpoint,
            resume=self.resume,
            **what,
        )


def _prune(stage: _Stage, plan: Plan, phase: PrunePhase, log: EpochLog | None) -> _Pruned:
    """Prune the module in place, trained meanwhile if the method needs it."""
    module, training, history = stage.module, phase.training, None
    if all(entry.scheme == DENSE for entry in resolve_plan(plan, stage.layers).values()):
        return _Pruned()
    steps = stage.dataset.train.training_steps(training.batch_size) * training.epochs if training else 1
    settings = phase.config.model_dump() | {"steps": steps}
    pruner = Pruner(module, plan, stage.example, latency=phase.latency, **settings)
    if training is not None:
        part = _part(log, "prune", lambda: pruner.rates().macs_kept)
        history = stage.train(training, stage.files.pruning_run, pruner=pruner, log=part)
    rates = with_energy(pruner.finalize(), stage.dense, pruner.masks)
    masks = {name: mask for name, mask in pruner.masks.items() if not mask.all()}
    return _Pruned(masks, phase, rates, history)


def _train_dense(stage: _Stage, phase: PrunePhase, log: EpochLog | None) -> _Pruned:
    """Train the module as :func:`_prune` does, and prune nothing."""
    if phase.training is None:
        return _Pruned()
    part = _part(log, "control-prune")
    return _Pruned(history=stage.train(phase.training, stage.files.pruning_run, log=part))


def _part(log: EpochLog | None, phase: str, density: Callable[[], float] = lambda: 1.0) -> PhaseLog | None:
    return None if log is None else log.phase(phase, density)


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
    example = torch.zeros(1, *info.input_shape)
    layers = list_layers(module, example)
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
        conv_macs_kept=kept(pruned.masks, [layer for layer in layers if layer.kind in CONVOLUTIONS]).macs,
    )
    if is_first():
        save_checkpoint(files.checkpoint, module, info)
        export_onnx(module, example, files.onnx)
        write_json(files.report, report)
    wait_for_all()
    return report
