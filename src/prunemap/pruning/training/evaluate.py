"""Accuracy and loss of a module on a split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from prunemap.datasets import Dataset, Split
from prunemap.errors import UserError
from prunemap.pruning.layers import evaluation_mode
from prunemap.pruning.training.device import device_of
from prunemap.pruning.training.distributed import process_count, process_index, sum_of_all

BATCH_SIZE = 250


class Quality(NamedTuple):
    """How well a module does on some images."""

    accuracy: float
    """Share of the images (0 to 1) whose largest output is their label."""
    loss: float
    """Mean cross-entropy in nats."""


def evaluate(module: nn.Module, split: Split, batch_size: int = BATCH_SIZE) -> float:
    """Return the share of the images (0 to 1) whose largest output is their label, in float32 (GPU: TF32).

    Several processes that train together all call, and share the work.
    """
    outputs = _outputs(module, split.part(process_index(), process_count()), batch_size)
    correct = sum(int((found.argmax(1) == labels).sum()) for found, labels in outputs)
    return int(sum_of_all(torch.tensor(correct, device=device_of(module)))) / len(split)


def measure(module: nn.Module, split: Split, batch_size: int = BATCH_SIZE) -> Quality:
    """Return accuracy and loss on the images, in float32 (GPU: TF32); see :func:`check_fits`."""
    correct, loss = 0, 0.0
    for outputs, labels in _outputs(module, split, batch_size):
        correct += int((outputs.argmax(1) == labels).sum())
        loss += float(cross_entropy(outputs.double(), labels, reduction="sum"))
    return Quality(correct / len(split), loss / len(split))


def _outputs(module: nn.Module, split: Split, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield outputs (N, classes) and labels (N) of every batch, on the CPU."""
    device = device_of(module)
    with evaluation_mode(module):
        for images, labels in split.batches(batch_size):
            yield module(torch.from_numpy(images).to(device)).cpu(), torch.from_numpy(labels)


def check_fits(module: nn.Module, dataset: Dataset) -> None:
    """Check that a module is for such images.

    Raises:
        UserError: it cannot take them, or has fewer outputs than there are classes.
    """
    images = torch.from_numpy(dataset.sample_images(1)).to(device_of(module))
    try:
        with evaluation_mode(module):
            outputs = module(images).shape[-1]
    except RuntimeError as error:
        raise UserError(f"dataset: the model cannot take images of {list(dataset.input_shape)}: {error}") from None
    if outputs < len(dataset.classes):
        raise UserError(f"dataset: {dataset.name} has {len(dataset.classes)} classes, the model {outputs} outputs")
