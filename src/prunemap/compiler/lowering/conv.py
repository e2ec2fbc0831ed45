"""The steps of a conv: the cut into phases of a strided one, row groups, tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import Grouping, SmallIndex, pack, pack_runs, reorder_units, smallest_index
from prunemap.compiler.graph.ir import Conv, Node
from prunemap.compiler.lowering.depthwise import depthwise_step
from prunemap.compiler.lowering.layout import Layout, phases_name
from prunemap.compiler.lowering.program import (
    ConvStep,
    PhasesStep,
    Step,
    StepType,
    Symbol,
    Tensor,
    conv_lanes_tile,
    conv_tile,
)
from prunemap.compiler.lowering.select import TileChoice, conv_candidates
from prunemap.compiler.lowering.state import Lowering


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
    op = node.op
    assert isinstance(op, Conv)
    out, must = low.layout(node.output), low.kept(node, op.weight)
    layouts, scheme = (low.layout(source.name), out), low.schemes.get(node.name)
    choice, grouping, kept = low.pick(
        node, must, lambda: conv_candidates(op, must, layouts, low.target, scheme), op.groups
    )
    offsets = _offsets(low, node, source, grouping)
    base = int(offsets.min(initial=0))
    pack_fields = _masked_fields if choice.masked else _group_fields
    fields, steps = pack_fields(low, op, kept, grouping, offsets - base, low.layout(source.name).plane)
    tile = _conv_tiles(low, choice, out, steps)
    reason = "its zeros do not pay: dense is faster" if choice.dense else ""
    low.choose(node, tile["full"].name, op.weight, fields.pop("stored"), reason)
    return ConvStep(
        in_=source,
        out=Tensor(node.output),
        residual=residual,
        filters=choice.filters,
        pixels_outer=choice.pixels_outer,
        base=base,
        mask=low.mask(out),
        **tile,
        **fields,
    )


def _offsets(low: Lowering, node: Node, source: Tensor, grouping: Grouping) -> NDArray[np.int64]:
    """The offset of every column of every row group, (G, columns)."""
    op, positions, plane = node.op, low.positions(node), low.layout(source.name).plane
    assert isinstance(op, Conv)
    channels = op.weight.shape[1]
    own = (np.arange(channels)[:, None] * plane + positions).ravel()
    # Columns count from the first channel of the row group's own conv group.
    first = np.array([rows[0] for rows in grouping.groups], np.int64) // (len(op.weight) // op.groups) * channels
    offsets: NDArray[np.int64] = first[:, None] * plane + own
    return offsets


def _group_fields(
    low: Lowering, op: Conv, kept: NDArray[np.bool_], grouping: Grouping, offsets: NDArray[np.int64], plane: int
) -> tuple[dict[str, Any], StepType]:
    packed = pack(op.weight.reshape(kept.shape), kept, grouping)
    group = np.repeat(np.arange(len(packed.rows)), np.diff(packed.starts))
    packed, keys = reorder_units(packed, offsets[group, packed.columns])
    steps, step_type = _steps(keys, packed.starts, plane)
    return {**low.packed_fields(packed, steps, op.bias, op.clamp), "stored": packed.weights.size}, step_type


def _masked_fields(
    low: Lowering, op: Conv, kept: NDArray[np.bool_], grouping: Grouping, offsets: NDArray[np.int64], plane: int
) -> tuple[dict[str, Any], StepType]:
    packed = pack_runs(op.weight.reshape(kept.shape), kept, grouping, offsets)
    group = np.repeat(np.arange(len(packed.rows)), np.diff(packed.starts))
    runs = np.concatenate(([0], np.cumsum(packed.counts.ravel(), dtype=np.int64)))
    steps, step_type = _steps(offsets[group, packed.columns], runs, plane)
    fields = low.packed_fields(packed, steps, op.bias, op.clamp)
    fields |= {"counts": low.blob.add(packed.counts), "weight_starts": low.blob.add(packed.weight_starts)}
    return {**fields, "stored": packed.weights.size}, step_type


def _conv_tiles(low: Lowering, choice: TileChoice, out: Layout, steps: StepType) -> dict[str, Any]:
    """The fields of a conv step that say which tiles run it."""
    strips, tile = (out.size[0], choice.rows) if choice.in_lanes else (out.vectors, choice.vectors)

    def make(size: int) -> Symbol:
        if choice.in_lanes:
            return low.tile(conv_lanes_tile(choice.filters, size, choice.cols, steps))
        return low.tile(conv_tile(choice.filters, size, steps, choice.masked))

    return {
        "full": make(tile),
        "tail": make(strips % tile) if strips % tile else None,
        "strips": strips,
        "tile_strips": tile,
        "by_rows": choice.in_lanes,
    }


def _steps(
    offsets: NDArray[np.int64], starts: NDArray[np.int64] | NDArray[np.int32], plane: int
) -> tuple[SmallIndex, StepType]:
    """Return every unit's step from the one before it in its list, from 0 for the first; ``starts``: of the lists."""
    steps = np.diff(offsets, prepend=0)
    first = starts[:-1][np.diff(starts) > 0]
    steps[first] = offsets[first]
    in_channels = not (steps % plane).any()  # of a 1x1 conv
    stored = smallest_index(steps // plane if in_channels else steps)
    return stored, StepType(stored.dtype, in_channels)
