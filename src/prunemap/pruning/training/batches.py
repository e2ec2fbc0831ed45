"""Training batches as tensors on a device.

For a GPU, images in memory are kept there, cut, mirrored and normalised there. What is random is drawn by NumPy as
ever, so the batches are the same wherever they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from prunemap.datasets import Split
from prunemap.datasets.memory import MemoryImages, random_corners, random_mirrors


class TensorBatch(NamedTuple):
    """Images (N, C, H, W), normalised float32 in channels-last layout, and labels (N), int64."""

    images: Tensor
    labels: Tensor


EpochBatches = Callable[[int], Iterator[TensorBatch]]
"""From an epoch, counted from 0, to its batches."""


def training_batches(split: Split, size: int, seed: int, device: torch.device) -> EpochBatches:
    """Return the function that yields the training batches of an epoch on ``device``."""
    if device.type == "cuda" and isinstance(split.source, MemoryImages):
        return partial(ResidentImages(split, split.source, device).training_batches, size, seed)
    return partial(_read, split, size, seed, device)


def _read(split: Split, size: int, seed: int, device: torch.device, epoch: int) -> Iterator[TensorBatch]:
    for images, labels in split.training_batches(size, seed, epoch):
        yield TensorBatch(
            torch.from_numpy(images).to(device, memory_format=torch.channels_last), torch.from_numpy(labels).to(device)
        )


class ResidentImages:
    """The images of a source on a device, uint8 (N, H + 2·padding, W + 2·padding, C), and their labels."""

    def __init__(self, split: Split, source: MemoryImages, device: torch.device) -> None:
        border = (source.padding,) * 4
        self._split, self._padding, self._size = split, source.padding, source.images.shape[2:]
        self._images = pad(torch.from_numpy(source.images).to(device), border).permute(0, 2, 3, 1).contiguous()
        self._labels = torch.from_numpy(source.labels).to(device)
        self._mean, self._std = (
            255 * torch.tensor(values, device=device) for values in (split.normalisation.mean, split.normalisation.std)
        )

    def training_batches(self, size: int, seed: int, epoch: int) -> Iterator[TensorBatch]:
        """Yield what :meth:`Split.training_batches` does; the draws of the whole epoch are one transfer."""
        draws = [
            np.stack([chunk, *random_corners(len(chunk), self._padding, rng), random_mirrors(len(chunk), rng)])
            for chunk, rng in self._split.training_draws(size, seed, epoch)
        ]
        for chunk, top, left, mirrored in torch.from_numpy(np.stack(draws)).to(self._images.device):
            yield TensorBatch(self._cut(chunk, top, left, mirrored), self._labels[chunk])

    def _cut(self, chunk: Tensor, top: Tensor, left: Tensor, mirrored: Tensor) -> Tensor:
        """Return the windows that begin at (top, left), mirrored where that is 1, as (N, C, H, W)."""
        down, right = (torch.arange(side, device=chunk.device) for side in self._size)
        rows = top[:, None] + down
        columns = left[:, None] + torch.where(mirrored[:, None] == 1, right.flip(0), right)
        windows = self._images[chunk[:, None, None], rows[:, :, None], columns[:, None, :]]
        return ((windows - self._mean) / self._std).permute(0, 3, 1, 2)
