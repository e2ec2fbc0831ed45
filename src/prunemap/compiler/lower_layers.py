"""The steps of the nodes that carry weights: conv, depthwise, linear."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import RowGroups, pack, reorder_units, smallest_index
from prunemap.compiler.ir import (
    Array,
    Conv,
    Linear,
    Node,
    Range,
)
from prunemap.compiler.layout import (
    Layout,
    phases_name,
    position_offsets,
    position_phases,
    reads_stride2,
)
from prunemap.compiler.lowering import Lowering
from prunemap.compiler.program import (
    NONE,
    ConvStep,
    DepthwiseStep,
    IndexType,
    LinearStep,
    PhasesStep,
    Step,
    Symbol,
    Tensor,
    conv_lanes_tile,
    conv_tile,
    depthwise_rows,
    depthwise_stride2,
    linear_tile,
)
from prunemap.compiler.select import TileChoice, conv_candidates, linear_candidates, rows_fit

DEPTHWISE_ANY = Symbol("f32_depthwise_any")
Index = NDArray[np.uint16] | NDArray[np.int32]


def conv_steps(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    """Return the steps of a conv: of a strided one, first the cut into phases."""
    op = node.op
    assert isinstance(op, Conv)
    if op.groups > 1 and op.groups == low.graph.shapes[node.inputs[0]][1]:
        return [_depthwise_step(low, node, source, residual)]
    phases = low.layouts.phases.get(node.output)
    if phases is None:
        return [_conv_step(low, node, source, residual)]
    cut = Tensor(phases_name(node.output))
    places = low.blob.add(np.asarray(phases.used, np.int32))
    return [PhasesStep(source, cut, *op.stride, places), _conv_step(low, node, cut, residual)]


def _positions(low: Lowering, node: Node) -> NDArray[np.int64]:
    """The offset of every kernel position, in the input or in its phases."""
    op = node.op
    assert isinstance(op, Conv)
    phases = low.layouts.phases.get(node.output)
    layout = low.layout(node.inputs[0] if phases is None else phases_name(node.output))
    return np.asarray(position_offsets(op, layout, phases), np.int64)


def _conv_step(low: Lowering, node: Node, source: Tensor, residual: Tensor | None) -> ConvStep:
    op, positions = node.op, _positions(low, node)
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
        **_packed_fields(low, packed, steps, op.bias, op.clamp),
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


def _packed_fields(low: Lowering, packed: RowGroups, indices: Index, bias: Array, clamp: Range) -> dict[str, Any]:
    """The fields that conv and linear steps share."""
    return {
        "groups": len(packed.rows),
        "rows": low.blob.add(packed.rows),
        "starts": low.blob.add(packed.starts),
        "indices": low.blob.add(indices),
        "weights": low.blob.add(packed.weights),
        "bias": low.blob.add(np.where(packed.rows >= 0, bias[packed.rows], 0).astype(np.float32)),
        "low": clamp.low,
        "high": clamp.high,
    }


def _depthwise_step(low: Lowering, node: Node, source: Tensor, residual: Tensor | None) -> DepthwiseStep:
    op, positions, out = node.op, _positions(low, node), low.layout(node.output)
    assert isinstance(op, Conv)
    phases = low.layouts.phases.get(node.output)
    kernel = DEPTHWISE_ANY
    if reads_stride2(op):
        kernel = low.tile(depthwise_stride2(op.weight.shape[2]))
    elif rows_fit(op, out):
        kernel = low.tile(depthwise_rows(op.weight.shape[2]))
    elif phases is not None:  # of one channel: (phase) planes
        layout = low.layout(phases_name(node.output))
        first = np.asarray([phases.used.index(p) for p in position_phases(op)], np.int64)
        positions = positions - first * (layout.channels // len(phases.used) - 1) * layout.plane
    low.choose(node, kernel.name, op.weight, op.weight.size, "depthwise runs dense")
    return DepthwiseStep(
        in_=source,
        out=Tensor(node.output),
        residual=residual,
        phases=Tensor(phases_name(node.output), in_scratch=True) if phases else None,
        kernel=kernel,
        by_rows=kernel != DEPTHWISE_ANY,
        taps=len(positions),
        multiplier=len(op.weight) // op.groups,
        stride_y=op.stride[0],
        stride_x=op.stride[1],
        phase_count=len(phases.used) if phases else 0,
        phase_places=low.blob.add(np.asarray(phases.used, np.int32)) if phases else NONE,
        offsets=low.blob.add(positions.astype(np.int32)),
        weights=low.blob.add(op.weight.astype(np.float32)),
        bias=low.blob.add(op.bias.astype(np.float32)),
        mask=low.mask(out),
        low=op.clamp.low,
        high=op.clamp.high,
    )


def linear_steps(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    """Return the step of a linear layer."""
    op = node.op
    assert isinstance(op, Linear)
    kept = low.kept(op.weight)
    packed = pack(op.weight, kept, low.pick(node, linear_candidates(kept)).grouping)
    indices = smallest_index(packed.columns.astype(np.int64) * low.layout(source.name).plane)
    kernel = low.tile(linear_tile(packed.height, indices.dtype))
    low.choose(node, kernel.name, op.weight, packed.weights.size)
    stored = _packed_fields(low, packed, indices, op.bias, op.clamp)
    return [LinearStep(in_=source, out=Tensor(node.output), residual=residual, kernel=kernel, **stored)]
