"""The step of a depthwise conv."""

from __future__ import annotations

import numpy as np

from prunemap.compiler.ir import Conv, Node
from prunemap.compiler.layout import has_depthwise_tile, phases_name, position_phases
from prunemap.compiler.lowering import Lowering
from prunemap.compiler.program import NONE, DepthwiseStep, Symbol, Tensor, depthwise_name, depthwise_tile
from prunemap.compiler.select import depthwise_size

DEPTHWISE_ANY = Symbol("f32_depthwise_any")


def depthwise_step(low: Lowering, node: Node, source: Tensor, residual: Tensor | None) -> DepthwiseStep:
    """Return the step of a depthwise conv."""
    op, positions, out = node.op, low.positions(node), low.layout(node.output)
    assert isinstance(op, Conv)
    phases = low.layouts.phases.get(node.output)
    kernel, name, weight = DEPTHWISE_ANY, DEPTHWISE_ANY.name, op.weight
    if has_depthwise_tile(op):
        size = depthwise_size(out)
        kernel, name = low.tile(depthwise_tile(op, low.layout(source.name), out, size)), depthwise_name(op, size)
        weight = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, -weight.shape[3] % op.stride[1])))  # columns in pairs
    elif phases is not None:  # of one channel: (phase) planes
        layout = low.layout(phases_name(node.output))
        first = np.asarray([phases.used.index(p) for p in position_phases(op)], np.int64)
        positions = positions - first * (layout.channels // len(phases.used) - 1) * layout.plane
    low.choose(node, name, op.weight, weight.size, "depthwise runs dense")
    return DepthwiseStep(
        in_=source,
        out=Tensor(node.output),
        residual=residual,
        phases=Tensor(phases_name(node.output), in_scratch=True) if phases else None,
        kernel=kernel,
        taps=len(positions),
        multiplier=len(op.weight) // op.groups,
        stride_y=op.stride[0],
        stride_x=op.stride[1],
        phase_count=len(phases.used) if phases else 0,
        phase_places=low.blob.add(np.asarray(phases.used, np.int32)) if phases else NONE,
        offsets=low.blob.add(positions.astype(np.int32)),
        weights=low.blob.add(weight.astype(np.float32)),
        bias=low.blob.add(op.bias.astype(np.float32)),
        mask=low.mask(out),
        low=op.clamp.low,
        high=op.clamp.high,
    )
