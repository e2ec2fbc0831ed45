"""FUNCTIONS: the functions of elements, each with its meaning in NumPy and its C code on the vectors of math.h."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import erf, erfc
from typing import Any, Literal

import numpy as np

from prunemap.compiler.graph.ir import AnyArray, Kind
from prunemap.core.table import by_name
from prunemap.errors import UnsupportedError


@dataclass(frozen=True)
class Function:
    """A function of elements; ``{0}``, ``{1}``, … in its code are the operands: vfloat for f32, vint for others."""

    name: str
    arity: int
    meaning: Callable[..., Any]
    code: str = ""
    """For fp32 operands; "" = there is none."""
    result: Literal["same", "bool", "f32", "i32"] = "same"
    integers: str = ""
    """The code for i32 operands."""
    booleans: str = ""
    """The code for bool operands."""


def _f32(meaning: Callable[..., Any]) -> Callable[..., AnyArray]:
    """Compute in double precision, round once."""
    return lambda *xs: np.asarray(meaning(*(np.asarray(x, np.float64) for x in xs))).astype(np.float32)


def _quiet(meaning: Callable[..., Any]) -> Callable[..., Any]:
    """Infinities and NaN are values like others."""

    def value(*operands: Any) -> Any:
        with np.errstate(all="ignore"):
            return meaning(*operands)

    return value


def _softplus(x: AnyArray) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _below(x: AnyArray, value: Any) -> Any:
    return np.where(x < 0, value, x)


def _divided(a: AnyArray, b: AnyArray) -> Any:
    """A quotient as in C: integers are cut off towards zero."""
    if not np.issubdtype(np.asarray(a).dtype, np.integer):
        return np.divide(a, b)
    wide, by = np.asarray(a, np.int64), np.asarray(b, np.int64)
    return (np.sign(wide) * np.sign(by) * (np.abs(wide) // np.maximum(np.abs(by), 1))).astype(np.int32)


def _cut_off(x: AnyArray) -> AnyArray:
    """Integers: towards zero, the nearest that there is where it does not fit, 0 for NaN."""
    ends = np.iinfo(np.int32)
    return np.clip(np.nan_to_num(np.asarray(x, np.float64)), ends.min, ends.max).astype(np.int32)


def _per_element(function: Callable[[float], float]) -> Callable[[AnyArray], AnyArray]:
    each = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(each(x)).astype(np.float64)


_erf, _erfc = _per_element(erf), _per_element(erfc)


def _comparison(name: str, meaning: Callable[..., Any], sign: str) -> Function:
    code = f"(({{0}} {sign} {{1}}) & v_splat_int(1))"
    return Function(name, 2, meaning, code, "bool", code, code)


_FUNCTIONS: Sequence[Function] = (
    Function("add", 2, np.add, "({0} + {1})", integers="v_int_add({0}, {1})"),
    Function("sub", 2, np.subtract, "({0} - {1})", integers="v_int_sub({0}, {1})"),
    Function("mul", 2, np.multiply, "({0} * {1})", integers="v_int_mul({0}, {1})"),
    Function("div", 2, _divided, "({0} / {1})", integers="v_int_div({0}, {1})"),
    Function("min", 2, np.minimum, "v_min({0}, {1})", integers="v_int_min({0}, {1})"),
    Function("max", 2, np.maximum, "v_max({0}, {1})", integers="v_int_max({0}, {1})"),
    Function("mod", 2, np.mod, "v_mod({0}, {1})", integers="v_int_mod({0}, {1})"),
    Function("fmod", 2, np.fmod, "v_fmod({0}, {1})", integers="v_int_fmod({0}, {1})"),
    Function("pow", 2, _f32(np.power), "v_pow({0}, {1})"),
    Function("neg", 1, np.negative, "(-{0})", integers="v_int_neg({0})"),
    Function("abs", 1, np.abs, "v_abs({0})", integers="v_int_abs({0})"),
    Function("reciprocal", 1, np.reciprocal, "(v_splat(1) / {0})"),
    Function("sqrt", 1, np.sqrt, "v_sqrt({0})"),
    Function("exp", 1, _f32(np.exp), "v_exp({0})"),
    Function("log", 1, _f32(np.log), "v_log({0})"),
    Function("sin", 1, _f32(np.sin), "v_sin({0})"),
    Function("cos", 1, _f32(np.cos), "v_cos({0})"),
    Function("floor", 1, np.floor, "v_floor({0})"),
    Function("ceil", 1, np.ceil, "v_ceil({0})"),
    Function("round", 1, np.round, "v_round({0})"),
    Function("sign", 1, np.sign, "v_sign({0})", integers="v_int_sign({0})"),
    Function("relu", 1, lambda x: np.maximum(x, 0), "v_max({0}, v_zero)"),
    Function("sigmoid", 1, _f32(lambda x: 1 / (1 + np.exp(-x))), "v_sigmoid({0})"),
    Function("tanh", 1, _f32(np.tanh), "v_tanh({0})"),
    Function("erf", 1, _f32(_erf), "v_erf({0})"),
    Function("softplus", 1, _f32(_softplus), "v_softplus({0})"),
    Function("softsign", 1, _f32(lambda x: x / (1 + np.abs(x))), "({0} / (v_splat(1) + v_abs({0})))"),
    Function("gelu", 1, _f32(lambda x: 0.5 * x * _erfc(-x / np.sqrt(2))), "v_gelu({0})"),
    Function(
        "gelu_tanh",
        1,
        _f32(lambda x: x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        "v_gelu_tanh({0})",
    ),
    Function("mish", 1, _f32(lambda x: x * np.tanh(_softplus(x))), "v_mish({0})"),
    Function("hard_swish", 1, _f32(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)), "v_hard_swish({0})"),
    Function(
        "hard_sigmoid",
        3,
        _f32(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1)),
        "v_hard_sigmoid({0}, {1}, {2})",
    ),
    Function("leaky_relu", 2, lambda x, alpha: _below(x, x * alpha), "v_select({0} < v_zero, {0} * {1}, {0})"),
    Function("prelu", 2, lambda x, slope: _below(x, x * slope), "v_select({0} < v_zero, {0} * {1}, {0})"),
    Function("elu", 2, _f32(lambda x, a: _below(x, a * np.expm1(np.minimum(x, 0)))), "v_elu({0}, {1}, v_splat(1))"),
    Function("celu", 2, _f32(lambda x, a: _below(x, a * np.expm1(np.minimum(x / a, 0)))), "v_celu({0}, {1})"),
    Function("selu", 3, _f32(lambda x, a, g: g * _below(x, a * np.expm1(np.minimum(x, 0)))), "v_elu({0}, {1}, {2})"),
    Function("thresholded_relu", 2, lambda x, a: np.where(x > a, x, 0), "v_select({0} > {1}, {0}, v_zero)"),
    Function(
        "clip",
        3,
        lambda x, low, high: np.minimum(np.maximum(x, low), high),
        "v_min(v_max({0}, {1}), {2})",
        integers="v_int_min(v_int_max({0}, {1}), {2})",
    ),
    _comparison("equal", np.equal, "=="),
    _comparison("less", np.less, "<"),
    _comparison("greater", np.greater, ">"),
    _comparison("less_equal", np.less_equal, "<="),
    _comparison("greater_equal", np.greater_equal, ">="),
    Function("and", 2, np.logical_and, result="bool", booleans="({0} & {1})"),
    Function("or", 2, np.logical_or, result="bool", booleans="({0} | {1})"),
    Function("xor", 2, np.logical_xor, result="bool", booleans="({0} ^ {1})"),
    Function("not", 1, np.logical_not, result="bool", booleans="({0} ^ v_splat_int(1))"),
    Function("isnan", 1, np.isnan, "(({0} != {0}) & v_splat_int(1))", "bool"),
    Function("isinf", 1, np.isinf, "((v_abs({0}) == v_infinity()) & v_splat_int(1))", "bool"),
    Function("cast_f32_to_i32", 1, _cut_off, "v_to_int({0})", "i32"),
    Function("cast_i32_to_f32", 1, lambda x: x, result="f32", integers="v_to_float({0})", booleans="v_to_float({0})"),
    Function(
        "cast_to_bool",
        1,
        lambda x: x != 0,
        "(({0} != v_zero) & v_splat_int(1))",
        "bool",
        "(({0} != v_int_zero) & v_splat_int(1))",
        "{0}",
    ),
    Function("cast_to_i32", 1, lambda x: x, result="i32", integers="{0}", booleans="{0}"),
    Function(
        "where",
        3,
        np.where,
        "v_select({0} != v_int_zero, {1}, {2})",
        integers="v_int_select({0} != v_int_zero, {1}, {2})",
        booleans="v_int_select({0} != v_int_zero, {1}, {2})",
    ),
)
FUNCTIONS = by_name(replace(function, meaning=_quiet(function.meaning)) for function in _FUNCTIONS)


def result_kind(name: str, kinds: Sequence[Kind]) -> Kind:
    """Return the kind of a function's value; kinds: of its operands."""
    result = FUNCTIONS[name].result
    return kinds[-1] if result == "same" else result


def expression(name: str, kinds: Sequence[Kind]) -> str:
    """Return the C template for operands of these kinds; all the same, but for the condition of ``where``.

    Raises:
        UnsupportedError: the function is not defined for them.
    """
    allowed = _codes(FUNCTIONS[name])
    if tuple(kinds) not in allowed:
        shown = " or ".join(f"({', '.join(each)})" for each in allowed)
        raise UnsupportedError(f"model: {name} of ({', '.join(kinds)}) is not supported, allowed is {shown}")
    return allowed[tuple(kinds)]


def kinds_allowed(function: Function) -> Collection[tuple[Kind, ...]]:
    """Return the kinds of operands that a function has code for."""
    return _codes(function).keys()


def _codes(function: Function) -> dict[tuple[Kind, ...], str]:
    """Return the C templates by the kinds of the operands."""
    codes: dict[Kind, str] = {"f32": function.code, "i32": function.integers, "bool": function.booleans}
    return {_kinds_of(function, kind): code for kind, code in codes.items() if code}


def _kinds_of(function: Function, kind: Kind) -> tuple[Kind, ...]:
    return ("bool", kind, kind) if function.name == "where" else (kind,) * function.arity
