"""Pick lists: rows of any sparsity, for kernels with the rows in the lanes and one vector to multiply with.

A group of F rows, one per lane, is a list of steps. In a step every lane takes the next weight of its row whose column
lies in the window of 2·F columns at F·at, which the kernel picks out of two vectors of inputs; a lane whose next weight
lies further on waits with a weight of zero::

    group g:  rows[g, 0..F)                 which output each row of the group is; -1 = none
              at[starts[g] .. starts[g+1])  the window of each step, in vectors of F columns
              picks[u, 0..F)                the column inside of the window
              weights[u, 0..F)              0 where a lane waits

Lanes need not move together, so few wait: at a density of 0.1 and F = 16 about six of ten lanes have a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats.row_groups import Grouping, Index, starts_of
from prunemap.compiler.graph.ir import Array

MOST_PICKED = 1 << 19
"""Columns of a matrix: the window of a step is counted in 16 bits, of 8 columns at least."""
_NONE = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class PickLists:
    """A packed (O, columns) matrix: G groups of F rows, U steps in all."""

    shape: tuple[int, int]
    rows: Index
    """(G, F)"""
    starts: Index
    """(G + 1,)"""
    at: NDArray[np.uint16]
    """(U,)"""
    picks: NDArray[np.uint8]
    """(U, F)"""
    weights: Array
    """(U, F)"""

    @property
    def codes(self) -> NDArray[np.uint8]:
        """What the kernel reads: of each step ``at``, in two bytes, and the picks, (U · (2 + F),)."""
        at = self.at.astype("<u2")[:, None].view(np.uint8)
        return np.concatenate([at, self.picks], axis=1).reshape(-1)

    def unpack(self) -> Array:
        """Return the (O, columns) matrix."""
        matrix = np.zeros(self.shape, np.float32)
        height = self.rows.shape[1]
        columns = self.at[:, None].astype(np.int64) * height + self.picks
        rows = np.repeat(self.rows, np.diff(self.starts), axis=0)
        there = self.weights != 0
        matrix[rows[there], columns[there]] = self.weights[there]
        return matrix


def pack_picks(matrix: Array, kept: NDArray[np.bool_], grouping: Grouping) -> PickLists:
    """Pack a matrix.

    Args:
        matrix: (O, columns), at most ``MOST_PICKED``.
        kept: which weights must be stored; all that are not zero.
        grouping: of the rows of ``kept``.
    """
    rows = grouping.rows
    group, columns, taken = _steps(kept, rows)
    window = columns.min(axis=1) // grouping.height
    columns = np.where(taken, columns, columns.min(axis=1, keepdims=True))  # a lane that waits picks some input
    owner = rows[group]
    weights = np.where(taken & (owner >= 0), matrix[owner, columns], 0)
    return PickLists(
        shape=(matrix.shape[0], matrix.shape[1]),
        rows=rows,
        starts=starts_of(np.bincount(group, minlength=len(rows))),
        at=window.astype(np.uint16),
        picks=(columns - window[:, None] * grouping.height).astype(np.uint8),
        weights=weights.astype(np.float32),
    )


def count_steps(kept: NDArray[np.bool_], grouping: Grouping, sample: int = 8) -> int:
    """Return about how many steps the matrix would take, from some of its groups."""
    rows = grouping.rows
    some = rows[:: -(-len(rows) // sample)]
    return round(len(_steps(kept, some)[0]) * len(rows) / max(1, len(some)))


def _steps(kept: NDArray[np.bool_], rows: Index) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the group of every step, the next column of each lane, and whether it is taken; by group.

    Args:
        rows: (G, F).
    """
    height = rows.shape[1]
    lane, columns = np.nonzero(kept[rows.reshape(-1)] & (rows.reshape(-1) >= 0)[:, None])
    ends = np.cumsum(np.bincount(lane, minlength=rows.size)).reshape(rows.shape)
    place = np.concatenate([[0], ends.reshape(-1)[:-1]]).reshape(rows.shape)
    columns = np.append(columns, _NONE)
    groups, found, takes = [], [], []
    while (place < ends).any():
        open_: NDArray[np.bool_] = np.any(place < ends, axis=1)
        following = np.where(place < ends, columns[np.minimum(place, len(columns) - 1)], _NONE)
        first = following.min(axis=1, keepdims=True)
        taken = (following < first // height * height + 2 * height) & open_[:, None]
        place = place + taken
        groups.append(np.flatnonzero(open_))
        found.append(following[open_])
        takes.append(taken[open_])
    if not groups:
        return np.zeros(0, np.intp), np.zeros((0, height), np.int64), np.zeros((0, height), np.bool_)
    order = np.argsort(np.concatenate(groups), kind="stable")
    return np.concatenate(groups)[order], np.concatenate(found)[order], np.concatenate(takes)[order]
