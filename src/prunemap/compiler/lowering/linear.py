"""The steps of a linear layer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import Grouping, SmallIndex, pack, pack_bundles, pack_picks, smallest_index
from prunemap.compiler.graph.ir import Linear, Node
from prunemap.compiler.lowering.program import LinearStep, Step, Symbol, Tensor, linear_tile
from prunemap.compiler.lowering.select_linear import linear_candidates, tile_items
from prunemap.compiler.lowering.state import Lowering


def linear_steps(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    """Return the step of a linear layer."""
    op, items = node.op, low.graph.shapes[node.output][0]
    assert isinstance(op, Linear)
    fields, kernel, stored = product_fields(low, node, op, items, low.layout(source.name).plane)
    low.choose(node, kernel, op.weight, stored)
    return [LinearStep(in_=source, out=Tensor(node.output), residual=residual, **fields)]


def product_fields(low: Lowering, node: Node, op: Linear, items: int, pitch: int) -> tuple[dict[str, Any], str, int]:
    """Return the fields of a step that multiplies with packed weights, its kernel, and how many weights it stores.

    Args:
        items: how many vectors are multiplied.
        pitch: floats from one element of a vector to the next.
    """
    must = low.kept(node, op.weight)
    choice, grouping, kept = low.pick(node, must, lambda: linear_candidates(must, items, low.target, pitch))
    form: Literal["", "masked", "pick"] = "pick" if choice.pick else "masked" if choice.masked else ""
    fields, index = _FIELDS[form](low, op, kept, grouping, pitch)
    tile = tile_items(choice, items, low.target)

    def make(size: int) -> Symbol:
        return low.tile(linear_tile(choice.filters, size, index.dtype, form))

    full, tail = make(tile), make(items % tile) if items % tile else None
    stored = fields.pop("stored")
    return {"full": full, "tail": tail, "tile_items": tile, **fields}, full.name, stored


def _group_fields(
    low: Lowering, op: Linear, kept: NDArray[np.bool_], grouping: Grouping, pitch: int
) -> tuple[dict[str, Any], SmallIndex]:
    packed = pack(op.weight, kept, grouping)
    indices = smallest_index(packed.columns.astype(np.int64) * pitch)
    return {**low.packed_fields(packed, indices, op.bias, op.clamp), "stored": packed.weights.size}, indices


def _masked_fields(
    low: Lowering, op: Linear, kept: NDArray[np.bool_], grouping: Grouping, pitch: int
) -> tuple[dict[str, Any], SmallIndex]:
    packed = pack_bundles(op.weight, kept, grouping)
    codes, weight_starts = smallest_index(packed.codes(pitch)), packed.weight_starts
    fields = low.packed_fields(packed, codes, op.bias, op.clamp)
    return {**fields, "weight_starts": low.blob.add(weight_starts), "stored": int(weight_starts[-1])}, codes


def _pick_fields(
    low: Lowering, op: Linear, kept: NDArray[np.bool_], grouping: Grouping, pitch: int
) -> tuple[dict[str, Any], SmallIndex]:
    assert pitch == 1, "whole vectors of inputs are read"
    packed = pack_picks(op.weight, kept, grouping)
    return {**low.packed_fields(packed, packed.codes, op.bias, op.clamp), "stored": packed.weights.size}, packed.codes


_FIELDS = {"": _group_fields, "masked": _masked_fields, "pick": _pick_fields}
"""How the weights of a layer are packed, by the form of its tile."""
