"""Row groups: how dense and block-pruned weight matrices are stored; the other formats group rows likewise.

The rows (filters) of a matrix are cut into groups of ``height``; a group has one list of kept columns, shared by its
rows, and a weight for each row of each kept column (zeros filled in where only some rows of the group have one)::

    group g:  rows[g, 0..F)                     which output each row of the group is; -1 = none
              columns[starts[g] .. starts[g+1])  kept columns = (channel, kernel position)
              weights[u, 0..F)                   of kept column u, in the order the kernel reads them

Rows with the same kept list are put in one group, so a block-pruned matrix has no filled-in zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import Array

Index = NDArray[np.int32]
SmallIndex = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]
"""As narrow as its values allow."""


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

    def unpack(self) -> Array:
        """Return the (O, columns) matrix."""
        matrix = np.zeros(self.shape, np.float32)
        for group, rows in enumerate(self.rows):
            kept = slice(self.starts[group], self.starts[group + 1])
            real = rows >= 0
            matrix[rows[real][:, None], self.columns[kept][None, :]] = self.weights[kept].T[real]
        return matrix


@dataclass(frozen=True, eq=False)
class Grouping:
    """How the rows of a matrix fall into groups, before any weight is moved: enough to tell what a height costs."""

    height: int
    groups: list[list[int]]
    """Row numbers of each group, at most ``height``."""
    units: int
    """Kept columns of all groups together."""

    @property
    def rows(self) -> Index:
        """Row numbers as an array, (G, height); -1 = none."""
        rows = np.full((len(self.groups), self.height), -1, np.int32)
        for index, group in enumerate(self.groups):
            rows[index, : len(group)] = group
        return rows


def group_rows(kept: NDArray[np.bool_], height: int, blocks: int = 1) -> Grouping:
    """Put rows with the same kept list in one group, what is left over in groups in order.

    Args:
        kept: (O, columns).
        blocks: the rows are cut into this many equal parts that share no group (the groups of a grouped conv).
    """
    bits = np.packbits(kept, axis=1)
    part = len(bits) // blocks
    groups = [rows for b in range(blocks) for rows in _alike_rows(bits, height, range(b * part, (b + 1) * part))]
    units = sum(int(np.bitwise_count(np.bitwise_or.reduce(bits[rows])).sum()) for rows in groups)
    return Grouping(height, groups, units)


def _alike_rows(bits: NDArray[np.uint8], height: int, rows: range) -> list[list[int]]:
    alike: dict[bytes, list[int]] = {}
    for row in rows:
        alike.setdefault(bits[row].tobytes(), []).append(row)
    whole: list[list[int]] = []
    rest: list[int] = []
    for same in alike.values():
        full = len(same) - len(same) % height
        whole += [same[i : i + height] for i in range(0, full, height)]
        rest += same[full:]
    rest.sort()
    return sorted(whole + [rest[i : i + height] for i in range(0, len(rest), height)])


def starts_of(counts: NDArray[np.integer[Any]]) -> Index:
    """Return where each of consecutive pieces starts, and where the last one ends, (pieces + 1,)."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int32)


def reorder_units(packed: RowGroups, keys: NDArray[np.int64]) -> tuple[RowGroups, NDArray[np.int64]]:
    """Sort the units of each group by rising key; return the packed matrix and the sorted keys.

    Args:
        keys: one per unit, (U,).
    """
    group = np.repeat(np.arange(len(packed.rows)), np.diff(packed.starts))
    order = np.lexsort((keys, group))
    return replace(packed, columns=packed.columns[order], weights=packed.weights[order]), keys[order]


def smallest_index(values: NDArray[np.int64]) -> SmallIndex:
    """Return the values in 8 or 16 bits without a sign if they fit, else in 32."""
    least, most = values.min(initial=0), values.max(initial=0)
    if least < 0 or most > np.iinfo(np.uint16).max:
        return values.astype(np.int32)
    return values.astype(np.uint8) if most <= np.iinfo(np.uint8).max else values.astype(np.uint16)


def pack(matrix: Array, kept: NDArray[np.bool_], grouping: Grouping) -> RowGroups:
    """Pack a matrix.

    Args:
        matrix: (O, columns).
        kept: which weights must be stored; all that are not zero.
        grouping: of the rows of ``kept``.
    """
    rows = grouping.rows
    weights = np.zeros((grouping.units, grouping.height), np.float32)
    columns = np.zeros(grouping.units, np.int32)
    starts = np.zeros(len(grouping.groups) + 1, np.int32)
    for index, group in enumerate(grouping.groups):
        union = np.flatnonzero(kept[group].any(0))
        here = slice(starts[index], starts[index] + len(union))
        starts[index + 1] = here.stop
        columns[here] = union
        weights[here, : len(group)] = matrix[group][:, union].T
    return RowGroups((matrix.shape[0], matrix.shape[1]), rows, starts, columns, weights)
