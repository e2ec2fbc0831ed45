"""What a training or pruning stage is told, what it reports, and its files.

``OUTPUT.safetensors`` comes with its siblings: ``.onnx`` (the same weights, zeros in place), ``.json`` (the report),
``.run.safetensors`` (the training run, to resume from) and, when pruned, ``.masks.safetensors``; while the weights to
prune are found by training, ``.pruning.safetensors`` (that run).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import model_validator

from prunemap.core.files import check_writable
from prunemap.core.value import Value
from prunemap.errors import UserError
from prunemap.pruning.prune_config import PruneConfig
from prunemap.pruning.rates import PrunedRates
from prunemap.pruning.training.checkpoint import ModelInfo
from prunemap.pruning.training.train_config import History, TrainConfig

SUFFIX = ".safetensors"


class PrunePhase(Value):
    """How the weights to prune are found, before the retraining."""

    config: PruneConfig = PruneConfig(method="one_shot")
    """Its ``steps`` follow from the training."""
    training: TrainConfig | None = None
    """Of the network while it is pruned; None for one-shot pruning, which needs none."""
    latency: Path | None = None
    """latency.json, which predicts; needed with the ``latency_ms`` of the config."""
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
    """The same of the convolutions, depthwise and transposed ones included; 1 where there are none."""


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
