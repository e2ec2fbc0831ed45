"""The steps of a conv: the cut into phases of a strided one, row groups, tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import RowGroups, pack, reorder_units, smallest_index
from prunemap.compiler.ir import Conv, Node
from prunemap.compiler.layout import Layout, phases_name
from prunemap.compiler.lower_depthwise import depthwise_step
from prunemap.compiler.lowering import Index, Lowering
from prunemap.compiler.program import ConvStep, IndexType, PhasesStep, Step, Symbol, Tensor, conv_lanes_tile, conv_tile
from prunemap.compiler.select import TileChoice, conv_candidates


def conv_steps(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    """Return the steps of a conv: of a strided one, first the cut into phases."""
    op = node.op
    assert isinstance(op, Conv)
    if op.groups > 1 and op.groups == low.graph.shapes[node.inputs[0]][1]:
        return [depthwise_step(low, node, source, residual)]
    phases = low.layouts.phases.get(node.output)
    if phases is None:
        return [_conv_step(low, node, source, residual)]
    cut = Tensor(phases_name(node.output))
    places = low.blob.add(np.asarray(phases.used, np.int32))
    return [PhasesStep(source, cut, *op.stride, places), _conv_step(low, node, cut, residual)]


def _conv_step(low: Lowering, node: Node, source: Tensor, residual: Tensor | None) -> ConvStep:
    op, positions = node.op, low.positions(node)
    assert isinstance(op, Conv)
    out, kept = low.layout(node.output), low.kept(op.weight)
    layouts = (low.layout(source.name), out)
    best = low.pick(node, conv_candidates(op, kept, layouts, low.target, low.schemes.get(node.name)))
    packed = pack(op.weight.reshape(kept.shape), kept, best.grouping)
    columns = packed.columns.astype(np.int64)
    channels, position = columns // len(positions), columns % len(positions)
    if op.groups > 1:  # columns count from the first channel of the row group's own conv group
        per_group = len(op.weight) // op.groups
        first = packed.rows[:, 0] // per_group * op.weight.shape[1]
        channels = channels + np.repeat(first, np.diff(packed.starts))
    offsets = channels * low.layout(source.name).plane + positions[position]
    packed, offsets = reorder_units(packed, offsets)
    base, steps = _steps(offsets, packed)
    tile = _conv_tiles(low, best.choice, out, steps.dtype)
    low.choose(node, tile["full"].name, op.weight, packed.weights.size)
    return ConvStep(
        in_=source,
        out=Tensor(node.output),
        residual=residual,
        pixels_outer=best.choice.pixels_outer,
        base=base,
        mask=low.mask(out),
        **tile,
        **low.packed_fields(packed, steps, op.bias, op.clamp),
    )


def _conv_tiles(low: Lowering, choice: TileChoice, out: Layout, index: IndexType) -> dict[str, Any]:
    """The fields of a conv step that say which tiles run it."""
    strips, tile = (out.size[0], choice.rows) if choice.in_lanes else (out.vectors, choice.vectors)

    def make(size: int) -> Symbol:
        if choice.in_lanes:
            return low.tile(conv_lanes_tile(choice.filters, size, choice.cols, index))
        return low.tile(conv_tile(choice.filters, size, index))

    return {
        "full": make(tile),
        "tail": make(strips % tile) if strips % tile else None,
        "strips": strips,
        "tile_strips": tile,
        "by_rows": choice.in_lanes,
    }


def _steps(offsets: NDArray[np.int64], packed: RowGroups) -> tuple[int, Index]:
    """Return the lowest offset, and every unit's step from the one before it in its group."""
    base = int(offsets.min(initial=0))
    steps = np.diff(offsets, prepend=base)
    first = packed.starts[:-1][np.diff(packed.starts) > 0]
    steps[first] = offsets[first] - base
    return base, smallest_index(steps)
