"""Functions of rows of integers, exact although rows are fp32: integers are cut into parts that fp32 holds exactly."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from prunemap.compiler.graph.ir import Elementwise, Expression, RowOp
from prunemap.compiler.onnx.node import NotTaken, OnnxNode

_SUMMED, _COMPARED = 1 << 11, 1 << 16
"""Parts of sums have 11 bits (the highest 10), of comparisons 16."""
MAX_TERMS = (1 << 24) // _SUMMED
"""A sum of so many parts is exact."""


def row(node: OnnxNode, function: str, axes: Sequence[int], x: str, *parameters: float) -> str:
    """Apply a function of ROW_FUNCTIONS along some axes; return the name of the result."""
    return node.build.add(RowOp(function, tuple(axes), tuple(map(float, parameters))), x)


def integer_sum(node: OnnxNode, function: str, axes: Sequence[int], x: str, *parameters: float) -> str:
    """Apply ``sum`` or ``cumulative_sum``; what needs more than 32 bits wraps.

    Raises:
        NotTaken: the rows are longer than MAX_TERMS.
    """
    terms = prod(node.build.shapes[x][axis] for axis in axes)
    if terms > MAX_TERMS:
        raise NotTaken(f"a sum of {terms} integers, up to {MAX_TERMS} are supported")
    rest = _high(0, _SUMMED)
    parts = (_high(rest, _SUMMED), _low(rest, _SUMMED), _low(0, _SUMMED))
    sums = [row(node, function, axes, _float(node, part, x), *parameters) for part in parts]
    return node.build.add(Elementwise(_joined(_joined(_integer(0), _integer(1), _SUMMED), _integer(2), _SUMMED)), *sums)


def integer_best(node: OnnxNode, function: str, axes: Sequence[int], x: str, *parameters: float) -> str:
    """Apply ``max``, ``min``, ``argmax`` or ``argmin``: among those with the best high part by the low part."""
    best, worst = ("max", -1.0) if function.endswith("max") else ("min", float(_COMPARED))
    high, low = (_float(node, part(0, _COMPARED), x) for part in (_high, _low))
    highest = row(node, best, axes, high)
    contenders = node.build.add(Elementwise(("where", ("equal", 0, 1), 2, worst)), high, highest, low)
    found = row(node, function, axes, contenders, *parameters)
    if function != best:
        return found
    return node.build.add(Elementwise(_joined(_integer(0), _integer(1), _COMPARED)), highest, found)


def _low(x: Expression, base: int) -> Expression:
    """0 ≤ low < base."""
    return ("mod", x, _integer(float(base)))


def _high(x: Expression, base: int) -> Expression:
    """x = high · base + low."""
    return ("div", ("sub", x, _low(x, base)), _integer(float(base)))


def _joined(high: Expression, low: Expression, base: int) -> Expression:
    return ("add", ("mul", high, _integer(float(base))), low)


def _integer(x: int | float) -> Expression:
    """Return an fp32 operand (an int) or a number (a float) as an integer."""
    return ("cast_f32_to_i32", x)


def _float(node: OnnxNode, part: Expression, x: str) -> str:
    return node.build.add(Elementwise(("cast_i32_to_f32", part)), x)
