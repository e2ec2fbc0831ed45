"""Graph → LoweredProgram: layouts, formats, tiles, the arena, and one or two steps per node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from prunemap.compiler.graph.general_shapes import GENERAL_OPS
from prunemap.compiler.graph.ir import (
    ANY,
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Node,
    Reshape,
)
from prunemap.compiler.lowering.concat import copied
from prunemap.compiler.lowering.conv import conv_steps
from prunemap.compiler.lowering.general import general_steps
from prunemap.compiler.lowering.image_loops import NodeSteps, cut_loops, names_of, storage
from prunemap.compiler.lowering.layout import assign_layouts
from prunemap.compiler.lowering.linear import linear_steps
from prunemap.compiler.lowering.memory import Life, place
from prunemap.compiler.lowering.program import (
    NONE,
    AveragePoolStep,
    DepthwiseStep,
    FlattenStep,
    GlobalAveragePoolStep,
    ImageLoop,
    LoweredProgram,
    MaxPoolStep,
    Placed,
    PointwiseStep,
    Step,
    Tensor,
    TimedStep,
)
from prunemap.compiler.lowering.select import TileChoice
from prunemap.compiler.lowering.state import Lowering
from prunemap.core.layer import Pads
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target
from prunemap.errors import UserError

OVERREAD_VECTORS = 4
"""Vectors are loaded so far behind the end of a tensor, an array of weights, or a scratch."""
_MOST_PLACES = 2**31 - 1
"""Of a tensor, its padding included: kernels have offsets inside of one in 32 bits."""


def lower(
    graph: Graph,
    target: Target,
    schemes: Mapping[str, SchemeSpec] | None = None,
    detect: bool = True,
    tiles: Mapping[str, TileChoice] | None = None,
    halos: Mapping[str, Pads] | None = None,
) -> LoweredProgram:
    """Lower an optimised graph.

    Args:
        schemes: structure pinned by a plan, by node name.
        detect: find structure in the zeros; False runs every weight as dense.
        tiles: chosen by tuning, by node name.
        halos: zeros around tensors that something outside of the graph needs.
    """
    low = Lowering(graph, target, assign_layouts(graph, target, halos), schemes or {}, detect, tiles or {})
    aliases: dict[str, str] = {}
    lowered: list[NodeSteps] = []
    slots: list[str] = []
    for node in graph.nodes:
        inputs = tuple(aliases.get(name, name) for name in node.inputs)
        if isinstance(node.op, Identity) or _is_same(low, node):
            aliases[node.output] = inputs[0]
            continue
        if _is_view(low, node):
            low.views[node.output] = inputs[0]
            lowered.append(NodeSteps(node, inputs, ()))
            continue
        rule = general_steps if isinstance(node.op, GENERAL_OPS) else _RULES[type(node.op)]
        steps = rule(low, node, *map(Tensor, inputs))
        lowered.append(NodeSteps(node, inputs, tuple(TimedStep(step, len(slots)) for step in steps)))
        slots += [node.name] if steps else []
    outputs = [aliases.get(name, name) for name in graph.outputs]
    rows = {name for name, layout in low.layouts.tensors.items() if layout.is_row}
    loops = cut_loops(graph, lowered, outputs, len(slots), rows)
    slots += [f"input {name}" for name in graph.inputs] + [f"output {name}" for name in graph.outputs]
    tensors, arena = _place_tensors(low, loops)
    return LoweredProgram(
        tensors,
        loops,
        tuple(slots),
        tuple(low.tiles),
        arena,
        _scratch_floats(low, loops),
        low.blob.content() + bytes(4 * OVERREAD_VECTORS * target.lanes),
        tuple(prod(graph.shapes[name]) for name in (*graph.inputs, *graph.outputs)),
        tuple(low.choices),
        low.candidates,
    )


def _is_same(low: Lowering, node: Node) -> bool:
    """A flatten of a densely stored map changes nothing in memory."""
    return isinstance(node.op, Flatten) and low.layout(node.inputs[0]).plane == 1


def _is_view(low: Lowering, node: Node) -> bool:
    """A reshape of what is a run of elements is one too."""
    return isinstance(node.op, Reshape) and low.is_dense(node.inputs[0]) and low.is_dense(node.output)


def _place_tensors(low: Lowering, loops: Sequence[ImageLoop]) -> tuple[tuple[Placed, ...], int]:
    """Return all tensors and the size of the arena."""
    stored = storage(loops, lambda name: low.root(name)[0], low.images)
    # Vectors may be loaded past the last plane (what they hold is not used): into nothing that another thread writes.
    slack = OVERREAD_VECTORS * low.target.lanes
    offsets, size = place(
        Life(name, each.images * low.layout(name).image + slack, each.first, each.last)
        for name, each in stored.items()
        if name not in low.constants
    )
    steps = (timed.step for loop in loops for timed in loop.steps)
    named = dict.fromkeys((*offsets, *(name for step in steps for name in names_of(step))))
    placed = []
    for name in named:
        root, channel = low.root(name)
        layout = low.layout(name)
        count = low.images(name) * layout.image
        if count > _MOST_PLACES:
            raise UserError(
                f"model: {name!r} would need {count} elements with the padding around it, at most {_MOST_PLACES} "
                "are supported"
            )
        if root in low.constants:
            placed.append(Placed(name, layout, low.constants[root] // 4, constant=True))
            continue
        images = layout.image if name in low.views else low.layout(root).image
        image = images if stored[root].images > 1 or name in low.views else 0
        placed.append(Placed(name, layout, offsets[root] + channel * layout.plane, image))
    placed += [Placed(tensor.name, low.layout(tensor.name), 0) for _, tensor in _in_scratch(loops)]
    return tuple(placed), size


def _scratch_floats(low: Lowering, loops: Iterable[ImageLoop]) -> int:
    """Floats of scratch per thread: the largest set of phases of one channel."""
    slack = OVERREAD_VECTORS * low.target.lanes
    sizes = (step.phase_count * low.layout(tensor.name).plane + slack for step, tensor in _in_scratch(loops))
    return max(low.scratch, *sizes, 0)


def _in_scratch(loops: Iterable[ImageLoop]) -> Iterator[tuple[DepthwiseStep, Tensor]]:
    """The steps that need scratch, and for what."""
    for step in (timed.step for loop in loops for timed in loop.steps):
        if isinstance(step, DepthwiseStep) and step.phases is not None:
            yield step, step.phases


def _pool(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, MaxPool | AveragePool)
    window = (*op.kernel, *op.stride, *op.pads)
    left, right, width = op.pads[1], op.pads[3], low.layout(node.inputs[0]).size[1]
    low.ask_scratch(left + width + right + op.kernel[1] + low.layout(node.output).size[1])
    if isinstance(op, MaxPool):
        return [MaxPoolStep(source, Tensor(node.output), *window)]
    return [AveragePoolStep(source, Tensor(node.output), *window, count_pads=op.count_pads)]


def _concat(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    """Copies of what does not lie inside the result already."""
    copies = copied(node, low.layouts.parts)
    return [PointwiseStep(sources[i], None, Tensor(name), NONE, NONE, ANY.low, ANY.high) for i, name in copies]


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
    Conv: conv_steps,
    Linear: linear_steps,
    Affine: _pointwise,
    Clamp: _pointwise,
    Add: _pointwise,
    Concat: _concat,
    MaxPool: _pool,
    AveragePool: _pool,
    GlobalAveragePool: lambda low, node, source: [GlobalAveragePoolStep(source, Tensor(node.output))],
    Flatten: lambda low, node, source: [FlattenStep(source, Tensor(node.output))],
}
