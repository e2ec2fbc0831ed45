"""How weights are stored for the kernels: pack and unpack."""

from prunemap.compiler.formats.mask_bundles import MaskBundles, pack_bundles
from prunemap.compiler.formats.mask_runs import MOST_COLUMNS, MaskRuns, masks_of, pack_runs
from prunemap.compiler.formats.pick_lists import MOST_PICKED, PickLists, count_steps, pack_picks
from prunemap.compiler.formats.row_groups import (
    Grouping,
    RowGroups,
    SmallIndex,
    group_rows,
    pack,
    reorder_units,
    smallest_index,
    starts_of,
)

__all__ = [
    "MOST_COLUMNS",
    "MOST_PICKED",
    "Grouping",
    "MaskBundles",
    "MaskRuns",
    "PickLists",
    "RowGroups",
    "SmallIndex",
    "count_steps",
    "group_rows",
    "masks_of",
    "pack",
    "pack_bundles",
    "pack_picks",
    "pack_runs",
    "reorder_units",
    "smallest_index",
    "starts_of",
]
