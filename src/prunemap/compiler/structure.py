"""Which pruning scheme explains the zeros of a weight: the coarsest that covers them exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.schemes import SCHEMES, why_illegal
from prunemap.schemes.pattern import pattern_table

MAX_PUNCHED = 32
MIN_BLOCK, MAX_BLOCK = 4, 64


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
        block = _block(kept)
        if block is not None:
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
    """Whether every 3x3 kernel is one of the patterns, or empty."""
    kernels, legal = _bits(kept.reshape(-1, 9)), _bits(pattern_table())
    return bool(np.isin(kernels, [0, *legal]).all())


def _bits(kernels: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Return each kernel as one number, (N, 9) to (N,)."""
    return np.packbits(kernels, axis=1).view(np.uint16).ravel()


def _block(kept: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return the block of powers of two with the most filters, and of those the one with the most columns, that fits.

    What a block fits every block in it fits, too; so each side is doubled as long as it fits.
    """
    rows = _most(lambda side: _is_block(kept, (side, MIN_BLOCK)))
    return (rows, _most(lambda side: _is_block(kept, (rows, side)))) if rows else None


def _most(fits: Callable[[int], bool]) -> int:
    """Return the last side that fits, doubled from ``MIN_BLOCK`` on; 0 if that does not."""
    side = MIN_BLOCK
    while side <= MAX_BLOCK and fits(side):
        side *= 2
    return side // 2 if side > MIN_BLOCK else 0


def _is_block(kept: NDArray[np.bool_], block: tuple[int, int]) -> bool:
    """Whether in every block, smaller than the matrix, the kept weights are the product of kept rows and columns."""
    if block[0] >= len(kept) or block[1] >= kept.shape[1]:
        return False
    blocks = SCHEMES["block"].view(kept.shape, SchemeSpec("block", block)).apply(kept)
    return bool((blocks == (blocks.any(-1, keepdims=True) & blocks.any(-2, keepdims=True))).all())
