"""Which tile and row-group height run a layer: a model of the register tile, the same for every machine of a target.

Deterministic. Tuning by measurement replaces the model's word where it is done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prunemap.compiler.formats import Grouping, RowGroups, group_rows, pack
from prunemap.compiler.ir import Array, Conv
from prunemap.compiler.layout import Layout
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target

LINEAR_HEIGHTS = (64, 32, 16, 8, 4)
_STORE_UNITS = 3
"""What the start and the store of a tile cost, in kept units."""


@dataclass(frozen=True)
class ConvChoice:
    """A packed conv weight with the tile that runs it."""

    packed: RowGroups
    vectors: int
    pixels_outer: bool


def tile_cycles(filters: int, vectors: int) -> float:
    """Cycles of one kept unit in a tile: multiply-adds, or loads (a vector load may cross a cache line), + the loop."""
    return max(filters * vectors, 2 * vectors + filters) + 1.5 + vectors / 4


def fitted_vectors(target: Target, filters: int, plane_vectors: int) -> int:
    """Return V for a plane: as large as the registers allow, then even over the tiles that the plane needs."""
    most = target.vectors(filters)
    return -(-plane_vectors // -(-plane_vectors // most))


def choose_conv(op: Conv, out: Layout, target: Target, scheme: SchemeSpec | None, keep_zeros: bool) -> ConvChoice:
    """Pack a conv weight by the row-group height that the model says is fastest.

    Args:
        scheme: pinned by a plan: only heights that fit its blocks are considered.
        keep_zeros: treat zeros as weights (structure detection off).
    """
    matrix = op.weight.reshape(len(op.weight), -1)
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    groupings = [group_rows(kept, height, op.groups) for height in _heights(target, scheme, keep_zeros)]
    best = pack(matrix, kept, min(groupings, key=lambda each: _conv_cycles(each, out, target)))
    # What is walked in the inner loop should be the smaller of the two: it stays in cache.
    pixels_outer = best.weights.nbytes <= op.weight.shape[1] * op.groups * out.plane * 4
    return ConvChoice(best, fitted_vectors(target, best.height, out.vectors), pixels_outer)


def _heights(target: Target, scheme: SchemeSpec | None, keep_zeros: bool) -> list[int]:
    heights = [filters for filters, _ in target.tiles]
    if keep_zeros or scheme is None:
        return heights
    if scheme.name in ("unstructured", "pattern"):
        return [1]
    if scheme.block is None:
        return heights
    return [f for f in heights if f <= scheme.block[0]]


def _conv_cycles(grouping: Grouping, out: Layout, target: Target) -> float:
    vectors = fitted_vectors(target, grouping.height, out.vectors)
    tiles = -(-out.vectors // vectors)
    units = grouping.units + _STORE_UNITS * len(grouping.groups)
    return units * tiles * tile_cycles(grouping.height, vectors)


def choose_linear(weight: Array, keep_zeros: bool) -> RowGroups:
    """Pack a linear weight: the fewest bytes to read, where short vectors count as if they were longer."""
    kept = np.ones(weight.shape, bool) if keep_zeros else weight != 0
    groupings = [group_rows(kept, height) for height in LINEAR_HEIGHTS]
    best = min(groupings, key=lambda each: each.units * max(each.height, 16) + 8 * len(each.groups))
    return pack(weight, kept, best)


def rows_fit(op: Conv, out: Layout) -> bool:
    """Whether the depthwise kernel that shares loaded rows can run: rows long enough, stores inside the plane."""
    square = op.weight.shape[2:] in ((3, 3), (5, 5)) and op.stride == op.dilation == (1, 1)
    covered = -(-out.pitch // out.lanes) * out.lanes
    inside = (out.size[0] - 1) * out.pitch + max(out.pitch, out.lanes) <= out.interior
    return square and inside and covered <= 1.35 * out.pitch


def density_of(weight: Array) -> float:
    """Return non-zeros / all."""
    return float(np.count_nonzero(weight) / weight.size)
