"""Batch norm after pruning: its statistics are those of the dense network, which the pruned one does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.layers import evaluation_mode
from prunemap.pruning.training.device import device_of
from prunemap.pruning.training.evaluate import BATCH_SIZE

REESTIMATION_BATCHES = 16


def reestimate_batchnorm(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running mean and variance of every batch norm by those over ``batches``; weights stay as they are.

    Everything else, such as dropout, is in evaluation mode meanwhile. A batch norm that the module does not reach, or
    that keeps no statistics, stays as it is.

    Args:
        batches: images (N, C, H, W), normalised as for training, moved to where the module is.

    Raises:
        UserError: there is no batch.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    momenta, device, seen = [norm.momentum for norm in norms], device_of(module), 0
    before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    try:
        with evaluation_mode(module):
            for norm in norms:
                norm.momentum = None  # a plain mean over the batches
                norm.train()
            for images in batches:
                if not seen:
                    for norm in norms:
                        norm.reset_running_stats()
                module(images.to(device))
                seen += 1
    finally:
        for norm, momentum, buffers in zip(norms, momenta, before, strict=True):
            norm.momentum = momentum
            if not norm.num_batches_tracked:
                norm.load_state_dict(buffers, strict=False)
    if not seen:
        raise UserError("batches: got none, allowed is one batch of images or more")


def reestimation_images(dataset: Dataset) -> Iterator[Tensor]:
    """Yield the training images, augmented, that :func:`reestimate_batchnorm` is to see; always the same."""
    for images, _ in islice(dataset.train.training_batches(BATCH_SIZE, 0, 0), REESTIMATION_BATCHES):
        yield torch.from_numpy(images)
