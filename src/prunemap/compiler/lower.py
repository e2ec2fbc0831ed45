"""Graph → LoweredProgram: layouts, formats, tiles, the arena, and one or two steps per node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import RowGroups, pack, reorder_units, smallest_index
from prunemap.compiler.ir import (
    ANY,
    Add,
    Affine,
    Array,
    AveragePool,
    Clamp,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Node,
    Range,
)
from prunemap.compiler.layout import (
    Layout,
    Layouts,
    assign_layouts,
    phases_name,
    position_offsets,
    position_phases,
    reads_stride2,
)
from prunemap.compiler.memory import Life, place
from prunemap.compiler.program import (
    NONE,
    AveragePoolStep,
    Blob,
    ConvStep,
    CopyInStep,
    CopyOutStep,
    DepthwiseStep,
    FlattenStep,
    GlobalAveragePoolStep,
    IndexType,
    LinearStep,
    LoweredProgram,
    MaxPoolStep,
    PhasesStep,
    Placed,
    PointwiseStep,
    Step,
    Symbol,
    Tensor,
    Tile,
    TimedStep,
    conv_lanes_tile,
    conv_tile,
    depthwise_rows,
    depthwise_stride2,
    linear_tile,
)
from prunemap.compiler.select import Candidate, TileChoice, conv_candidates, linear_candidates, rows_fit
from prunemap.compiler.structure import structure_of
from prunemap.core.artifact import KernelChoice
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target

OVERREAD_VECTORS = 4
DEPTHWISE_ANY = Symbol("f32_depthwise_any")
Index = NDArray[np.uint16] | NDArray[np.int32]


@dataclass
class Lowering:
    """What the lowering of a graph has gathered so far."""

    graph: Graph
    target: Target
    layouts: Layouts
    schemes: Mapping[str, SchemeSpec]
    """Pinned by a plan, by node name."""
    detect: bool
    wanted: Mapping[str, TileChoice]
    """Tiles chosen by tuning, by node name; the others are the model's."""
    blob: Blob = field(default_factory=Blob)
    steps: list[TimedStep] = field(default_factory=list)
    tiles: dict[Tile, None] = field(default_factory=dict)
    choices: list[KernelChoice] = field(default_factory=list)
    candidates: dict[str, tuple[TileChoice, ...]] = field(default_factory=dict)

    def layout(self, tensor: str) -> Layout:
        """Layout of a tensor, or of the phases of a conv."""
        return self.layouts.tensors[tensor]

    def tile(self, tile: Tile) -> Symbol:
        """Ask for a tile to be compiled."""
        self.tiles[tile] = None
        return Symbol(tile.symbol)

    def mask(self, out: Layout) -> int:
        """Bits that keep the columns of the rows and clear those between them; NONE where there are none between."""
        if not out.has_halo:
            return NONE
        place = np.arange(out.interior)
        kept = (place % out.pitch < out.size[1]) & (place < out.size[0] * out.pitch)
        return self.blob.add(np.where(kept, -1, 0).astype(np.int32))

    def scheme_of(self, node: Node, weight: Array) -> SchemeSpec:
        """The structure that the layer runs by."""
        if not self.detect:
            return DENSE
        return self.schemes.get(node.name) or structure_of(weight)

    def pick(self, node: Node, candidates: list[Candidate]) -> Candidate:
        """Return the candidate that tuning wants, else the first."""
        self.candidates[node.name] = tuple(each.choice for each in candidates)
        wanted = self.wanted.get(node.name)
        return next((each for each in candidates if each.choice == wanted), candidates[0])

    def kept(self, weight: Array) -> NDArray[np.bool_]:
        """Which weights are stored, (O, columns)."""
        matrix = weight.reshape(len(weight), -1)
        return matrix != 0 if self.detect else np.ones(matrix.shape, bool)

    def choose(self, node: Node, kernel: str, weight: Array, stored: int, reason: str = "") -> None:
        """Note what runs a node."""
        scheme, density = str(self.scheme_of(node, weight)), float(np.count_nonzero(weight) / weight.size)
        self.choices.append(KernelChoice(node.name, kernel, scheme, density, stored, reason))


def lower(
    graph: Graph,
    target: Target,
    schemes: Mapping[str, SchemeSpec] | None = None,
    detect: bool = True,
    tiles: Mapping[str, TileChoice] | None = None,
) -> LoweredProgram:
    """Lower an optimised graph.

    Args:
        schemes: structure pinned by a plan, by node name.
        detect: find structure in the zeros; False runs every weight as dense.
        tiles: chosen by tuning, by node name.
    """
    low = Lowering(graph, target, assign_layouts(graph, target), schemes or {}, detect, tiles or {})
    slots = [node.name for node in graph.nodes if not isinstance(node.op, Identity) and not _is_view(low, node)]
    aliases: dict[str, str] = {}
    count = len(slots)
    for index, name in enumerate(graph.inputs):
        low.steps.append(TimedStep(CopyInStep(Tensor(name), index), count + index))
    slot = 0
    for node in graph.nodes:
        inputs = tuple(aliases.get(name, name) for name in node.inputs)
        if isinstance(node.op, Identity) or _is_view(low, node):
            aliases[node.output] = inputs[0]
            continue
        for step in _RULES[type(node.op)](low, node, *map(Tensor, inputs)):
            low.steps.append(TimedStep(step, slot))
        slot += 1
    count += len(graph.inputs)
    for index, name in enumerate(graph.outputs):
        low.steps.append(TimedStep(CopyOutStep(Tensor(aliases.get(name, name)), index), count + index))
    slots += [f"input {name}" for name in graph.inputs] + [f"output {name}" for name in graph.outputs]
    tensors, arena = _place_tensors(low)
    return LoweredProgram(
        tensors,
        tuple(low.steps),
        tuple(slots),
        tuple(low.tiles),
        arena,
        _scratch_floats(low),
        low.blob.content(),
        tuple(low.choices),
        low.candidates,
    )


def _is_view(low: Lowering, node: Node) -> bool:
    """A flatten of a densely stored map changes nothing in memory."""
    return isinstance(node.op, Flatten) and low.layout(node.inputs[0]).plane == 1


def tensors_of(step: Step) -> list[Tensor]:
    """Return the tensors that a step names."""
    values = (getattr(step, each.name) for each in fields(step))
    return [value for value in values if isinstance(value, Tensor)]


def _place_tensors(low: Lowering) -> tuple[tuple[Placed, ...], int]:
    """Return all tensors and the size of the arena."""
    lives: dict[str, tuple[int, int]] = {}
    scratch: dict[str, None] = {}
    for index, timed in enumerate(low.steps):
        for tensor in tensors_of(timed.step):
            if tensor.in_scratch:
                scratch[tensor.name] = None
            else:
                lives[tensor.name] = (lives.get(tensor.name, (index, index))[0], index)
    # Vectors may be loaded past the last plane (what they hold is not used): into nothing that another thread writes.
    slack = OVERREAD_VECTORS * low.target.lanes
    offsets, size = place(Life(name, low.layout(name).total + slack, *life) for name, life in lives.items())
    placed = [Placed(name, low.layout(name), at) for name, at in offsets.items()]
    placed += [Placed(name, low.layout(name), 0) for name in scratch]
    return tuple(placed), size


def _scratch_floats(low: Lowering) -> int:
    """Floats of scratch per thread: the largest set of phases of one channel."""
    needed = [0]
    for timed in low.steps:
        for tensor in tensors_of(timed.step):
            if tensor.in_scratch and isinstance(timed.step, DepthwiseStep):
                layout = low.layout(tensor.name)
                needed.append(timed.step.phase_count * layout.plane + OVERREAD_VECTORS * low.target.lanes)
    return max(needed)


def _conv(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
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


def _linear(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    op = node.op
    assert isinstance(op, Linear)
    kept = low.kept(op.weight)
    packed = pack(op.weight, kept, low.pick(node, linear_candidates(kept)).grouping)
    indices = smallest_index(packed.columns.astype(np.int64) * low.layout(source.name).plane)
    kernel = low.tile(linear_tile(packed.height, indices.dtype))
    low.choose(node, kernel.name, op.weight, packed.weights.size)
    stored = _packed_fields(low, packed, indices, op.bias, op.clamp)
    return [LinearStep(in_=source, out=Tensor(node.output), residual=residual, kernel=kernel, **stored)]


def _pool(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, MaxPool | AveragePool)
    window = (*op.kernel, *op.stride, *op.pads)
    if isinstance(op, MaxPool):
        return [MaxPoolStep(source, Tensor(node.output), *window)]
    return [AveragePoolStep(source, Tensor(node.output), *window, count_pads=op.count_pads)]


def _pointwise(low: Lowering, node: Node, source: Tensor, other: Tensor | None = None) -> list[Step]:
    op, clamp, scale, shift = node.op, ANY, NONE, NONE
    if isinstance(op, Affine):
        scale, shift = low.blob.add(op.scale.astype(np.float32)), low.blob.add(op.shift.astype(np.float32))
    elif isinstance(op, Clamp):
        clamp = op.range
    elif isinstance(op, Add):
        clamp = op.clamp
    return [PointwiseStep(source, other, Tensor(node.output), scale, shift, clamp.low, clamp.high)]


_RULES: dict[type[Any], Callable[..., list[Step]]] = {
    Conv: _conv,
    Linear: _linear,
    Affine: _pointwise,
    Clamp: _pointwise,
    Add: _pointwise,
    MaxPool: _pool,
    AveragePool: _pool,
    GlobalAveragePool: lambda low, node, source: [GlobalAveragePoolStep(source, Tensor(node.output))],
    Flatten: lambda low, node, source: [FlattenStep(source, Tensor(node.output))],
}
