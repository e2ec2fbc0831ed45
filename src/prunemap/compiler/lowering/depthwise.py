"""The step of a depthwise conv."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import starts_of
from prunemap.compiler.graph.ir import Conv, Node
from prunemap.compiler.lowering.layout import has_depthwise_tile, phases_name, position_phases
from prunemap.compiler.lowering.program import NONE, DepthwiseStep, Symbol, Tensor, depthwise_name, depthwise_tile
from prunemap.compiler.lowering.select import depthwise_size, listed_taps
from prunemap.compiler.lowering.state import Lowering

_ANY = Symbol("f32_depthwise_any")


def depthwise_step(low: Lowering, node: Node, source: Tensor, residual: Tensor | None) -> DepthwiseStep:
    """Return the step of a depthwise conv."""
    op, out = node.op, low.layout(node.output)
    assert isinstance(op, Conv)
    phases = low.layouts.phases.get(node.output)
    return DepthwiseStep(
        in_=source,
        out=Tensor(node.output),
        residual=residual,
        phases=Tensor(phases_name(node.output), in_scratch=True) if phases else None,
        multiplier=len(op.weight) // op.groups,
        stride_y=op.stride[0],
        stride_x=op.stride[1],
        phase_count=len(phases.used) if phases else 0,
        phase_places=low.blob.add(np.asarray(phases.used, np.int32)) if phases else NONE,
        **(_tile_fields(low, node, op) if has_depthwise_tile(op) else _any_fields(low, node, op)),
        bias=low.blob.add(op.bias.astype(np.float32)),
        mask=low.mask(out),
        low=op.clamp.low,
        high=op.clamp.high,
    )


def _tile_fields(low: Lowering, node: Node, op: Conv) -> dict[str, Any]:
    """Fill the fields of a tile, which reads columns in pairs where it is strided: of all taps, or of those kept."""
    source, out = low.layout(node.inputs[0]), low.layout(node.output)
    pair = op.stride[1]
    weight = np.pad(op.weight, ((0, 0), (0, 0), (0, 0), (0, -op.weight.shape[3] % pair)))
    pairs = weight.reshape(len(weight), -1, pair)
    is_stored = listed_taps(np.any(low.kept(node, weight).reshape(pairs.shape), axis=2))
    listed, size = not is_stored.all(), depthwise_size(out, low.target)
    stored = min(int(is_stored.sum()) * pair, op.weight.size)
    low.choose(node, depthwise_name(op, size, listed=listed), op.weight, stored)
    rows, columns = np.divmod(np.arange(is_stored.shape[1]), weight.shape[3] // pair)
    first, steps = low.positions(node)[:1], rows * source.pitch + pair * columns
    starts, taps = _list_taps(is_stored)
    return {
        "kernel": low.tile(depthwise_tile(op, source, out, size, listed=listed)),
        "starts": low.blob.add(starts) if listed else NONE,
        "offsets": low.blob.add(np.append(first, steps[taps] if listed else ()).astype(np.int32)),
        "weights": low.blob.add(pairs[is_stored].astype(np.float32)),
    }


def _any_fields(low: Lowering, node: Node, op: Conv) -> dict[str, Any]:
    """Fill the fields of the kernel that takes any window."""
    positions, phases = low.positions(node), low.layouts.phases.get(node.output)
    if phases is not None:  # of one channel: (phase) planes
        layout = low.layout(phases_name(node.output))
        first = np.asarray([phases.used.index(p) for p in position_phases(op)], np.int64)
        positions = positions - first * (layout.channels // len(phases.used) - 1) * layout.plane
    is_kept = low.kept(node, op.weight)
    low.choose(node, _ANY.name, op.weight, int(is_kept.sum()))
    starts, taps = _list_taps(is_kept)
    return {
        "kernel": _ANY,
        "starts": low.blob.add(starts),
        "offsets": low.blob.add(positions[taps].astype(np.int32)),
        "weights": low.blob.add(op.weight.reshape(is_kept.shape)[is_kept].astype(np.float32)),
    }


def _list_taps(is_stored: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return where the list of each channel starts, (channels + 1,), and the taps of all lists.

    Args:
        is_stored: (channels, taps).
    """
    return starts_of(is_stored.sum(axis=1)), np.nonzero(is_stored)[1]
