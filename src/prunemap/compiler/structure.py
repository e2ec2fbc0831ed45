"""Which pruning scheme explains the zeros of a weight: the coarsest that covers them exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.schemes import SCHEMES, why_illegal
from prunemap.schemes.pattern import pattern_table

MAX_PUNCHED = 32
# Tried from coarse to fine.
BLOCK_BLOCKS = tuple((r, c) for r in (64, 32, 16, 8, 4) for c in (64, 32, 16, 8, 4))


def structure_of(weight: NDArray[np.float32]) -> SchemeSpec:
    """Return the scheme that the zeros of a weight follow.

    Args:
        weight: (O, I, Kh, Kw) or (O, I).
    """
    kept = weight != 0
    if kept.all():
        return DENSE
    matrix = kept.reshape(len(kept), -1)
    rows, columns = matrix.any(1), matrix.any(0)
    if matrix[rows][:, columns].all():  # dead filters, or columns that only dead filters fed, or both
        return SchemeSpec("column" if rows.all() else "filter")
    punched = _punched_block(kept)
    if punched is not None:
        return SchemeSpec("punched", punched)
    if not why_illegal(SchemeSpec("pattern"), weight.shape) and _is_pattern(kept):
        return SchemeSpec("pattern")
    if not why_illegal(SchemeSpec("block", (4, 4)), weight.shape):
        for block in BLOCK_BLOCKS:
            if block[0] < len(kept) and block[1] < kept.shape[1] and _is_block(kept, SchemeSpec("block", block)):
                return SchemeSpec("block", block)
    return SchemeSpec("unstructured")


def _punched_block(kept: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the largest block of powers of two that fits, None if only single weights do.

    A block fits if it fits along each of its sides, so the sides are found one after the other; a side is doubled as
    long as neighbours are equal, and only one of each pair is looked at afterwards.
    """
    kernels = kept.reshape(*kept.shape[:2], -1)
    filters, kernels = _doubled(kernels, axis=0)
    channels, _ = _doubled(kernels, axis=1)
    return (filters, channels) if (filters, channels) != (1, 1) else None


def _doubled(kept: NDArray[np.bool_], axis: int) -> tuple[int, NDArray[np.bool_]]:
    """Return the largest side ≤ MAX_PUNCHED along ``axis``, and the array with one entry per such side."""
    side, kept = 1, np.moveaxis(kept, axis, 0)
    while side < MAX_PUNCHED and len(kept) > 1 and (kept[: len(kept) // 2 * 2 : 2] == kept[1::2]).all():
        side, kept = 2 * side, kept[::2]
    return side, np.moveaxis(kept, 0, axis)


def _is_pattern(kept: NDArray[np.bool_]) -> bool:
    kernels = kept.reshape(-1, 9)
    kernels = kernels[kernels.any(1)]
    legal = {row.tobytes() for row in pattern_table()}
    return all(kernel.tobytes() in legal for kernel in np.unique(kernels, axis=0))


def _is_block(kept: NDArray[np.bool_], spec: SchemeSpec) -> bool:
    """Whether in every block the kept weights are the product of kept rows and kept columns."""
    blocks = SCHEMES["block"].view(kept.shape, spec).apply(kept)
    return bool((blocks == (blocks.any(-1, keepdims=True) & blocks.any(-2, keepdims=True))).all())
