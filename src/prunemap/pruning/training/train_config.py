"""Schedule and TrainConfig: how a network is trained or retrained, and History: how it went."""

from __future__ import annotations

from math import cos, pi
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from prunemap.core.value import Value


class Schedule(Value):
    """SGD with Nesterov momentum; the learning rate rises linearly, then falls along a half cosine to zero."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    epochs: int = Field(gt=0)
    batch_size: int = Field(default=128, gt=0)
    """Images per step, of all processes together."""
    lr: float = Field(default=0.1, gt=0)
    """Largest learning rate."""
    warmup_epochs: float = Field(default=1.0, ge=0)
    """Default: one, or a quarter of a run shorter than four."""
    momentum: float = Field(default=0.9, gt=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    distillation: float = Field(default=0.0, ge=0, lt=1)
    """Weight of the teacher's outputs in the loss, beside that of the labels."""
    temperature: float = Field(default=4.0, gt=0)
    """By which outputs are divided before they are compared with the teacher's."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto = bfloat16 autocast on hardware that computes in it, else float32."""

    @model_validator(mode="before")
    @classmethod
    def _short_runs_warm_up_shorter(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "warmup_epochs" in given or not isinstance(given.get("epochs"), int):
            return given
        return {**given, "warmup_epochs": min(1.0, max(given["epochs"], 1) / 4)}

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs: got {self.warmup_epochs:g}, allowed is less than epochs ({self.epochs})")
        return self


class TrainConfig(Schedule):
    """A schedule, and what it is run with."""

    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto = the GPU where there is one."""


class EpochRecord(Value):
    """One epoch: mean training loss, accuracy on the held-out images (0 to 1), learning rate at its end."""

    epoch: int
    loss: float
    held_out_accuracy: float
    lr: float


class History(Value):
    """A training run: its settings and its epochs, in order."""

    config: TrainConfig
    epochs: tuple[EpochRecord, ...] = ()


def learning_rate(config: Schedule, step: int, steps_per_epoch: int) -> float:
    """Return the rate of ``step``, counted from 0 over the whole run: the schedule at the middle of the step."""
    epoch = (step + 0.5) / steps_per_epoch
    if epoch < config.warmup_epochs:
        return config.lr * epoch / config.warmup_epochs
    done = (epoch - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    return config.lr * 0.5 * (1 + cos(pi * done))
