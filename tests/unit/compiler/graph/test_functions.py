"""FUNCTIONS: their meaning in NumPy, and which kinds of operands they have code for."""

from __future__ import annotations

import math
import re
from string import Formatter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.compiler.build import KERNELS
from prunemap.compiler.graph.functions import FUNCTIONS, Function, expression, result_kind
from prunemap.compiler.graph.ir import Kind
from prunemap.errors import UnsupportedError

INT32 = np.iinfo(np.int32)
whole = st.integers(INT32.min, INT32.max)


def codes(function: Function) -> list[str]:
    return [code for code in (function.code, function.integers, function.booleans) if code]


def value(name: str, *operands: float, dtype: type = np.float32) -> object:
    return FUNCTIONS[name].meaning(*(np.array([x], dtype) for x in operands))[0]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_code_uses_every_operand_and_what_the_headers_have(function: Function) -> None:
    headers = "".join((KERNELS / name).read_text() for name in ("math.h", "simd.h"))
    assert codes(function)
    for code in codes(function):
        assert {field for _, field, _, _ in Formatter().parse(code) if field} == {str(i) for i in range(function.arity)}
        for called in re.findall(r"\bv_\w+", code):
            assert re.search(rf"\b{called}\b", headers), called


@pytest.mark.parametrize("function", [f for f in FUNCTIONS.values() if f.code], ids=lambda f: f.name)
def test_meaning_of_floats_is_of_the_kind_that_is_told(function: Function) -> None:
    kinds: list[Kind] = ["f32"] * function.arity
    operands = [np.array([0.25, -0.5, np.nan, np.inf, -np.inf, 0, 3e38], np.float32)] * function.arity
    if function.name == "where":
        kinds[0], operands[0] = "bool", operands[0] > 0
    dtype = {"f32": np.float32, "bool": np.bool_, "i32": np.int32}[result_kind(function.name, kinds)]
    assert np.asarray(function.meaning(*operands)).dtype == dtype


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("erf", (0.5,), 0.5204998778130465),
        ("gelu", (-1.0,), -0.15865525393145707),
        ("gelu_tanh", (-1.0,), -0.15880800939172324),
        ("softplus", (1.0,), 1.3132616875182228),
        ("softplus", (1000.0,), 1000.0),
        ("mish", (1.0,), 0.8650983882673103),
        ("hard_swish", (1.0,), 4 / 6),
        ("hard_sigmoid", (1.0, 0.2, 0.5), 0.7),
        ("elu", (-1.0, 2.0), 2 * math.expm1(-1)),
        ("celu", (-1.0, 2.0), 2 * math.expm1(-0.5)),
        ("selu", (-1.0, 1.6732632, 1.050701), 1.050701 * 1.6732632 * math.expm1(-1)),
        ("leaky_relu", (-2.0, 0.1), -0.2),
        ("prelu", (-2.0, 0.1), -0.2),
        ("thresholded_relu", (1.0, 1.0), 0.0),
        ("softsign", (-3.0,), -0.75),
        ("clip", (np.nan, 0.0, 1.0), np.nan),
        ("round", (2.5,), 2.0),
        ("mod", (-7.0, 3.0), 2.0),
        ("fmod", (-7.0, 3.0), -1.0),
        ("pow", (-2.0, 3.0), -8.0),
        ("pow", (0.0, 0.0), 1.0),
        ("max", (np.nan, 1.0), np.nan),
        ("exp", (1000.0,), np.inf),
        ("cast_f32_to_i32", (-2.9,), -2),
        ("cast_f32_to_i32", (3e9,), INT32.max),
        ("cast_f32_to_i32", (np.nan,), 0),
    ],
)
def test_meanings_give_known_values(name: str, operands: tuple[float, ...], expected: float) -> None:
    np.testing.assert_allclose(value(name, *operands), expected, rtol=2e-7)


@given(whole, whole)
def test_integer_division_is_cut_off_and_mod_has_the_sign_of_the_divisor(a: int, b: int) -> None:
    quotient, rest, remainder = (value(name, a, b, dtype=np.int32) for name in ("div", "fmod", "mod"))
    if b == 0:
        assert (quotient, rest, remainder) == (0, 0, 0)
    elif (a, b) != (INT32.min, -1):
        assert quotient == abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        assert (rest, remainder) == (a - int(quotient) * b, a % b)  # type: ignore[call-overload]


def test_expression_is_of_the_kinds_of_the_operands() -> None:
    assert expression("add", ["f32", "f32"]) == "({0} + {1})"
    assert expression("add", ["i32", "i32"]) == "v_int_add({0}, {1})"
    assert "v_int_select" in expression("where", ["bool", "i32", "i32"])


@pytest.mark.parametrize(
    ("name", "kinds", "allowed"),
    [
        ("add", ["f32", "i32"], "(f32, f32) or (i32, i32)"),
        ("add", ["f32"], "(f32, f32) or (i32, i32)"),
        ("and", ["i32", "i32"], "(bool, bool)"),
        ("exp", ["i32"], "(f32)"),
        ("where", ["f32", "f32", "f32"], "(bool, f32, f32) or (bool, i32, i32) or (bool, bool, bool)"),
    ],
)
def test_other_kinds_are_refused_and_the_message_names_those_allowed(
    name: str, kinds: list[Kind], allowed: str
) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(f"{name} of ({', '.join(kinds)}) is not supported")) as error:
        expression(name, kinds)
    assert str(error.value).endswith(f"allowed is {allowed}")


@pytest.mark.parametrize(
    ("name", "kinds", "kind"),
    [
        ("add", ["i32", "i32"], "i32"),
        ("less", ["f32", "f32"], "bool"),
        ("where", ["bool", "f32", "f32"], "f32"),
        ("cast_f32_to_i32", ["f32"], "i32"),
        ("cast_i32_to_f32", ["bool"], "f32"),
    ],
)
def test_result_kind(name: str, kinds: list[Kind], kind: Kind) -> None:
    assert result_kind(name, kinds) == kind
