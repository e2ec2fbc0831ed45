"""ONNX functions of elements, against ONNX's reference evaluator."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from prunemap.compiler.graph.expression import code_of
from prunemap.compiler.graph.ir import AnyArray, Constant, Elementwise, Graph
from prunemap.errors import UnsupportedError
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)


def floats(*shape: int) -> AnyArray:
    return RNG.standard_normal(shape, np.float32)


def integers(*shape: int) -> AnyArray:
    return RNG.integers(-9, 9, shape).astype(np.int32)


def booleans(*shape: int) -> AnyArray:
    return RNG.integers(0, 2, shape).astype(np.bool_)


X, Y = floats(2, 3, 4, 5, 2), floats(4, 1, 2)
POSITIVE = np.abs(X) + np.float32(0.1)
INTEGERS, DIVISORS = integers(3, 4), np.array([[3, -2, 7, 1]], np.int32)
BOOLEANS, ROW = booleans(3, 4), booleans(4)
ODD = np.array([[np.nan, np.inf, -np.inf, 0.0, -1.5]], np.float32)
NUMBER = np.float32(1.5)


def check(op: str, *inputs: AnyArray | None, **how: Any) -> Graph:
    """Besides what check_node does: every function has code for the kinds that it is given."""
    graph = check_node(op, *inputs, **how)
    for node in graph.nodes:
        if isinstance(node.op, Elementwise):
            names = [f"x{place}" for place in range(len(node.inputs))]
            assert code_of(node.op.expression, names, [graph.kinds[name] for name in node.inputs])
    return graph


UNARY = {
    "of numbers": "Abs Neg Sign Relu",
    "of floats": "Celu Ceil Cos Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Mish Reciprocal Round Selu "
    "Shrink Sigmoid Sin Softplus Softsign Tan Tanh ThresholdedRelu",
    "of positive ones": "Log Sqrt",
}


@pytest.mark.parametrize("op", " ".join(UNARY.values()).split())
def test_functions_of_one_operand(op: str) -> None:
    check(op, POSITIVE if op in UNARY["of positive ones"] else X)


@pytest.mark.parametrize("op", UNARY["of numbers"].split())
def test_functions_of_an_integer(op: str) -> None:
    check(op, INTEGERS)


ATTRIBUTES: list[tuple[str, dict[str, Any]]] = [
    ("LeakyRelu", {"alpha": 0.2}),
    ("Elu", {"alpha": 2.0}),
    ("Celu", {"alpha": 2.0}),
    ("Selu", {"alpha": 2.0, "gamma": 3.0}),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.4}),
    ("ThresholdedRelu", {"alpha": 0.3}),
    ("Gelu", {"approximate": "tanh"}),
    ("Shrink", {"lambd": 0.4, "bias": 0.3}),
    ("Swish", {"opset": 24}),
    ("Swish", {"opset": 24, "alpha": 2.0}),
    ("Clip", {"opset": 10, "min": -0.5}),
    ("Clip", {"opset": 10, "min": -0.5, "max": 0.25}),
]


@pytest.mark.parametrize(("op", "how"), ATTRIBUTES, ids=str)
def test_attributes(op: str, how: dict[str, Any]) -> None:
    check(op, X, **how)


ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Max", "Min")
COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")


@pytest.mark.parametrize("computed", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS, "Pow"])
def test_two_operands_are_broadcast(op: str, computed: tuple[int, ...]) -> None:
    check(op, POSITIVE, np.abs(Y), computed=computed)


@pytest.mark.parametrize("op", [*ARITHMETIC, *COMPARISONS, "Mod"])
def test_two_integers(op: str) -> None:
    check(op, INTEGERS, DIVISORS, computed=(0, 1))


@pytest.mark.parametrize("op", ["And", "Or", "Xor", "Equal"])
def test_two_booleans(op: str) -> None:
    check(op, BOOLEANS, ROW, computed=(0, 1))


@pytest.mark.parametrize("value", [NUMBER, np.full((1, 1, 1, 1, 1, 1), NUMBER)], ids=["scalar", "more axes"])
def test_a_constant_number(value: AnyArray) -> None:
    graph = check("Sub", value, X, computed=(1,))
    constants = [node for node in graph.nodes if isinstance(node.op, Constant)]
    assert len(constants) == (np.ndim(value) > 0), "a number needs no tensor, unless it adds an axis"


OTHERS: list[tuple[str, list[AnyArray | None], dict[str, Any]]] = [
    ("Not", [BOOLEANS], {}),
    ("IsNaN", [ODD], {}),
    ("IsInf", [ODD], {}),
    ("IsInf", [ODD], {"detect_positive": 0}),
    ("IsInf", [ODD], {"detect_negative": 0}),
    ("IsInf", [ODD], {"detect_negative": 0, "detect_positive": 0}),
    ("PRelu", [X, floats(2)], {}),
    ("PRelu", [X, floats(3, 1, 1, 1)], {"computed": (0, 1)}),
    ("Mod", [X, np.float32(0.7)], {"fmod": 1}),
    ("Mod", [X, np.float32(0.7)], {"opset": 28}),
    ("Mod", [INTEGERS, DIVISORS], {"fmod": 1}),
    ("Where", [BOOLEANS, floats(3, 1), floats(4)], {"computed": (0, 1)}),
    ("Where", [BOOLEANS, INTEGERS, DIVISORS], {"computed": (0, 1, 2)}),
    ("Where", [BOOLEANS, NUMBER, floats(3, 4)], {"computed": (0, 2)}),
    ("Sum", [X, Y, floats(1)], {"computed": (0, 2)}),
    ("Sum", [X], {}),
    ("Mean", [X, Y, NUMBER], {}),
    ("Max", [X, Y, NUMBER], {}),
    ("Min", [INTEGERS, DIVISORS, INTEGERS[:1]], {"computed": (0, 1, 2)}),
    ("Pow", [X, np.float32(2)], {}),
    ("Pow", [X, np.int64([3])], {}),
    ("Pow", [POSITIVE, np.float32(0.5)], {}),
    ("Pow", [INTEGERS, np.int64(2)], {}),
    ("Pow", [POSITIVE, np.int32([[1], [-2], [4], [5]]).reshape(4, 1, 1)], {"computed": (0, 1)}),
    ("Clip", [X], {}),
    ("Clip", [X, NUMBER], {}),
    ("Clip", [X, None, np.float32([0.5])], {}),
    ("Clip", [X, np.float32(-0.5), np.float32(0.5)], {"computed": (0, 1, 2)}),
    ("Clip", [INTEGERS, np.int32(-2), np.int32(3)], {}),
    ("Clip", [INTEGERS, None, np.int32(3)], {"computed": (0, 2)}),
    ("Dropout", [X], {}),
    ("Dropout", [X, np.float32(0.5)], {"outputs": 2}),
    ("Dropout", [X[0], np.float32(0.5)], {"outputs": 2}),  # of a map
    ("Dropout", [BOOLEANS.astype(np.float32)[None], NUMBER, np.bool_(False)], {}),
    ("BatchNormalization", [X, *np.abs(floats(4, 3))], {"epsilon": 0.1}),
    ("BatchNormalization", [X, *np.abs(floats(4, 3))], {"computed": (0, 1, 4)}),
    ("BatchNormalization", [X[0, 0, 0], *np.abs(floats(4, 2))], {"computed": (0, 1, 2, 3, 4)}),
]


@pytest.mark.parametrize(("op", "inputs", "how"), OTHERS, ids=lambda each: re.sub(r"\W+", "_", str(each))[:40])
def test_others(op: str, inputs: list[AnyArray | None], how: dict[str, Any]) -> None:
    check(op, *inputs, **how)


TYPES = {TensorProto.FLOAT: X, TensorProto.INT32: INTEGERS, TensorProto.BOOL: BOOLEANS}


@pytest.mark.parametrize("to", [*TYPES, TensorProto.INT64])
@pytest.mark.parametrize("given", TYPES)
def test_casts(given: int, to: int) -> None:
    x = TYPES[given] * np.float32(3) if given == TensorProto.FLOAT else TYPES[given]
    check("Cast", x, to=to)
    if to in TYPES:
        check("CastLike", x, TYPES[to])


REFUSED: list[tuple[str, list[AnyArray | None], dict[str, Any], str]] = [
    ("Exp", [INTEGERS], {}, "are i32; f32 is supported"),
    ("Cast", [X], {"to": TensorProto.FLOAT16}, "casts to type 10"),
    ("Pow", [INTEGERS, np.int32(5)], {}, "powers of integers"),
    ("Clip", [X, np.float32(np.nan)], {}, "not one number"),
    ("Clip", [X, np.zeros(2, np.float32)], {}, "not one number"),
    ("Dropout", [X, NUMBER, np.bool_(True)], {}, "only inference"),
    ("BatchNormalization", [X, *floats(4, 3)], {"training_mode": 1}, "only inference"),
    ("BatchNormalization", [X, *floats(4, 2)], {}, r"scale \(2,\) for 3 channels"),
]


@pytest.mark.parametrize(("op", "inputs", "how", "why"), REFUSED, ids=lambda each: re.sub(r"\W+", "_", str(each))[:30])
def test_what_is_refused(op: str, inputs: list[AnyArray | None], how: dict[str, Any], why: str) -> None:
    model, _ = node_model(op, *inputs, **how)
    with pytest.raises(UnsupportedError, match=why):
        graph_of(model, [X])
