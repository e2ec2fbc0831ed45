"""Expressions of elementwise ops: their kind, their value, and their C code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prunemap.compiler.graph.functions import FUNCTIONS, result_kind
from prunemap.compiler.graph.functions import expression as expression_code
from prunemap.compiler.graph.ir import AnyArray, Expression, Kind

DTYPES: dict[Kind, Any] = {"f32": np.float32, "i32": np.int32, "bool": np.bool_}


def kind_of(expression: Expression, kinds: Sequence[Kind]) -> Kind:
    """Return the kind of the value; kinds: of the operands."""
    if isinstance(expression, int):
        return kinds[expression]
    if isinstance(expression, float):
        return "f32"
    name, *arguments = expression
    return result_kind(name, [kind_of(each, kinds) for each in arguments])


def evaluate(expression: Expression, operands: Sequence[AnyArray]) -> AnyArray:
    """Return the value in NumPy."""
    if isinstance(expression, int):
        return operands[expression]
    if isinstance(expression, float):
        return np.asarray(expression, np.float32)
    name, *arguments = expression
    function, values = FUNCTIONS[name], [evaluate(each, operands) for each in arguments]
    kind = kind_of(expression, [_kind(value) for value in operands])
    return np.asarray(function.meaning(*values)).astype(DTYPES[kind])


def _kind(value: AnyArray) -> Kind:
    return next(kind for kind, dtype in DTYPES.items() if value.dtype == dtype)


def code_of(expression: Expression, operands: Sequence[str], kinds: Sequence[Kind]) -> str:
    """Return the C expression on vectors; operands: the C names of their vectors."""
    if isinstance(expression, int):
        return operands[expression]
    if isinstance(expression, float):
        return f"v_splat({c_float(expression)})"
    name, *arguments = expression
    of = [kind_of(each, kinds) for each in arguments]
    return expression_code(name, of).format(*(code_of(each, operands, kinds) for each in arguments))


def c_float(value: float) -> str:
    """Return a number as C has it."""
    if np.isnan(value):
        return '__builtin_nanf("")'
    if np.isinf(value):
        return f"{'-' if value < 0 else ''}__builtin_inff()"
    return f"{value!r}f"


def substituted(expression: Expression, operands: Sequence[Expression]) -> Expression:
    """Return the expression with other expressions in place of its operands."""
    if isinstance(expression, int):
        return operands[expression]
    if isinstance(expression, float):
        return expression
    name, *arguments = expression
    return (name, *(substituted(each, operands) for each in arguments))
