"""pattern: every 3x3 kernel is empty (connectivity pruning) or keeps 4 weights in one of 8 patterns.

Source: PatDNN (ASPLOS 2020); the eight patterns are those of the MEST code (NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes.scheme import Mask, Scheme
from prunemap.schemes.view import View, blocked_view

# Kept positions as 3·row + column.
PATTERNS: tuple[tuple[int, int, int, int], ...] = (
    (4, 5, 7, 8),
    (3, 4, 6, 7),
    (1, 2, 4, 5),
    (0, 1, 3, 4),
    (1, 3, 4, 5),
    (3, 4, 5, 7),
    (1, 4, 5, 7),
    (1, 3, 4, 7),
)


def pattern_table() -> Mask:
    """Return the patterns as an (8, 9) mask."""
    table = np.zeros((len(PATTERNS), 9), dtype=bool)
    for row, positions in enumerate(PATTERNS):
        table[row, list(positions)] = True
    return table


def pattern_norms(weight: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return Σ w² that each pattern would leave of each kernel, shape (O, I, 8)."""
    kernels = weight.reshape(*weight.shape[:2], 9).astype(np.float64)
    norms: NDArray[np.float64] = kernels**2 @ pattern_table().T.astype(np.float64)
    return norms


def kernels_kept(inputs: int, density: float) -> int:
    """Return how many kernels of a filter are not empty at a density."""
    return min(inputs, max(1, round(density * 9 / 4 * inputs)))


class Pattern(Scheme):
    """Groups are single kernels; a density d in all keeps a share d·9/4 of the kernels, the same number per filter."""

    name = "pattern"
    max_density = 4 / 9

    def why_illegal(self, weight_shape: Sequence[int]) -> str | None:
        if tuple(weight_shape[2:]) != (3, 3):
            return "pattern is for 3x3 kernels"
        return None

    def view(self, weight_shape: Sequence[int], spec: SchemeSpec) -> View:
        return blocked_view(weight_shape, 1, 1)

    def keep(self, weight: NDArray[np.floating[Any]], spec: SchemeSpec, density: float) -> Mask:
        o, i = weight.shape[:2]
        table = pattern_table()
        norms = pattern_norms(weight)
        best = norms.argmax(-1)
        kernels = kernels_kept(i, density)
        strongest = np.argsort(-norms.max(-1), axis=1, kind="stable")[:, :kernels]
        kept = np.zeros((o, i), dtype=bool)
        np.put_along_axis(kept, strongest, True, axis=1)
        mask: Mask = (table[best] & kept[..., None]).reshape(weight.shape)
        return mask
