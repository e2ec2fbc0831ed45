"""Checkpoints: the weights of a network of the MODELS table, with all that is needed to build and to use it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from torch import nn

from prunemap.core.value import Value
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.models import Options, build_model
from prunemap.pruning.tensor_file import read_tensors, write_tensors


class ModelInfo(Value):
    """Which network, for which images: what a checkpoint holds beside the weights."""

    model: str
    """Name in the MODELS table."""
    options: dict[str, float] = Field(default_factory=dict)
    input_shape: tuple[int, int, int]
    """(C, H, W)."""
    classes: tuple[str, ...]
    dataset: str
    mean: tuple[float, ...]
    """Per channel, on the scale 0 to 1, as :class:`prunemap.datasets.Normalisation`."""
    std: tuple[float, ...]


def describe_model(name: str, options: Options, dataset: Dataset) -> ModelInfo:
    """Return the description of a model of the table that is trained on ``dataset``."""
    return ModelInfo(
        model=name,
        options=dict(options),
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        dataset=dataset.name,
        mean=dataset.normalisation.mean,
        std=dataset.normalisation.std,
    )


def build_described(info: ModelInfo, seed: int = 0) -> nn.Module:
    """Return the network with fresh weights.

    Raises:
        UserError: no such model or option, or it cannot take such images.
    """
    return build_model(info.model, info.input_shape, len(info.classes), info.options, seed)


def save_checkpoint(path: str | Path, module: nn.Module, info: ModelInfo) -> None:
    """Write the weights and the description as one safetensors file."""
    write_tensors(path, module.state_dict(), info)


def load_checkpoint(path: str | Path) -> tuple[nn.Module, ModelInfo]:
    """Return the network with its weights, in evaluation mode, and its description.

    Raises:
        UserError: the file is missing or corrupted, or does not fit the model that it names.
    """
    tensors, info = read_tensors(path, ModelInfo, "checkpoint")
    module = build_described(info)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise UserError(f"checkpoint: the weights in {path} do not fit {info.model}: {first}") from None
    return module.eval(), info
