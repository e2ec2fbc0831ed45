"""Which kinds of elements an op can read: a kernel takes its four bytes for what it expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prunemap.compiler.graph.expression import kind_of
from prunemap.compiler.graph.functions import FUNCTIONS, kinds_allowed
from prunemap.compiler.graph.ir import (
    Constant,
    Elementwise,
    Expression,
    Gather,
    GatherElements,
    GatherND,
    Identity,
    Join,
    Kind,
    Op,
    Remap,
    Reshape,
    ScatterElements,
    ScatterND,
)

Kinds = Sequence[Kind]


def _expression(expression: Expression, kinds: Kinds) -> bool:
    """Whether every function in an expression has code for what it is given."""
    if not isinstance(expression, tuple):
        return True
    name, *arguments = expression
    if not all(_expression(each, kinds) for each in arguments):
        return False
    return tuple(kind_of(each, kinds) for each in arguments) in kinds_allowed(FUNCTIONS[name])


def _scatter(op: ScatterND | ScatterElements, x: Kind, indices: Kind, updates: Kind) -> bool:
    return indices == "i32" and x == updates and (op.reduction == "none" or x != "bool")


def _floats(op: Op, *kinds: Kind) -> bool:
    return set(kinds) <= {"f32"}


def _same(op: Op, *kinds: Kind) -> bool:
    return len(set(kinds)) == 1


def _indexed(op: Op, x: Kind, indices: Kind) -> bool:
    return indices == "i32"


_FITS: Mapping[type[Any], Callable[..., bool]] = {
    Constant: lambda op: True,
    Elementwise: lambda op, *kinds: _expression(op.expression, kinds),
    Gather: _indexed,
    GatherElements: _indexed,
    GatherND: _indexed,
    Identity: _same,
    Join: _same,
    Remap: _same,
    Reshape: _same,
    ScatterElements: _scatter,
    ScatterND: _scatter,
}
"""Of the other ops every input is fp32."""


def kind_misfit(op: Op, kinds: Kinds) -> str | None:
    """Return why an op cannot have inputs of these kinds, None if it can."""
    if _FITS.get(type(op), _floats)(op, *kinds):
        return None
    what = f"{op.expression}" if isinstance(op, Elementwise) else type(op).__name__
    reduction = getattr(op, "reduction", "none")
    what += "" if reduction == "none" else f" with reduction {reduction!r}"
    return f"{what} of {' and '.join(kinds)} is not supported"
