"""The stages ``train`` and ``prune`` from file to file.

``OUTPUT.safetensors`` comes with its siblings: ``.onnx`` (the same weights, zeros in place), ``.json`` (the report),
``.run.safetensors`` (the training run, to resume from) and, when pruned, ``.masks.safetensors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from prunemap.core.files import check_writable
from prunemap.core.plan import Plan
from prunemap.core.value import Value, write_json
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.checkpoint import ModelInfo, load_checkpoint, save_checkpoint
from prunemap.pruning.device import choose_device, placed
from prunemap.pruning.evaluate import evaluate
from prunemap.pruning.export import export_onnx
from prunemap.pruning.layers import list_layers
from prunemap.pruning.masks import Masks, kept
from prunemap.pruning.one_shot import prune
from prunemap.pruning.tensor_file import write_tensors
from prunemap.pruning.train import NO_MASKS, train
from prunemap.pruning.train_config import History, TrainConfig

SUFFIX = ".safetensors"


class TrainReport(Value):
    """What a training or a pruning stage made. Accuracies are shares, 0 to 1."""

    info: ModelInfo
    history: History | None
    """None when a pruned network was not retrained."""
    test_accuracy: float
    test_images: int
    held_out_accuracy: float
    held_out_accuracy_before: float | None = None
    """After one-shot pruning, before retraining."""
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
    return _finish(files, module, info, dataset, NO_MASKS, device=choose_device(config.device), history=history)


def prune_to_files(
    checkpoint: str | Path,
    plan: Plan,
    dataset: Dataset,
    config: TrainConfig | None,
    output: str | Path,
    resume: bool = False,
    *,
    device: str = "auto",
) -> TrainReport:
    """Prune a trained network by a plan, retrain it with the zeros held, and write its files.

    Args:
        checkpoint: of the dense network.
        config: how to retrain; None = one-shot pruning only.
        device: where to measure the accuracy if there is no config.

    Raises:
        UserError: the checkpoint or the plan does not fit; see also :func:`prunemap.pruning.train`.
    """
    files, place = StageFiles.of(output), choose_device(device if config is None else config.device)
    module, info = load_checkpoint(checkpoint)
    masks = prune(module, plan, _example(info))
    with placed(module, place):
        before = evaluate(module, dataset.held_out)
    history = None
    if config is not None:
        history = train(module, dataset, config, masks=masks, checkpoint=files.run, resume=resume)
    write_tensors(files.masks, dict(masks), info)
    return _finish(files, module, info, dataset, masks, device=place, history=history, before=before)


def _example(info: ModelInfo) -> torch.Tensor:
    return torch.zeros(1, *info.input_shape)


def _finish(
    files: StageFiles,
    module: nn.Module,
    info: ModelInfo,
    dataset: Dataset,
    masks: Masks,
    *,
    device: torch.device,
    history: History | None,
    before: float | None = None,
) -> TrainReport:
    """Write checkpoint, ONNX and report; the report last, so that it vouches for the others."""
    layers = list_layers(module, _example(info))
    everything = kept(masks, layers)
    with placed(module, device):
        test_accuracy, held_out_accuracy = evaluate(module, dataset.test), evaluate(module, dataset.held_out)
    report = TrainReport(
        info=info,
        history=history,
        test_accuracy=test_accuracy,
        test_images=len(dataset.test),
        held_out_accuracy=held_out_accuracy,
        held_out_accuracy_before=before,
        weights_kept=everything.weights,
        macs_kept=everything.macs,
        conv_macs_kept=kept(masks, [layer for layer in layers if layer.kind != "linear"]).macs,
    )
    save_checkpoint(files.checkpoint, module, info)
    export_onnx(module, _example(info), files.onnx)
    write_json(files.report, report)
    return report
