"""A view: which weights live or die together, as pad / reshape / permute data.

The same view is applied to NumPy arrays here and to torch tensors in :mod:`prunemap.pruning`; the array library
comes in as an :class:`ArrayOps`, so this package never imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np


class ArrayOps(Protocol):
    """The three array functions a view needs."""

    def pad(self, array: Any, after: Sequence[int]) -> Any:
        """Append ``after[i]`` zeros to axis i."""

    def permute(self, array: Any, axes: Sequence[int]) -> Any: ...

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        """Broadcast to ``shape``."""


class NumpyOps:
    """ArrayOps for NumPy."""

    def pad(self, array: Any, after: Sequence[int]) -> Any:
        return np.pad(array, [(0, n) for n in after])

    def permute(self, array: Any, axes: Sequence[int]) -> Any:
        return np.transpose(array, axes)

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        return np.broadcast_to(array, shape)


NUMPY: ArrayOps = NumpyOps()


@dataclass(frozen=True)
class View:
    """Weight of shape ``shape`` ↔ array of shape ``groups`` + (filters, channels), one group per leading index.

    ``shape`` is padded with zeros by ``padding``, reshaped to ``split``, permuted by ``axes``, reshaped to
    ``groups`` + ``members``. Weights of one leading index form a group, ``members`` = (filters, channels) of it.
    """

    shape: tuple[int, ...]
    """Shape the weight is first reshaped to, such as (O, I, Kh·Kw)."""
    padding: tuple[int, ...]
    split: tuple[int, ...]
    axes: tuple[int, ...]
    groups: tuple[int, ...]
    members: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of groups."""
        return prod(self.groups)

    def apply(self, weight: Any, ops: ArrayOps = NUMPY) -> Any:
        """Return the weight as (\\*groups, filters, channels); padded places are zero."""
        padded = ops.pad(weight.reshape(self.shape), self.padding)
        return ops.permute(padded.reshape(self.split), self.axes).reshape(*self.groups, *self.members)

    def restore(self, grouped: Any, weight_shape: Sequence[int], ops: ArrayOps = NUMPY) -> Any:
        """Inverse of :meth:`apply`; an array of shape ``groups`` is first spread over the members of each group."""
        if grouped.ndim == len(self.groups):
            grouped = ops.expand(grouped.reshape(*self.groups, 1, 1), (*self.groups, *self.members))
        permuted_shape = [self.split[axis] for axis in self.axes]
        inverse = [self.axes.index(axis) for axis in range(len(self.axes))]
        split = ops.permute(grouped.reshape(permuted_shape), inverse)
        padded = split.reshape([n + p for n, p in zip(self.shape, self.padding, strict=True)])
        return padded[tuple(slice(n) for n in self.shape)].reshape(tuple(weight_shape))


def as_matrix_of_kernels(weight_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (O, I, K): filters, channels per group, kernel positions (1 for a linear layer)."""
    return weight_shape[0], weight_shape[1], prod(weight_shape[2:])


def blocked_view(weight_shape: Sequence[int], filters: int, channels: int) -> View:
    """Groups of ``filters`` × ``channels`` kernels at one kernel position; groups = (O/F, I/C, K).

    Where O or I do not divide, the last block is smaller (padded with zeros here, cut off again by ``restore``).
    """
    o, i, k = as_matrix_of_kernels(weight_shape)
    rows, cols = -(-o // filters), -(-i // channels)
    return View(
        shape=(o, i, k),
        padding=(rows * filters - o, cols * channels - i, 0),
        split=(rows, filters, cols, channels, k),
        axes=(0, 2, 4, 1, 3),
        groups=(rows, cols, k),
        members=(filters, channels),
    )
