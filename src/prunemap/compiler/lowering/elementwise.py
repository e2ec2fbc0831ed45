"""Steps of elementwise ops and of copies: the axes joined, the loop along the axis that suits it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from prunemap.compiler.graph.expression import code_of
from prunemap.compiler.graph.ir import Elementwise, Expression, Kind, Node, Shape
from prunemap.compiler.lowering.program import Step, Tensor, Tile
from prunemap.compiler.lowering.program_general import AXES, ElementwiseStep, Operand, Space, TransposeStep
from prunemap.compiler.lowering.state import Lowering
from prunemap.compiler.lowering.strides import Strides, as_transposing, broadcast_strides, joined, longest_last
from prunemap.errors import UnsupportedError


def space_of(node: Node, sizes: Shape) -> Space:
    """Return what a step of the node walks over.

    Raises:
        UnsupportedError: it has too many axes.
    """
    if len(sizes) > AXES:
        raise UnsupportedError(f"model: node {node.name!r} walks over {len(sizes)} axes, at most {AXES} are supported")
    return Space.of(sizes)


def copy_step(
    low: Lowering, node: Node, sizes: Shape, out: tuple[Tensor, int, Strides], source: tuple[Tensor, int, Strides]
) -> Step:
    """Return the step that copies elements; out and source: tensor, offset and strides over the axes of ``sizes``."""
    sizes, strides = joined(sizes, [out[2], source[2]])
    turned = as_transposing(sizes, *strides)
    if turned is not None:
        sizes, strides = turned
        ends = (Operand(tensor, offset, each) for (tensor, offset, _), each in zip((out, source), strides, strict=True))
        return TransposeStep(space=space_of(node, sizes), out=next(ends), in_=next(ends))
    return elementwise_step(low, node, 0, ["f32"], sizes, [(*out[:2], strides[0]), (*source[:2], strides[1])])


def elementwise_step(
    low: Lowering,
    node: Node,
    expression: Expression,
    kinds: Sequence[Kind],
    sizes: Shape,
    operands: Sequence[tuple[Tensor, int, Strides]],
) -> Step:
    """Return the step for operands (the result first) with strides over the axes of ``sizes``."""
    sizes, strides = longest_last(*joined(sizes, [each[2] for each in operands]))
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
    return ElementwiseStep(space=space_of(node, sizes), out=out, kernel=kernel, in_=tuple(inputs))


def elementwise_steps(low: Lowering, node: Node, *sources: Tensor) -> list[Step]:
    """Return the step of an elementwise node."""
    assert isinstance(node.op, Elementwise)
    shape, kinds = low.graph.shapes[node.output], [low.graph.kinds[name] for name in node.inputs]
    operands = [(Tensor(node.output), 0, low.strides(node.output))]
    for tensor, name in zip(sources, node.inputs, strict=True):
        operands.append((tensor, 0, broadcast_strides(low.strides(name), low.graph.shapes[name], shape)))
    return [elementwise_step(low, node, node.op.expression, kinds, shape, operands)]
