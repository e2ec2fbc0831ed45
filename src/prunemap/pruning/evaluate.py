"""Accuracy of a module on a split."""

from __future__ import annotations

import torch
from torch import nn

from prunemap.datasets import Split
from prunemap.pruning.device import device_of
from prunemap.pruning.layers import evaluation_mode

BATCH_SIZE = 250


def evaluate(module: nn.Module, split: Split, batch_size: int = BATCH_SIZE) -> float:
    """Return the share of the images (0 to 1) whose largest output is their label, in float32 (GPU: TF32)."""
    correct, device = 0, device_of(module)
    with evaluation_mode(module):
        for images, labels in split.batches(batch_size):
            predicted = module(torch.from_numpy(images).to(device)).argmax(1)
            correct += int((predicted.cpu() == torch.from_numpy(labels)).sum())
    return correct / len(split)
