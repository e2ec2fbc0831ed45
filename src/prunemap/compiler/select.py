"""Which tiles can run a layer, best first by a model of the register tile that is the same for every machine.

Deterministic: the first tile is what runs without tuning. :mod:`prunemap.compiler.tune` measures the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import Grouping, group_rows
from prunemap.compiler.ir import Conv
from prunemap.compiler.layout import Layout
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target

LINEAR_HEIGHTS = (64, 32, 16, 8, 4)
MAX_TILES = 8
_STORE_UNITS = 3
"""What the start and the store of a tile cost, in kept units."""
_WORTH_TRYING = 1.5
"""A height that the model says is slower than the best by more is not measured."""
_L2_SHARE = 0.9
"""Part of the L2 cache that a layer's input may take and still be read from there by every row group."""


@dataclass(frozen=True)
class TileChoice:
    """How a weight-carrying layer is run: rows per group and, for a conv, vectors per tile and the loop order."""

    filters: int
    vectors: int = 0
    pixels_outer: bool = False


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tile and the grouping of the rows that it needs."""

    choice: TileChoice
    grouping: Grouping


def tile_cycles(filters: int, vectors: int) -> float:
    """Cycles of one kept unit in a tile: multiply-adds, or loads (a vector load may cross a cache line), + the loop."""
    return max(filters * vectors, 2 * vectors + filters) + 1.5 + vectors / 4


def fitted_vectors(most: int, plane_vectors: int) -> int:
    """Return V for a plane: at most ``most``, even over the tiles that the plane needs."""
    return -(-plane_vectors // -(-plane_vectors // most))


def conv_candidates(
    op: Conv, kept: NDArray[np.bool_], layouts: tuple[Layout, Layout], target: Target, scheme: SchemeSpec | None
) -> list[Candidate]:
    """Return the tiles that can run a conv, best first.

    Args:
        kept: which weights are stored, (O, columns).
        layouts: of the input (or its phases) and of the output.
        scheme: pinned by a plan: only heights that fit its blocks.
    """
    source, out = layouts
    groupings = [group_rows(kept, height, op.groups) for height in _heights(target, scheme)]
    groupings.sort(key=lambda each: _conv_cycles(each, out, target))
    least = _conv_cycles(groupings[0], out, target)
    candidates = []
    for grouping in groupings:
        if _conv_cycles(grouping, out, target) > _WORTH_TRYING * least:
            break
        most = target.vectors(grouping.height)
        order = _pixels_outer(grouping, source, target)
        for vectors in dict.fromkeys(fitted_vectors(v, out.vectors) for v in (most, max(1, most - 1))):
            candidates += [
                Candidate(TileChoice(grouping.height, vectors, outer), grouping) for outer in (order, not order)
            ]
    return candidates[:MAX_TILES]


def _pixels_outer(grouping: Grouping, source: Layout, target: Target) -> bool:
    """Groups outside stream over the pixels once per group: right while the input stays in L2, or is the smaller."""
    input_bytes, weight_bytes = 4 * source.image, 4 * grouping.units * grouping.height
    return input_bytes > _L2_SHARE * target.l2_bytes and weight_bytes <= input_bytes


def _heights(target: Target, scheme: SchemeSpec | None) -> list[int]:
    heights = [filters for filters, _ in target.tiles]
    if scheme is None or scheme.name == "dense":
        return heights
    if scheme.name in ("unstructured", "pattern"):
        return [1]
    if scheme.block is None:
        return heights
    return [f for f in heights if f <= scheme.block[0]]


def _conv_cycles(grouping: Grouping, out: Layout, target: Target) -> float:
    vectors = fitted_vectors(target.vectors(grouping.height), out.vectors)
    tiles = -(-out.vectors // vectors)
    units = grouping.units + _STORE_UNITS * len(grouping.groups)
    return units * tiles * tile_cycles(grouping.height, vectors)


def linear_candidates(kept: NDArray[np.bool_]) -> list[Candidate]:
    """Return the heights that can run a linear layer, best first: the fewest bytes, short vectors as if longer."""
    groupings = [group_rows(kept, height) for height in LINEAR_HEIGHTS]

    def cost(each: Grouping) -> int:
        return each.units * max(each.height, 16) + 8 * len(each.groups)

    groupings.sort(key=cost)
    worth = [each for each in groupings if cost(each) <= _WORTH_TRYING * cost(groupings[0])]
    return [Candidate(TileChoice(each.height), each) for each in worth]


def rows_fit(op: Conv, out: Layout) -> bool:
    """Whether the depthwise kernel that shares loaded rows can run: rows long enough, stores inside the plane."""
    square = op.weight.shape[2:] in ((3, 3), (5, 5)) and op.stride == op.dilation == (1, 1)
    covered = -(-out.pitch // out.lanes) * out.lanes
    inside = (out.size[0] - 1) * out.pitch + max(out.pitch, out.lanes) <= out.interior
    return square and inside and covered <= 1.35 * out.pitch
