"""The steps of the general ops: operands as strides, one step per node, zeros put back around maps that have a halo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from prunemap.compiler.expression import code_of
from prunemap.compiler.ir import (
    AnyArray,
    Constant,
    Elementwise,
    Expression,
    Gather,
    GatherElements,
    GatherND,
    Interpolate,
    Join,
    Kind,
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
from prunemap.compiler.lower_recurrent import recurrent_steps
from prunemap.compiler.lowering import Lowering
from prunemap.compiler.program import Step, Symbol, Tensor, Tile
from prunemap.compiler.program_general import (
    AXES,
    ElementwiseStep,
    GatherStep,
    InterpolateStep,
    MatMulStep,
    Operand,
    RemapStep,
    RowsStep,
    ScatterStep,
    Space,
    WindowPoolStep,
    ZeroHaloStep,
)
from prunemap.compiler.strides import Strides, broadcast_strides, dense_strides, joined
from prunemap.errors import UnsupportedError

_OUTSIDE = np.iinfo(np.int32).min
_REDUCTIONS = ("none", "add", "mul", "max", "min")
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


def _space(node: Node, sizes: Shape) -> Space:
    if len(sizes) > AXES:
        raise UnsupportedError(f"model: node {node.name!r} walks over {len(sizes)} axes, at most {AXES} are supported")
    return Space.of(sizes)


def _copy(
    low: Lowering, node: Node, sizes: Shape, out: tuple[Tensor, int, Strides], source: tuple[Tensor, int, Strides]
) -> Step:
    """Return the step that copies elements; out and source: tensor, offset and strides over the axes of ``sizes``."""
    return _elementwise_step(low, node, 0, ["f32"], sizes, [out, source])


def _elementwise_step(
    low: Lowering,
    node: Node,
    expression: Expression,
    kinds: Sequence[Kind],
    sizes: Shape,
    operands: Sequence[tuple[Tensor, int, Strides]],
) -> Step:
    """Return the step for operands (the result first) with strides over the axes of ``sizes``."""
    sizes, strides = joined(sizes, [each[2] for each in operands])
    names = [f"x[{k}]" if kind == "f32" else f"((vint)x[{k}])" for k, kind in enumerate(kinds)]
    out_inner, *inner = (min(abs(each[-1]), 2) if each[-1] >= 0 else 2 for each in strides)
    defines = (
        ("COUNT", len(kinds)),
        ("INNER", "{" + ", ".join(map(str, inner or [0])) + "}"),
        ("OUT_INNER", 1 if out_inner == 1 or sizes[-1] == 1 else 2),
        ("EXPRESSION", code_of(expression, names, kinds)),
    )
    symbol = f"elementwise_{hashlib.sha256(repr(defines).encode()).hexdigest()[:12]}"
    kernel = low.tile(Tile(symbol, "elementwise_tile.h", defines))
    out, *inputs = (Operand(tensor, offset, each) for (tensor, offset, _), each in zip(operands, strides, strict=True))
    return ElementwiseStep(space=_space(node, sizes), out=out, kernel=kernel, in_=tuple(inputs))


def _elementwise(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    assert isinstance(node.op, Elementwise)
    shape, kinds = low.graph.shapes[node.output], [low.graph.kinds[name] for name in node.inputs]
    operands = [(Tensor(node.output), 0, low.strides(node.output))]
    for tensor, name in zip(sources, node.inputs, strict=True):
        operands.append((tensor, 0, broadcast_strides(low.strides(name), low.graph.shapes[name], shape)))
    return [_elementwise_step(low, node, node.op.expression, kinds, shape, operands)]


def _remap(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, Remap)
    sizes, strides, out = low.graph.shapes[node.output], low.strides(node.inputs[0]), low.strides(node.output)
    read = [strides[axis] for axis in op.axes]
    walks = [_walk(table) for table in op.tables]
    if all(walk is not None for walk in walks):
        offset = sum(walk[0] * stride for walk, stride in zip(walks, read, strict=True) if walk)
        moved = tuple(walk[1] * stride for walk, stride in zip(walks, read, strict=True) if walk)
        return [_copy(low, node, sizes, (Tensor(node.output), 0, out), (source, offset, moved))]
    tables = [np.where(t < 0, _OUTSIDE, t * stride).astype(np.int32) for t, stride in zip(op.tables, read, strict=True)]
    begin, end = _run(op.tables[-1]) if read[-1] == 1 else (0, 0)
    fill = np.asarray(op.fill, np.float32 if low.graph.kinds[node.output] == "f32" else np.int32)
    return [
        RemapStep(
            space=_space(node, sizes),
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
    shape = low.graph.shapes[before if low.is_dense(after) else after]
    sides = [dense_strides(shape) if low.is_dense(name) else low.strides(name) for name in (after, before)]
    return [_copy(low, node, shape, (Tensor(after), 0, sides[0]), (source, 0, sides[1]))]


def _join(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    op = node.op
    assert isinstance(op, Join)
    out, steps, at = low.strides(node.output), list[Step](), 0
    for tensor, name in zip(sources, node.inputs, strict=True):
        shape = low.graph.shapes[name]
        target = (Tensor(node.output), at * out[op.axis], out)
        if prod(shape):
            steps.append(_copy(low, node, shape, target, (tensor, 0, low.strides(name))))
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
            space=_space(node, sizes),
            out=Operand(Tensor(node.output), 0, outer_out),
            in_=Operand(source, 0, outer_in),
            in_row=_space(node, in_sizes),
            out_row=_space(node, out_sizes),
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


def _matmul(low: Lowering, node: Node, left: Tensor, right: Tensor) -> list[Step]:
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
            batch=_space(node, sizes),
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


def _gather(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
    op, (x, i) = node.op, (low.graph.shapes[name] for name in node.inputs)
    assert isinstance(op, Gather)
    read, index, none = low.strides(node.inputs[0]), low.strides(node.inputs[1]), (0,) * len(i)
    before, after = (0,) * op.axis, (0,) * (len(x) - op.axis - 1)
    strides = ((*read[: op.axis], *none, *read[op.axis + 1 :]), (*before, *index, *after))
    return [_gather_step(low, node, (source, indices), strides, ((x[op.axis],), (read[op.axis],)), 0)]


def _gather_elements(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
    op, x = node.op, low.graph.shapes[node.inputs[0]]
    assert isinstance(op, GatherElements)
    read, index = low.strides(node.inputs[0]), low.strides(node.inputs[1])
    strides = ((*read[: op.axis], 0, *read[op.axis + 1 :]), index)
    return [_gather_step(low, node, (source, indices), strides, ((x[op.axis],), (read[op.axis],)), 0)]


def _gather_nd(low: Lowering, node: Node, source: Tensor, indices: Tensor) -> list[Step]:
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
        space=_space(node, sizes),
        out=Operand(Tensor(node.output), 0, out),
        in_=Operand(tensors[0], 0, read),
        indices=Operand(tensors[1], 0, index),
        count=len(indexed[0]),
        index_stride=index_stride,
        sizes=indexed[0],
        strides=indexed[1],
    )


def _scatter(low: Lowering, node: Node, source: Tensor, indices: Tensor, updates: Tensor) -> list[Step]:
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
    steps = [_copy(low, node, x, (Tensor(node.output), 0, out), (source, 0, read))]
    if not prod(u):
        return steps
    sizes, (to, places, given) = joined(u, [moved, index, update])
    step = ScatterStep(
        space=_space(node, sizes),
        out=Operand(Tensor(node.output), 0, to),
        in_=Operand(updates, 0, given),
        indices=Operand(indices, 0, places),
        count=len(address[0]),
        index_stride=index_stride,
        sizes=address[0],
        strides=address[1],
        reduction=_REDUCTIONS.index(op.reduction),
    )
    return [*steps, step]


def _window_pool(low: Lowering, node: Node, source: Tensor) -> list[Step]:
    op, (x, y) = node.op, (low.graph.shapes[name] for name in (node.inputs[0], node.output))
    assert isinstance(op, WindowPool)
    count = len(op.kernel)
    counted = op.count_pads or (0,) * (2 * count)

    def three(values: Sequence[int], missing: int) -> tuple[int, ...]:
        return (*values, *(missing,) * (3 - count))

    return [
        WindowPoolStep(
            space=_space(node, (*y[:2], *three(y[2:], 1))),
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
            space=_space(node, sizes),
            out=Operand(Tensor(node.output), 0, low.strides(node.output)),
            in_=Operand(source, 0, (*read[: op.axis], 0, *read[op.axis + 1 :])),
            axis=op.axis,
            taps=len(op.places),
            places=low.blob.add((op.places * read[op.axis]).astype(np.int32)),
            weights=low.blob.add(op.weights.astype(np.float32)),
        )
    ]


_RULES: dict[type[Any], Callable[..., list[Step]]] = {
    Elementwise: _elementwise,
    Remap: _remap,
    Reshape: _reshape,
    Join: _join,
    RowOp: _rows,
    MatMul: _matmul,
    Gather: _gather,
    GatherElements: _gather_elements,
    GatherND: _gather_nd,
    ScatterND: _scatter,
    ScatterElements: _scatter,
    WindowPool: _window_pool,
    Interpolate: _interpolate,
    Recurrent: recurrent_steps,
}
