"""How weights are stored for the kernels: pack, unpack, sizes."""

from prunemap.compiler.formats.row_groups import RowGroups, pack

__all__ = ["RowGroups", "pack"]
