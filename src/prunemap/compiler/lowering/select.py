"""Which tiles can run a layer, best first by a model of the register tile that is the same for every machine.

Deterministic: the first tile is what runs without tuning. :mod:`prunemap.compiler.tune` measures the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import MOST_COLUMNS, Grouping, group_rows, masks_of
from prunemap.compiler.graph.ir import Conv
from prunemap.compiler.lowering.layout import Layout
from prunemap.core.layer import Pair
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target

MAX_TILES = 8
_STORE_UNITS = 3
"""What the start and the store of a tile cost, in kept units."""
_PEAK_LANES = 16
"""fp32 multiply-adds per cycle that the model assumes; only ratios matter."""
_TRANSPOSED_STORE = 0.8
"""Cycles per value stored, when filters are in the lanes."""
_MASKED_HEIGHTS = (2, 4)
_RUN_CYCLES = 3
"""What the loop over one run of a masked tile costs beside its units."""
_LEAST_LANES, _LEAST_COLS = 8, 4
_LISTED_TAPS = 0.5
"""A channel of a depthwise tile takes its taps one by one where it keeps at most so many: each loads its own rows."""
_WORTH_TRYING = 1.5
"""A tile that the model says is slower than the best by more is not measured."""
_LEAST_DENSITY = 0.3
"""Below it no dense tile is worth trying."""
_L2_SHARE = 0.9
"""Part of the L2 cache that a layer's input may take and still be read from there by every row group."""


@dataclass(frozen=True)
class TileChoice:
    """How a weight-carrying layer is run: filters per row group and, for a conv, the rest of its register tile.

    Either ``vectors`` of pixels, or filters in the lanes and ``rows`` × ``cols`` pixels.
    """

    filters: int
    vectors: int = 0
    rows: int = 0
    cols: int = 0
    pixels_outer: bool = False
    masked: bool = False
    """Whether every unit stores only the weights of the rows that keep it."""
    dense: bool = False
    """Whether the zeros are stored too."""
    pick: bool = False
    """Whether every lane of a linear tile has a list of its own."""

    @property
    def in_lanes(self) -> bool:
        """Whether the filters, not the pixels, are in the lanes."""
        return self.rows > 0


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tile and the grouping of the rows that it needs."""

    choice: TileChoice
    grouping: Grouping
    unit_rows: tuple[int, ...] = ()
    """Of a masked tile: how many units are kept by 0, 1, … F rows of their group."""


def tile_cycles(filters: int, vectors: int) -> float:
    """Cycles of one kept unit in a tile: multiply-adds, or loads (a vector load may cross a cache line), + the loop."""
    return max(filters * vectors, 2 * vectors + filters) + 1.5 + vectors / 4


def fitted_vectors(most: int, plane_vectors: int) -> int:
    """Return V for a plane: at most ``most``, even over the tiles that the plane needs."""
    return -(-plane_vectors // -(-plane_vectors // most))


def worth_trying(candidates: list[Candidate], cost: Callable[[Candidate], float]) -> list[Candidate]:
    """Return the candidates by rising cost, but for those that the model says are much slower than the best."""
    costs = {id(each): cost(each) for each in candidates}
    least = min(costs.values())
    ranked = sorted(candidates, key=lambda each: costs[id(each)])
    return [each for each in ranked if costs[id(each)] <= _WORTH_TRYING * least][:MAX_TILES]


def conv_candidates(
    op: Conv, kept: NDArray[np.bool_], layouts: tuple[Layout, Layout], target: Target, scheme: SchemeSpec | None
) -> list[Candidate]:
    """Return the tiles that can run a conv, best first.

    Args:
        kept: which weights must be stored, (O, columns).
        layouts: of the input (or its phases) and of the output.
        scheme: pinned by a plan: only tiles that follow it.
    """
    source, out = layouts
    candidates = _candidates(op, kept, source, out, target)
    if np.count_nonzero(kept) > _LEAST_DENSITY * kept.size and not kept.all():
        every = _candidates(op, np.ones_like(kept), source, out, target)
        candidates += [replace(each, choice=replace(each.choice, dense=True)) for each in every]
    followers = [each for each in candidates if scheme in (None, DENSE) or _follows(each.choice, scheme)]
    return worth_trying(followers, lambda each: _conv_cycles(each, out))


def _candidates(op: Conv, kept: NDArray[np.bool_], source: Layout, out: Layout, target: Target) -> list[Candidate]:
    candidates = []
    for height, _ in target.tiles:
        grouping = group_rows(kept, height, op.groups)
        order = _pixels_outer(grouping, source, target)
        unit_rows = _unit_rows(grouping, kept)
        shapes = [*_pixel_tiles(height, out, target), *_lane_tiles(height, out, target)]
        shapes += [replace(tile, masked=True) for tile in _pixel_tiles(height, out, target) if unit_rows]
        for shape in shapes:
            counts = unit_rows if shape.masked else ()
            candidates += [
                Candidate(replace(shape, pixels_outer=outer), grouping, counts) for outer in (order, not order)
            ]
    return candidates


def _follows(choice: TileChoice, scheme: SchemeSpec) -> bool:
    """Whether a tile runs weights as the sparse scheme that a plan pins."""
    if choice.dense:
        return False
    if scheme.name in ("unstructured", "pattern"):
        return choice.filters == 1 or choice.masked
    return scheme.block is None or choice.filters <= scheme.block[0]


def _pixel_tiles(height: int, out: Layout, target: Target) -> list[TileChoice]:
    """Tiles with pixels in the lanes: as many vectors as fit the registers, and one fewer."""
    most = target.vectors(height)
    vectors = dict.fromkeys(fitted_vectors(v, out.vectors) for v in (most, max(1, most - 1)))
    return [TileChoice(height, vectors=v) for v in vectors]


def _lane_tiles(height: int, out: Layout, target: Target) -> list[TileChoice]:
    """The tile with filters in the lanes, for maps of which whole rows, or equal parts of them, fit the registers."""
    pixels = target.registers - 4
    cols = next((n for n in range(min(out.size[1], pixels // 2, 14), 0, -1) if out.size[1] % n == 0), 1)
    if height < _LEAST_LANES or height > target.lanes or cols < min(out.size[1], _LEAST_COLS):
        return []
    rows = -(-out.size[0] // -(-out.size[0] // max(1, pixels // cols)))
    return [TileChoice(height, rows=rows, cols=cols)]


def _unit_rows(grouping: Grouping, kept: NDArray[np.bool_]) -> tuple[int, ...]:
    """How many units are kept by 0, 1, … F rows of their group; () where masks are no use."""
    if grouping.height not in _MASKED_HEIGHTS or kept.shape[1] > MOST_COLUMNS:
        return ()
    if grouping.units * grouping.height == np.count_nonzero(kept):
        return ()
    rows = np.bitwise_count(masks_of(kept, grouping))
    return (0, *np.bincount(rows.ravel(), minlength=grouping.height + 1)[1:].tolist())


def _pixels_outer(grouping: Grouping, source: Layout, target: Target) -> bool:
    """Groups outside stream over the pixels once per group: right while the input stays in L2, or is the smaller."""
    input_bytes, weight_bytes = 4 * source.image, 4 * grouping.units * grouping.height
    return input_bytes > _L2_SHARE * target.l2_bytes and weight_bytes <= input_bytes


def _conv_cycles(candidate: Candidate, out: Layout) -> float:
    """What the model says a layer takes, but for the order of the loops."""
    choice, grouping = candidate.choice, candidate.grouping
    if choice.in_lanes:
        pixels = choice.rows * choice.cols
        unit = max(pixels * choice.filters / _PEAK_LANES, 0.75 * pixels) + 1.5  # every pixel is broadcast
        tiles = -(-out.size[0] // choice.rows) * (out.size[1] // choice.cols)
        return tiles * (grouping.units * unit + len(grouping.groups) * pixels * choice.filters * _TRANSPOSED_STORE)
    tiles = -(-out.vectors // choice.vectors)
    scale = out.lanes / _PEAK_LANES  # a multiply-add of all lanes takes a cycle at 16, half a cycle at 8
    stores = len(grouping.groups) * _STORE_UNITS * tile_cycles(choice.filters, choice.vectors)
    if choice.masked:
        stores += len(grouping.groups) * _RUN_CYCLES * (1 << choice.filters)
        units = sum(n * tile_cycles(rows, choice.vectors) for rows, n in enumerate(candidate.unit_rows))
    else:
        units = grouping.units * tile_cycles(choice.filters, choice.vectors)
    return tiles * scale * (units + stores)


def depthwise_size(out: Layout, target: Target) -> Pair:
    """Return the rows and columns of the register tile of a depthwise conv.

    Short rows take a short vector; what is left of the registers takes rows, of which several vectors need fewer.
    """
    height, width = out.size
    vector = min(out.lanes, max(_LEAST_COLS, 1 << (width - 1).bit_length()))
    several, one = target.depthwise_rows
    if width > vector and height % several == 0:
        return several, vector
    return fitted_vectors(one, height), vector


def listed_taps(is_kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the taps of a depthwise tile that are stored, (channels, taps): all of a channel that keeps most of them.

    Args:
        is_kept: (channels, taps).
    """
    mostly: NDArray[np.bool_] = np.count_nonzero(is_kept, axis=1) > _LISTED_TAPS * is_kept.shape[1]
    return is_kept | mostly[:, None]
