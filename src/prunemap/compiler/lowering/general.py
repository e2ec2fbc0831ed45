"""The steps of the general ops: operands as strides, one step per node, zeros put back around maps that have a halo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from prunemap.compiler.graph.ir import (
    AnyArray,
    Constant,
    Elementwise,
    Gather,
    GatherElements,
    GatherND,
    Interpolate,
    Join,
    MatMul,
    Node,
    Recurrent,
    Remap,
    Reshape,
    RowOp,
    ScatterElements,
    ScatterND,
    Shape,
    WindowPool,
)
from prunemap.compiler.lowering.elementwise import copy_step, elementwise_steps, space_of
from prunemap.compiler.lowering.indexed import gather, gather_elements, gather_nd, scatter
from prunemap.compiler.lowering.program import Step, Symbol, Tensor
from prunemap.compiler.lowering.program_general import (
    InterpolateStep,
    MatMulStep,
    Operand,
    RemapStep,
    RowsStep,
    WindowPoolStep,
    ZeroHaloStep,
)
from prunemap.compiler.lowering.recurrent import recurrent_steps
from prunemap.compiler.lowering.state import Lowering
from prunemap.compiler.lowering.strides import (
    Strides,
    broadcast_strides,
    dense_strides,
    joined,
)
from prunemap.errors import InternalError

_OUTSIDE = np.iinfo(np.int32).min
_POOLS = ("max", "max_index", "average", "lp")


def general_steps(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    """Return the steps of a node with a general op; sources: its inputs by the names that they have in memory."""
    if isinstance(node.op, Constant):
        low.constants[node.output] = low.blob.add(_in_four_bytes(node.op.value))
        return []
    steps = _RULES[type(node.op)](low, node, *sources)
    if steps and low.layout(node.output).has_halo:
        steps.append(ZeroHaloStep(Tensor(node.output), low.graph.shapes[node.output][0]))
    return steps


def _in_four_bytes(value: AnyArray) -> AnyArray:
    return value.astype(np.int32) if value.dtype == np.bool_ else value


def _remap(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, Remap)
    sizes, strides, out = low.graph.shapes[node.output], low.strides(node.inputs[0]), low.strides(node.output)
    read = [strides[axis] for axis in op.axes]
    walks = [_walk(table) for table in op.tables]
    if all(walk is not None for walk in walks):
        offset = sum(walk[0] * stride for walk, stride in zip(walks, read, strict=True) if walk)
        moved = tuple(walk[1] * stride for walk, stride in zip(walks, read, strict=True) if walk)
        return [copy_step(low, node, sizes, (Tensor(node.output), 0, out), (source, offset, moved))]
    tables = [np.where(t < 0, _OUTSIDE, t * stride).astype(np.int32) for t, stride in zip(op.tables, read, strict=True)]
    begin, end = _run(op.tables[-1]) if read[-1] == 1 else (0, 0)
    fill = np.asarray(op.fill, np.float32 if low.graph.kinds[node.output] == "f32" else np.int32)
    return [
        RemapStep(
            space=space_of(node, sizes),
            out=Operand(Tensor(node.output), 0, out),
            in_=Operand(source, 0, (0,)),
            tables=tuple(low.blob.add(table) for table in tables),
            fill=int(fill.view(np.int32)),
            run_begin=begin,
            run_end=end,
        )
    ]


def _walk(table: AnyArray) -> tuple[int, int] | None:
    """Return (start, step) of a table that reads places equally far apart, None for another one."""
    if len(table) == 1 or not len(table):
        return (int(table[0]), 0) if len(table) and table[0] >= 0 else None
    steps = np.diff(table)
    return (int(table[0]), int(steps[0])) if (table >= 0).all() and (steps == steps[0]).all() else None


def _run(table: AnyArray) -> tuple[int, int]:
    """Return the begin and end of the places that read neighbours if all others are filled, else (0, 0)."""
    inside = np.flatnonzero(table >= 0)
    if not len(inside) or (np.diff(inside) != 1).any() or (np.diff(table[inside]) != 1).any():
        return 0, 0
    return int(inside[0]), int(inside[-1]) + 1


def _reshape(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    """Copy where memory is not row-major on both sides; a view is not lowered at all."""
    before, after = node.inputs[0], node.output
    if not low.is_dense(before) and not low.is_dense(after):
        raise InternalError(f"node {node.name!r} reshapes a map to a map, which goes through a row")
    shape = low.graph.shapes[before if low.is_dense(after) else after]
    sides = [dense_strides(shape) if low.is_dense(name) else low.strides(name) for name in (after, before)]
    return [copy_step(low, node, shape, (Tensor(after), 0, sides[0]), (source, 0, sides[1]))]


def _join(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, Join)
    out, steps, at = low.strides(node.output), list[Step](), 0
    for tensor, name in zip(sources, node.inputs, strict=True):
        shape = low.graph.shapes[name]
        target = (Tensor(node.output), at * out[op.axis], out)
        if prod(shape):
            steps.append(copy_step(low, node, shape, target, (tensor, 0, low.strides(name))))
        at += shape[op.axis]
    return steps


def _rows(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, RowOp)
    shapes = low.graph.shapes[node.inputs[0]], low.graph.shapes[node.output]
    read, written = low.strides(node.inputs[0]), low.strides(node.output)
    others = [axis for axis in range(len(shapes[0])) if axis not in op.axes]
    sizes, (outer_out, outer_in) = joined(
        tuple(shapes[0][axis] for axis in others), [tuple(s[axis] for axis in others) for s in (written, read)]
    )
    in_sizes, (in_strides,) = joined(*_along(op.axes, shapes[0], read))
    out_sizes, (out_strides,) = joined(*_along(op.axes, shapes[1], written))
    n, m = prod(in_sizes), prod(out_sizes)
    low.ask_scratch(n + m)
    return [
        RowsStep(
            space=space_of(node, sizes),
            out=Operand(Tensor(node.output), 0, outer_out),
            in_=Operand(source, 0, outer_in),
            in_row=space_of(node, in_sizes),
            out_row=space_of(node, out_sizes),
            in_strides=in_strides,
            out_strides=out_strides,
            function=Symbol(f"row_{op.function}"),
            n=n,
            m=m,
            in_dense=in_strides == (1,),
            out_dense=out_strides == (1,),
            parameters=(*map(float, op.parameters), 0.0, 0.0)[:2],
        )
    ]


def _along(axes: tuple[int, ...], shape: Shape, strides: Strides) -> tuple[Shape, list[Strides]]:
    return tuple(shape[axis] for axis in axes), [tuple(strides[axis] for axis in axes)]


def _note_constant_factor(low: Lowering, node: Node) -> None:
    """A factor that is constant, but no weight of a linear layer, runs dense: say so."""
    for name, what in zip(node.inputs, ("first", "second"), strict=True):
        made_by = low.graph.producers.get(name)
        if made_by is not None and isinstance(made_by.op, Constant):
            value = made_by.op.value
            weight = value if what == "first" else value.swapaxes(-1, -2)
            reason = f"a constant {what} factor of {value.ndim} axes is no weight of a linear layer: it runs dense"
            low.choose(node, "f32_matmul", weight, value.size, reason)


def _matmul(low: Lowering, node: Node, left: Tensor, right: Tensor) -> list[Step]:
    _note_constant_factor(low, node)
    shape = low.graph.shapes[node.output]
    batch, (m, n), k = shape[:-2], shape[-2:], low.graph.shapes[node.inputs[0]][-1]
    strides = [low.strides(name) for name in (node.output, *node.inputs)]
    shapes = [low.graph.shapes[name] for name in (node.output, *node.inputs)]
    outer = [broadcast_strides(s[:-2], of[:-2], batch) for s, of in zip(strides, shapes, strict=True)]
    sizes, outer = joined(batch, outer)
    operands = [
        Operand(tensor, 0, each) for tensor, each in zip((Tensor(node.output), left, right), outer, strict=True)
    ]
    return [
        MatMulStep(
            batch=space_of(node, sizes),
            out=operands[0],
            left=operands[1],
            right=operands[2],
            m=m,
            k=k,
            n=n,
            out_row=strides[0][-2],
            left_row=strides[1][-2],
            left_step=strides[1][-1],
            right_row=strides[2][-2],
        )
    ]


def _window_pool(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op, (x, y) = node.op, (low.graph.shapes[name] for name in (node.inputs[0], node.output))
    assert isinstance(op, WindowPool)
    count = len(op.kernel)
    counted = op.count_pads or (0,) * (2 * count)

    def three(values: Sequence[int], missing: int) -> tuple[int, ...]:
        return (*values, *(missing,) * (3 - count))

    return [
        WindowPoolStep(
            space=space_of(node, (*y[:2], *three(y[2:], 1))),
            out=Operand(Tensor(node.output), 0, (*low.strides(node.output), *(0,) * (3 - count))),
            in_=Operand(source, 0, (*low.strides(node.inputs[0]), *(0,) * (3 - count))),
            kind=_POOLS.index(op.kind),
            p=op.p,
            column_major=op.column_major,
            size=three(x[2:], 1),
            kernel=three(op.kernel, 1),
            stride=three(op.stride, 1),
            begin=three(counted[:count], 0),
            end=three(counted[count:], 0),
            dilation=three(op.dilation, 1),
            pad=three(op.pads[:count], 0),
        )
    ]


def _interpolate(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, Interpolate)
    read, sizes = low.strides(node.inputs[0]), low.graph.shapes[node.output]
    return [
        InterpolateStep(
            space=space_of(node, sizes),
            out=Operand(Tensor(node.output), 0, low.strides(node.output)),
            in_=Operand(source, 0, (*read[: op.axis], 0, *read[op.axis + 1 :])),
            axis=op.axis,
            taps=len(op.places),
            places=low.blob.add((op.places * read[op.axis]).astype(np.int32)),
            weights=low.blob.add(op.weights.astype(np.float32)),
        )
    ]


_RULES: dict[type[Any], Callable[..., list[Step]]] = {
    Elementwise: elementwise_steps,
    Remap: _remap,
    Reshape: _reshape,
    Join: _join,
    RowOp: _rows,
    MatMul: _matmul,
    Gather: gather,
    GatherElements: gather_elements,
    GatherND: gather_nd,
    ScatterND: scatter,
    ScatterElements: scatter,
    WindowPool: _window_pool,
    Interpolate: _interpolate,
    Recurrent: recurrent_steps,
}
