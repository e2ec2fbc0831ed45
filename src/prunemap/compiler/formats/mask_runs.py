"""Mask runs: row groups whose rows need not be alike.

As in :mod:`~prunemap.compiler.formats.row_groups`, a group of F rows has one list of kept columns; but a column stores
only the weights of the rows that keep it, and the columns kept by the same rows stand together, in a run::

    group g:  rows[g, 0..F)                     which output each row of the group is; -1 = none
              counts[g, m - 1]                  columns kept by exactly the rows whose bit is set in m, for m = 1 .. 2^F
              columns[starts[g] .. starts[g+1])  run by run
              weights[weight_starts[g] ..]       popcount(m) for each column, in the order of the rows

So there is one copy of the kernel's inner loop for each m, with no test in it, and no zero is stored, whatever the
sparsity: ``block`` (whose blocks keep other rows each), ``pattern`` and ``unstructured``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats.row_groups import Grouping, Index, starts_of
from prunemap.compiler.graph.ir import Array
from prunemap.errors import InternalError

MOST_COLUMNS = np.iinfo(np.uint16).max
"""Of a matrix: a run counts its columns in 16 bits."""


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """A packed (O, columns) matrix: G groups of F rows, U units (kept columns) in all, W weights."""

    shape: tuple[int, int]
    rows: Index
    """(G, F)"""
    starts: Index
    """(G + 1,)"""
    weight_starts: Index
    """(G + 1,)"""
    counts: NDArray[np.uint16]
    """(G, 2^F - 1)"""
    columns: Index
    """(U,)"""
    weights: Array
    """(W,)"""

    def masks(self) -> NDArray[np.uint16]:
        """Return the mask of every unit, (U,)."""
        masks = np.tile(np.arange(1, self.counts.shape[1] + 1, dtype=np.uint16), len(self.counts))
        return np.repeat(masks, self.counts.ravel())

    def unpack(self) -> Array:
        """Return the (O, columns) matrix."""
        matrix = np.zeros(self.shape, np.float32)
        height = self.rows.shape[1]
        unit, row = rows_of_masks(self.masks(), height)
        group = np.repeat(np.arange(len(self.rows)), np.diff(self.starts))
        matrix[self.rows[group[unit], row], self.columns[unit]] = self.weights
        return matrix


def masks_of(kept: NDArray[np.bool_], grouping: Grouping) -> NDArray[np.uint16]:
    """Return which rows of each group keep each column, one bit each, (G, columns); 0 = none."""
    masks = np.zeros((len(grouping.groups), kept.shape[1]), np.uint16)
    for index, group in enumerate(grouping.groups):
        masks[index] = (kept[group].T << np.arange(len(group))).sum(1)
    return masks


def rows_of_masks(masks: NDArray[np.uint16], height: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the unit and the row of every weight, in the order in which they are stored."""
    unit, row = np.nonzero(masks[:, None] >> np.arange(height, dtype=np.uint16) & 1)
    return unit, row


def pack_runs(matrix: Array, kept: NDArray[np.bool_], grouping: Grouping, keys: NDArray[np.int64]) -> MaskRuns:
    """Pack a matrix.

    Args:
        matrix: (O, columns).
        kept: which weights must be stored; all that are not zero.
        grouping: of the rows of ``kept``.
        keys: the columns of a run are sorted by them, (G, columns).

    Raises:
        InternalError: there are more than ``MOST_COLUMNS`` columns.
    """
    if kept.shape[1] > MOST_COLUMNS:
        raise InternalError(f"mask runs: {kept.shape[1]} columns, at most {MOST_COLUMNS} are allowed")
    height, masks = grouping.height, masks_of(kept, grouping)
    groups, columns = np.nonzero(masks)
    unit_masks = masks[groups, columns]
    order = np.lexsort((keys[groups, columns], unit_masks, groups))
    groups, columns, unit_masks = groups[order], columns[order], unit_masks[order]
    rows = grouping.rows
    unit, row = rows_of_masks(unit_masks, height)
    counts = np.bincount((groups << height) + unit_masks, minlength=len(rows) << height).reshape(len(rows), -1)
    return MaskRuns(
        shape=(matrix.shape[0], matrix.shape[1]),
        rows=rows,
        starts=starts_of(np.bincount(groups, minlength=len(rows))),
        weight_starts=starts_of(np.bincount(groups[unit], minlength=len(rows))),
        counts=counts[:, 1:].astype(np.uint16),
        columns=columns.astype(np.int32),
        weights=matrix[rows[groups[unit], row], columns[unit]].astype(np.float32),
    )
