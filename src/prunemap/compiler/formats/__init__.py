"""How weights are stored for the kernels: pack, unpack, sizes."""

from prunemap.compiler.formats.row_groups import Grouping, RowGroups, group_rows, pack, reorder_units, smallest_index

__all__ = ["Grouping", "RowGroups", "group_rows", "pack", "reorder_units", "smallest_index"]
