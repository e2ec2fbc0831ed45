"""Checkpoints: the weights of a network of the MODELS table, with all that is needed to build and to use it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from prunemap.core.value import Value
from prunemap.datasets import Dataset
from prunemap.errors import Problems, UserError
from prunemap.models import Options, build_model
from prunemap.pruning.training.tensor_file import read_tensors, write_tensors

KEPT = ".kept"
"""Suffix of the bits that tell which weights of a compact checkpoint are not zero."""


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


def save_compact_checkpoint(path: str | Path, module: nn.Module, info: ModelInfo) -> None:
    """Write a checkpoint to keep: kernels and matrices in float16, of mostly pruned ones only what is not zero."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        tensors |= _compact(name, tensor) if tensor.ndim > 1 else {name: tensor}
    write_tensors(path, tensors, info)


def load_checkpoint(path: str | Path) -> tuple[nn.Module, ModelInfo]:
    """Return the network with its weights (float32), in evaluation mode, and its description.

    Raises:
        UserError: the file is missing or corrupted, or does not fit the model that it names.
    """
    tensors, info = read_tensors(path, ModelInfo)
    module = build_described(info)
    try:
        module.load_state_dict(expanded(tensors, module.state_dict()))
    except (RuntimeError, UserError) as error:
        first = str(error).splitlines()[:2][-1].strip()
        raise UserError(f"checkpoint: the weights in {path} do not fit {info.model}: {first}") from None
    return module.eval(), info


def load_checkpoint_for(path: str | Path, dataset: Dataset) -> tuple[nn.Module, ModelInfo]:
    """Return the network of a checkpoint to go on with on a data set, and its description with that data set.

    Where the network was trained on another one, that is warned of.

    Raises:
        UserError: see :func:`load_checkpoint`; or the data have other classes, or images of another size.
    """
    module, info = load_checkpoint(path)
    problems = Problems(f"data: {dataset.name} does not fit {path}, which was trained on {info.dataset}")
    if info.input_shape != dataset.input_shape:
        problems.add(f"its images are {list(info.input_shape)}, those of {dataset.name} {list(dataset.input_shape)}")
    if info.classes != dataset.classes:
        problems.add(f"it has {len(info.classes)} classes, {dataset.name} has {len(dataset.classes)} or others")
    problems.raise_if_any()
    if info.dataset != dataset.name:
        warnings.warn(f"{path} was trained on {info.dataset}, and goes on with {dataset.name}", stacklevel=2)
    return module, describe_model(info.model, info.options, dataset)


def _compact(name: str, tensor: Tensor) -> dict[str, Tensor]:
    half = tensor.half()
    kept = half != 0
    if 2 * kept.sum() > kept.numel():
        return {name: half}
    return {name: half[kept], name + KEPT: torch.from_numpy(np.packbits(kept.numpy()))}


def expanded(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with the zeros that a compact checkpoint leaves out; ``like`` tells the shapes.

    Raises:
        UserError: a tensor does not fit its shape.
    """
    expanded = {name: tensor for name, tensor in tensors.items() if not name.endswith(KEPT)}
    for name in expanded.keys() & like.keys():
        if name + KEPT in tensors:
            bits, size = tensors[name + KEPT].numpy(), like[name].numel()
            kept = torch.from_numpy(np.unpackbits(bits)[:size].astype(bool))
            if len(bits) != (size + 7) // 8 or int(kept.sum()) != len(tensors[name]):
                raise UserError(f"checkpoint: what is kept of {name} does not fit {list(like[name].shape)}")
            full = torch.zeros(size)
            full[kept] = tensors[name].float()
            expanded[name] = full.reshape(like[name].shape)
    return expanded
