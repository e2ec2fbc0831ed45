"""Which pruning scheme explains the zeros of a weight: the coarsest that covers them exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prunemap.core import DENSE, SchemeSpec
from prunemap.schemes import SCHEMES, why_illegal
from prunemap.schemes.pattern import pattern_table

# Blocks that are tried, coarse to fine; the first that fits names the structure.
PUNCHED_BLOCKS = (*((f, c) for f in (32, 16, 8, 4, 2) for c in (32, 16, 8, 4, 2, 1)), (1, 4), (1, 2))
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
    if (matrix.all(1) | ~matrix.any(1)).all():
        return SchemeSpec("filter")
    if (matrix.all(0) | ~matrix.any(0)).all():
        return SchemeSpec("column")
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
    """Return the coarsest block that fits. What fits a block fits its halves, so the finest two rule out most."""
    rows, cols = _is_punched(kept, (2, 1)), _is_punched(kept, (1, 2))
    possible = [(f, c) for f, c in PUNCHED_BLOCKS if (f == 1 or rows) and (c == 1 or cols)]
    return next((block for block in possible if _is_punched(kept, block)), None)


def _is_punched(kept: NDArray[np.bool_], block: tuple[int, int]) -> bool:
    """Whether the kept weights are a union of whole groups of ``punched`` with this block."""
    spec = SchemeSpec("punched", block)
    view = SCHEMES[spec.name].view(kept.shape, spec)
    real = view.apply(np.ones(kept.shape, bool))
    groups = view.apply(kept)
    alive = groups.any((-2, -1), keepdims=True)
    return bool((groups == (alive & real)).all())


def _is_pattern(kept: NDArray[np.bool_]) -> bool:
    kernels = kept.reshape(-1, 9)
    kernels = kernels[kernels.any(1)]
    legal = {row.tobytes() for row in pattern_table()}
    return all(kernel.tobytes() in legal for kernel in np.unique(kernels, axis=0))


def _is_block(kept: NDArray[np.bool_], spec: SchemeSpec) -> bool:
    """Whether in every block the kept weights are the product of kept rows and kept columns."""
    blocks = SCHEMES["block"].view(kept.shape, spec).apply(kept)
    return bool((blocks == (blocks.any(-1, keepdims=True) & blocks.any(-2, keepdims=True))).all())
