"""block:RxC: block-based row and column pruning of a matrix.

The matrix is cut into R×C blocks; the groups are the row segments and the column segments of a block; a weight
dies if either does, so what is left of a block is dense. Source: BLK-REW (2020), GRIM (TPAMI 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import InternalError
from prunemap.schemes.scheme import Mask, Scheme
from prunemap.schemes.view import NUMPY, View


class Block(Scheme):
    """View: groups = (O/R, I/C) blocks with members (R, C); the keep rule works on their rows and columns."""

    name = "block"
    blocked = True

    def why_illegal(self, weight_shape: Sequence[int]) -> str | None:
        if prod(weight_shape[2:]) != 1:
            return "block is for linear layers and 1x1 convolutions; for larger kernels use punched"
        return None

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        if spec.block is None:
            raise InternalError("block needs a block size")
        (o, i), (r, c) = weight_shape[:2], spec.block
        rows, cols = -(-o // r), -(-i // c)
        return View(
            shape=(o, i),
            padding=(rows * r - o, cols * c - i),
            split=(rows, r, cols, c),
            axes=(0, 2, 1, 3),
            groups=(rows, cols),
            members=(r, c),
        )

    def keep(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
        """Prune segments by rising mean square until the density is met."""
        view = self.view(weight.shape, spec)
        dies = self.steps(weight, spec)
        first_kept = _steps_for_density(dies[dies >= 0], density)
        mask: Mask = view.restore(dies >= first_kept, weight.shape, NUMPY)
        return np.ascontiguousarray(mask)

    def steps(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec) -> NDArray[np.int64]:
        """Return for every weight the step at which it is pruned, in the view's shape; -1 for padding."""
        view = self.view(weight.shape, spec)
        real = view.apply(np.ones(weight.shape, dtype=bool))
        squares = view.apply(weight.astype(np.float64)) ** 2
        rows = squares.sum(-1) / np.maximum(real.sum(-1), 1)
        cols = squares.sum(-2) / np.maximum(real.sum(-2), 1)
        segments = np.concatenate([rows.ravel(), cols.ravel()])
        exists = np.concatenate([real.any(-1).ravel(), real.any(-2).ravel()])
        order = np.argsort(np.where(exists, segments, np.inf), kind="stable")[: int(exists.sum())]
        rank = np.empty(segments.size, dtype=np.int64)
        rank[:] = segments.size
        rank[order] = np.arange(order.size)
        # A weight is pruned at the step at which the first of its two segments is.
        dies = np.minimum(
            rank[: rows.size].reshape(rows.shape)[..., None], rank[rows.size :].reshape(cols.shape)[..., None, :]
        )
        return np.where(real, dies, -1)


def _steps_for_density(dies: NDArray[np.int64], density: float) -> int:
    """Return how many segments to prune for the kept share to be closest to ``density``, keeping at least one weight.

    Args:
        dies: for every weight, the step at which it is pruned.
    """
    counts = np.bincount(dies)
    steps = np.flatnonzero(counts)
    kept = np.cumsum(counts[steps][::-1])[::-1]  # weights kept when all steps before steps[i] are done
    best = int(np.argmin(np.abs(kept - density * dies.size)))
    return int(steps[best])
