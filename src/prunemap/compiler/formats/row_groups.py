"""Row groups: the one storage of sparse and dense weight matrices.

The rows (filters) of a matrix are cut into groups of ``height``; a group has one list of kept columns, shared by its
rows, and a weight for each row of each kept column (zeros filled in where only some rows of the group have one)::

    group g:  rows[g, 0..F)                     which output each row of the group is; -1 = none
              columns[starts[g] .. starts[g+1])  kept columns = (channel, kernel position)
              weights[u, 0..F)                   of kept column u, in the order the kernel reads them

Rows with the same kept list are put in one group, so a block-pruned matrix has no filled-in zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.ir import Array

Index = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A packed (O, columns) matrix: G groups of F rows, U kept columns in all."""

    shape: tuple[int, int]
    rows: Index
    """(G, F)"""
    starts: Index
    """(G + 1,)"""
    columns: Index
    """(U,)"""
    weights: Array
    """(U, F)"""

    @property
    def height(self) -> int:
        """F, rows per group."""
        return int(self.rows.shape[1])

    @property
    def size_bytes(self) -> int:
        """Bytes of weights and indices."""
        return self.rows.nbytes + self.starts.nbytes + self.columns.nbytes + self.weights.nbytes

    def unpack(self) -> Array:
        """Return the (O, columns) matrix."""
        matrix = np.zeros(self.shape, np.float32)
        for group, rows in enumerate(self.rows):
            kept = slice(self.starts[group], self.starts[group + 1])
            real = rows >= 0
            matrix[rows[real][:, None], self.columns[kept][None, :]] = self.weights[kept].T[real]
        return matrix


def pack(matrix: Array, height: int, *, blocks: int = 1, keep_zeros: bool = False) -> RowGroups:
    """Pack a matrix.

    Args:
        matrix: (O, columns).
        height: F.
        blocks: the rows are cut into this many equal parts that share no group (the groups of a grouped conv).
        keep_zeros: store every column, zero or not.
    """
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    part = len(matrix) // blocks
    groups = [rows for b in range(blocks) for rows in _group_rows(kept[b * part : (b + 1) * part], height, b * part)]
    rows = np.full((len(groups), height), -1, np.int32)
    columns, weights, starts = [], [], [0]
    for index, group in enumerate(groups):
        rows[index, : len(group)] = group
        union = np.flatnonzero(kept[group].any(0))
        values = np.zeros((len(union), height), np.float32)
        values[:, : len(group)] = matrix[group][:, union].T
        columns.append(union)
        weights.append(values)
        starts.append(starts[-1] + len(union))
    return RowGroups(
        shape=(matrix.shape[0], matrix.shape[1]),
        rows=rows,
        starts=np.asarray(starts, np.int32),
        columns=np.concatenate(columns).astype(np.int32),
        weights=np.ascontiguousarray(np.concatenate(weights), np.float32),
    )


def _group_rows(kept: NDArray[np.bool_], height: int, first: int) -> list[list[int]]:
    """Return lists of at most ``height`` row numbers: rows with the same kept list together, the rest in order."""
    alike: dict[bytes, list[int]] = {}
    for row, bits in enumerate(np.packbits(kept, axis=1)):
        alike.setdefault(bits.tobytes(), []).append(first + row)
    whole, rest = [], []
    for rows in alike.values():
        full = len(rows) - len(rows) % height
        whole += [rows[i : i + height] for i in range(0, full, height)]
        rest += rows[full:]
    rest.sort()
    return sorted(whole + [rest[i : i + height] for i in range(0, len(rest), height)])
