"""Mask bundles: row groups whose rows need not be alike, for kernels with the rows in the lanes.

As in :mod:`~prunemap.compiler.formats.row_groups`, a group of F rows has one list of kept columns; but a column stores
only the weights of the rows that keep it. Columns kept by the same rows are bundled, four, two or one under one mask,
and the kernel takes four columns at a time: one bundle of 4, two of 2, or four of 1::

    group g:  rows[g, 0..F)         which output each row of the group is; -1 = none
              counts[g, 0..3)       how many times four columns in bundles of 4, of 2, of 1
              masks[b]              of each bundle: bit f is set where row f keeps its columns; 0 = filled up to four
              columns[u]            4, 2 or 1 of each bundle
              weights               popcount(mask) for each column, in the order of the rows

The kernel reads counts, masks and columns as one stream of codes. No zero is stored, whatever the sparsity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats.mask_runs import masks_of, rows_of_masks
from prunemap.compiler.formats.row_groups import Grouping, Index, starts_of
from prunemap.compiler.graph.ir import Array

MOST_ROWS = 16
QUAD = 4
"""Columns that the kernel takes at a time."""
SIZES = np.array([4, 2, 1])
"""Columns per bundle, in the order in which a group has them."""


@dataclass(frozen=True, eq=False)
class MaskBundles:
    """A packed (O, columns) matrix: G groups of F rows, B bundles, U columns in them, W weights."""

    shape: tuple[int, int]
    rows: Index
    """(G, F)"""
    counts: Index
    """(G, 3)"""
    masks: NDArray[np.uint16]
    """(B,)"""
    columns: Index
    """(U,)"""
    weights: Array
    """(W + F,): behind the last weight are zeros, for the kernel reads F at a time."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Columns of every bundle, (B,)."""
        return np.repeat(np.tile(SIZES, len(self.counts)), (self.counts * (QUAD // SIZES)).ravel())

    @property
    def unit_masks(self) -> NDArray[np.uint16]:
        """Mask of every column in a bundle, (U,)."""
        return np.repeat(self.masks, self.sizes)

    @property
    def starts(self) -> Index:
        """Where each group's codes start, (G + 1,)."""
        return starts_of((self.counts * (QUAD // SIZES + QUAD) + 1).sum(1))

    @property
    def weight_starts(self) -> Index:
        """Where each group's weights start, (G + 1,)."""
        before = starts_of(np.bitwise_count(self.unit_masks))
        return before[starts_of(QUAD * self.counts.sum(1))]

    def codes(self, pitch: int) -> NDArray[np.int64]:
        """Return what the kernel reads: each group's counts, then of each bundle the mask and where its inputs lie.

        Args:
            pitch: from one input to the next, in floats.
        """
        codes = np.empty(self.starts[-1], np.int64)
        codes[self.starts[:-1, None] + np.arange(len(SIZES))] = self.counts
        group = np.repeat(np.arange(len(self.counts)), (self.counts * (QUAD // SIZES)).sum(1))
        mask_at = len(SIZES) * (group + 1) + starts_of(self.sizes + 1)[:-1]
        codes[mask_at] = self.masks
        first = mask_at + 1 - starts_of(self.sizes)[:-1]
        codes[np.repeat(first, self.sizes) + np.arange(len(self.columns))] = self.columns * np.int64(pitch)
        return codes

    def unpack(self) -> Array:
        """Return the (O, columns) matrix."""
        matrix = np.zeros(self.shape, np.float32)
        unit, row = rows_of_masks(self.unit_masks, self.rows.shape[1])
        group = np.repeat(np.arange(len(self.rows)), QUAD * self.counts.sum(1))
        matrix[self.rows[group[unit], row], self.columns[unit]] = self.weights[: len(unit)]
        return matrix


def pack_bundles(matrix: Array, kept: NDArray[np.bool_], grouping: Grouping) -> MaskBundles:
    """Pack a matrix.

    Args:
        matrix: (O, columns).
        kept: which weights must be stored; all that are not zero.
        grouping: of the rows of ``kept``, at most ``MOST_ROWS`` high.
    """
    group_masks = masks_of(kept, grouping)
    groups, columns = np.nonzero(group_masks)
    masks = group_masks[groups, columns]
    order, places, counts = _bundle(groups, masks, len(group_masks))
    groups, columns, masks = groups[order], columns[order], masks[order]
    rows = grouping.rows
    unit, row = rows_of_masks(masks, grouping.height)
    weights = matrix[rows[groups[unit], row], columns[unit]]
    all_columns, unit_masks = np.zeros((2, QUAD * counts.sum()), np.int32)
    all_columns[places], unit_masks[places] = columns, masks
    size = np.repeat(np.tile(SIZES, len(rows)), QUAD * counts.ravel())
    return MaskBundles(
        shape=(matrix.shape[0], matrix.shape[1]),
        rows=rows,
        counts=counts.astype(np.int32),
        masks=unit_masks[np.arange(len(size)) % size == 0].astype(np.uint16),
        columns=all_columns,
        weights=np.append(weights, np.zeros(grouping.height)).astype(np.float32),
    )


def _bundle(
    groups: NDArray[np.intp], masks: NDArray[np.uint16], group_count: int
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of the units, the place that each then has, and how many QUADs of each size a group has, (G, 3).

    Args:
        groups: of every unit, rising.
    """
    order = np.lexsort((masks, groups))
    place, length = _runs((groups.astype(np.int64) << MOST_ROWS | masks)[order])
    kind = np.select([place < length - length % size for size in SIZES], list(range(len(SIZES))))
    cell = groups[order] * len(SIZES) + kind
    by_cell = np.argsort(cell, kind="stable")
    order, cell = order[by_cell], cell[by_cell]
    counts = -(-np.bincount(cell, minlength=group_count * len(SIZES)) // QUAD)
    places = QUAD * starts_of(counts)[cell] + _runs(cell)[0]
    return order, places, counts.reshape(group_count, len(SIZES))


def _runs(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of each element in its run of equal keys, and the run's length."""
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    lengths = np.diff(first, append=len(keys))
    return np.arange(len(keys)) - np.repeat(first, lengths), np.repeat(lengths, lengths)
