"""Steps that read or write at computed places."""

from __future__ import annotations

from math import prod

from prunemap.compiler.graph.ir import Gather, GatherElements, GatherND, Node, ScatterElements, ScatterND, Shape
from prunemap.compiler.lowering.elementwise import copy_step, space_of
from prunemap.compiler.lowering.program import Step, Tensor
from prunemap.compiler.lowering.program_general import GatherStep, Operand, ScatterStep
from prunemap.compiler.lowering.state import Lowering
from prunemap.compiler.lowering.strides import Strides, joined

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def gather(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
    """Return the step of a gather along one axis."""
    op, (x, i) = node.op, (low.graph.shapes[name] for name in node.inputs)
    assert isinstance(op, Gather)
    read, index, none = low.strides(node.inputs[0]), low.strides(node.inputs[1]), (0,) * len(i)
    before, after = (0,) * op.axis, (0,) * (len(x) - op.axis - 1)
    strides = ((*read[: op.axis], *none, *read[op.axis + 1 :]), (*before, *index, *after))
    return [_gather_step(low, node, (source, indices), strides, ((x[op.axis],), (read[op.axis],)), 0)]


def gather_elements(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
    """Return the step of a gather of single elements."""
    op, x = node.op, low.graph.shapes[node.inputs[0]]
    assert isinstance(op, GatherElements)
    read, index = low.strides(node.inputs[0]), low.strides(node.inputs[1])
    strides = ((*read[: op.axis], 0, *read[op.axis + 1 :]), index)
    return [_gather_step(low, node, (source, indices), strides, ((x[op.axis],), (read[op.axis],)), 0)]


def gather_nd(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
    """Return the step of a gather by index tuples."""
    op, (x, i) = node.op, (low.graph.shapes[name] for name in node.inputs)
    assert isinstance(op, GatherND)
    read, index = low.strides(node.inputs[0]), low.strides(node.inputs[1])
    batch, end = op.batch_dims, op.batch_dims + i[-1]
    strides = (
        (*read[:batch], *(0,) * (len(i) - 1 - batch), *read[end:]),
        (*index[:-1], *(0,) * (len(x) - end)),
    )
    return [_gather_step(low, node, (source, indices), strides, (x[batch:end], read[batch:end]), index[-1])]


def _gather_step(
    low: Lowering,
    node: Node,
    tensors: tuple[Tensor, Tensor],
    strides: tuple[Strides, Strides],
    indexed: tuple[Shape, Strides],
    index_stride: int,
) -> Step:
    """Return the step; tensors, strides: of what is read and of the indices; indexed: axes that indices address."""
    sizes, (out, read, index) = joined(low.graph.shapes[node.output], [low.strides(node.output), *strides])
    return GatherStep(
        space=space_of(node, sizes),
        out=Operand(Tensor(node.output), 0, out),
        in_=Operand(tensors[0], 0, read),
        indices=Operand(tensors[1], 0, index),
        count=len(indexed[0]),
        index_stride=index_stride,
        sizes=indexed[0],
        strides=indexed[1],
    )


def scatter(low: Lowering, node: Node, source: Tensor, indices: Tensor, updates: Tensor) -> list[Step]:
    """Copy x, then put the updates in their places."""
    op, (x, i, u) = node.op, (low.graph.shapes[name] for name in node.inputs)
    assert isinstance(op, ScatterND | ScatterElements)
    out, (read, index, update) = low.strides(node.output), (low.strides(name) for name in node.inputs)
    if isinstance(op, ScatterND):
        q = i[-1]
        moved = (*(0,) * (len(i) - 1), *out[q:])
        address, index_stride = (x[:q], out[:q]), index[-1]
        index = (*index[:-1], *(0,) * (len(x) - q))
    else:
        moved, index_stride = (*out[: op.axis], 0, *out[op.axis + 1 :]), 0
        address = ((x[op.axis],), (out[op.axis],))
    steps = [copy_step(low, node, x, (Tensor(node.output), 0, out), (source, 0, read))]
    if not prod(u):
        return steps
    sizes, (to, places, given) = joined(u, [moved, index, update])
    step = ScatterStep(
        space=space_of(node, sizes),
        out=Operand(Tensor(node.output), 0, to),
        in_=Operand(updates, 0, given),
        indices=Operand(indices, 0, places),
        count=len(address[0]),
        index_stride=index_stride,
        sizes=address[0],
        strides=address[1],
        reduction=_REDUCTIONS.index(op.reduction),
        integers=low.graph.kinds[node.output] == "i32",
    )
    return [*steps, step]
