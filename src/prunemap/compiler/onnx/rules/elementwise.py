"""ELEMENTWISE_RULES: functions of elements, broadcast to one shape as in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf

import numpy as np

from prunemap.compiler.graph.ir import Elementwise, Kind
from prunemap.compiler.onnx.node import KINDS, GeneralRule, NotTaken, OnnxNode

_FLOATS: tuple[Kind, ...] = ("f32",)
_NUMBERS: tuple[Kind, ...] = ("f32", "i32")
_BOOLS: tuple[Kind, ...] = ("bool",)
_ANY: tuple[Kind, ...] = ("f32", "i32", "bool")


@dataclass(frozen=True)
class _Function:
    """How an operator is a function of FUNCTIONS."""

    name: str
    kinds: tuple[Kind, ...] = _FLOATS
    """That its inputs may have."""
    attributes: tuple[tuple[str, float], ...] = ()
    """The arguments behind the inputs, with their defaults."""


_FUNCTIONS: Mapping[str, _Function] = {
    "Abs": _Function("abs", _NUMBERS),
    "Add": _Function("add", _NUMBERS),
    "And": _Function("and", _BOOLS),
    "Ceil": _Function("ceil"),
    "Celu": _Function("celu", attributes=(("alpha", 1.0),)),
    "Cos": _Function("cos"),
    "Div": _Function("div", _NUMBERS),
    "Elu": _Function("elu", attributes=(("alpha", 1.0),)),
    "Equal": _Function("equal", _ANY),
    "Erf": _Function("erf"),
    "Exp": _Function("exp"),
    "Floor": _Function("floor"),
    "Greater": _Function("greater", _NUMBERS),
    "GreaterOrEqual": _Function("greater_equal", _NUMBERS),
    "HardSigmoid": _Function("hard_sigmoid", attributes=(("alpha", 0.2), ("beta", 0.5))),
    "HardSwish": _Function("hard_swish"),
    "IsNaN": _Function("isnan"),
    "LeakyRelu": _Function("leaky_relu", attributes=(("alpha", 0.01),)),
    "Less": _Function("less", _NUMBERS),
    "LessOrEqual": _Function("less_equal", _NUMBERS),
    "Log": _Function("log"),
    "Mish": _Function("mish"),
    "Mul": _Function("mul", _NUMBERS),
    "Neg": _Function("neg", _NUMBERS),
    "Not": _Function("not", _BOOLS),
    "Or": _Function("or", _BOOLS),
    "PRelu": _Function("prelu"),
    "Reciprocal": _Function("reciprocal"),
    "Round": _Function("round"),
    "Selu": _Function("selu", attributes=(("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
    "Sigmoid": _Function("sigmoid"),
    "Sign": _Function("sign", _NUMBERS),
    "Sin": _Function("sin"),
    "Softplus": _Function("softplus"),
    "Softsign": _Function("softsign"),
    "Sqrt": _Function("sqrt"),
    "Sub": _Function("sub", _NUMBERS),
    "Tanh": _Function("tanh"),
    "ThresholdedRelu": _Function("thresholded_relu", attributes=(("alpha", 1.0),)),
    "Xor": _Function("xor", _BOOLS),
}


def check_kinds(node: OnnxNode, allowed: Sequence[Kind] = _FLOATS, of: Sequence[int] | None = None) -> Kind:
    """Return the kind of the inputs; of: which ones, all that are given by default.

    Raises:
        NotTaken: it is none of those allowed, or they differ.
    """
    indices = [i for i in range(node.count) if node.has(i)] if of is None else of
    kinds = dict.fromkeys(node.kind(i) for i in indices)
    if len(kinds) != 1 or not {*kinds} <= {*allowed}:
        raise NotTaken(f"its inputs are {', '.join(kinds)}; {' or '.join(allowed)} is supported")
    return next(iter(kinds))


def per_channel(node: OnnxNode, index: int, behind: int) -> str:
    """Return an input with one value per channel, ready to be broadcast over as many axes ``behind`` the channels."""
    shape = (int(np.prod(node.shape(index))), *(1,) * behind)
    if node.is_constant(index):
        return node.build.constant(node.constant(index, f"input {index}").reshape(shape))
    return node.build.reshape(node.tensor(index), shape)


def as_floats(node: OnnxNode, tensor: str) -> str:
    """Return a tensor as fp32."""
    return _cast(node, tensor, "f32")


def _operand(node: OnnxNode, index: int) -> str | float:
    """Return an input; a constant number as a number where that does not change the rank of the result."""
    if not node.is_constant(index) or node.kind(index) != "f32":
        return node.tensor(index)
    value = node.constant(index, "operand")
    computed = [len(node.shape(i)) for i in range(node.count) if node.has(i) and not node.is_constant(i)]
    return float(value.reshape(-1)[0]) if value.size == 1 and value.ndim <= max(computed) else node.tensor(index)


def _function(node: OnnxNode, function: _Function) -> Sequence[str]:
    check_kinds(node, function.kinds)
    operands = [_operand(node, i) for i in range(node.count)]
    arguments = [float(node.attributes.get(name, default)) for name, default in function.attributes]
    return [node.build.apply(function.name, *operands, *arguments)]


def _variadic(node: OnnxNode, name: str, kinds: tuple[Kind, ...]) -> str:
    check_kinds(node, kinds)
    result = node.tensor(0)
    for index in range(1, node.count):
        result = node.build.apply(name, result, _operand(node, index))
    return result


def _mean(node: OnnxNode) -> Sequence[str]:
    return [node.build.apply("div", _variadic(node, "add", _FLOATS), float(node.count))]


def _pow(node: OnnxNode) -> Sequence[str]:
    """Squares and cubes are products; else integers are taken as exponents only."""
    base, exponent = check_kinds(node, _NUMBERS, [0]), check_kinds(node, _NUMBERS, [1])
    known = node.constant(1, "exponent") if node.is_constant(1) else np.zeros(0)
    if known.size == 1 and known.ndim <= len(node.shape()) and float(known.reshape(-1)[0]) in (2.0, 3.0):
        x, times = node.tensor(0), int(known.reshape(-1)[0])
        square = node.build.apply("mul", x, x)
        return [square if times == 2 else node.build.apply("mul", square, x)]
    if base == "i32":
        raise NotTaken("powers of integers are supported for the constant exponents 2 and 3 only")
    power = _operand(node, 1) if exponent == "f32" else as_floats(node, node.tensor(1))
    return [node.build.apply("pow", _operand(node, 0), power)]


def _mod(node: OnnxNode) -> Sequence[str]:
    check_kinds(node, _NUMBERS)
    name = "fmod" if node.attributes.get("fmod", 0) else "mod"
    return [node.build.apply(name, _operand(node, 0), _operand(node, 1))]


def _relu(node: OnnxNode) -> Sequence[str]:
    if check_kinds(node, _NUMBERS) == "i32":
        return [node.build.apply("max", node.tensor(), node.build.constant(np.asarray(0, np.int32)))]
    return [node.build.apply("relu", node.tensor())]


def _is_inf(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    x = node.tensor()
    positive, negative = (node.attributes.get(f"detect_{sign}", 1) for sign in ("positive", "negative"))
    if positive and negative:
        return [node.build.apply("isinf", x)]
    if not positive and not negative:
        return [node.build.apply("less", x, x)]  # never
    return [node.build.apply("equal", x, inf if positive else -inf)]


def _gelu(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    kind = node.attributes.get("approximate", b"none").decode()
    if kind not in ("none", "tanh"):
        raise NotTaken(f"approximate is {kind!r}; none and tanh are supported")
    return [node.build.apply("gelu" if kind == "none" else "gelu_tanh", node.tensor())]


def _swish(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    alpha = float(node.attributes.get("alpha", 1.0))
    return [node.build.add(Elementwise(("mul", 0, ("sigmoid", ("mul", 0, alpha)))), node.tensor())]


def _shrink(node: OnnxNode) -> Sequence[str]:
    """Values near 0 become 0, others come nearer to it by the bias."""
    check_kinds(node)
    bound, bias = float(node.attributes.get("lambd", 0.5)), float(node.attributes.get("bias", 0.0))
    positive = ("where", ("greater", 0, bound), ("sub", 0, bias), 0.0)
    return [node.build.add(Elementwise(("where", ("less", 0, -bound), ("add", 0, bias), positive)), node.tensor())]


def _tangent(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    return [node.build.add(Elementwise(("div", ("sin", 0), ("cos", 0))), node.tensor())]


def _where(node: OnnxNode) -> Sequence[str]:
    check_kinds(node, _BOOLS, [0])
    check_kinds(node, _ANY, [1, 2])
    return [node.build.apply("where", node.tensor(0), _operand(node, 1), _operand(node, 2))]


def _clip(node: OnnxNode) -> Sequence[str]:
    """The bounds are attributes before opset 11, then inputs."""
    kind, x = check_kinds(node, _NUMBERS), node.tensor()
    bounds = [_bound(node, index) for index in (1, 2)]
    if kind == "f32":
        low, high = (bound if bound is not None else end for bound, end in zip(bounds, (-inf, inf), strict=True))
        return [node.build.apply("clip", x, low, high)]
    for function, bound in zip(("max", "min"), bounds, strict=True):
        x = x if bound is None else node.build.apply(function, x, bound)
    return [x]


def _bound(node: OnnxNode, index: int) -> str | float | None:
    if not node.has(index):
        value = node.attributes.get(("min", "max")[index - 1])
        return None if value is None else float(value)
    if np.prod(node.shape(index)) != 1:
        raise NotTaken("its minimum or maximum is not one number")
    if not node.is_constant(index):
        return node.build.reshape(node.tensor(index), ())
    value = node.constant(index, "bound").reshape(())
    if np.isnan(value):
        raise NotTaken("its minimum or maximum is not one number")
    return float(value) if node.kind(index) == "f32" else node.build.constant(value)


_CASTS: Mapping[tuple[Kind, Kind], str] = {
    ("f32", "i32"): "cast_f32_to_i32",
    ("bool", "i32"): "cast_to_i32",
    ("i32", "f32"): "cast_i32_to_f32",
    ("bool", "f32"): "cast_i32_to_f32",
    ("f32", "bool"): "cast_to_bool",
    ("i32", "bool"): "cast_to_bool",
}


def _cast_rule(node: OnnxNode) -> Sequence[str]:
    return [_cast(node, node.tensor(), _kind_of_type(node.attributes["to"]))]


def _kind_of_type(to: int) -> Kind:
    if to not in KINDS:
        raise NotTaken(f"it casts to type {to}; FLOAT, INT32, INT64 and BOOL are supported")
    return KINDS[to]


def _cast_like(node: OnnxNode) -> Sequence[str]:
    return [_cast(node, node.tensor(), node.kind(1))]


def _cast(node: OnnxNode, x: str, to: Kind) -> str:
    kind = node.build.kinds[x]
    if kind == to:
        return x
    return node.build.apply(_CASTS[kind, to], x)


def _dropout(node: OnnxNode) -> Sequence[str]:
    """The mask keeps all; before opset 12 engines do not agree what it is: who reads it is refused."""
    if node.has(2) and node.constant(2, "training_mode").any():
        raise NotTaken("only inference is supported, it is in training mode")
    if node.opset < 12 or not any(node.proto.output[1:]):
        return [node.tensor()]
    return [node.tensor(), node.build.constant(np.ones(node.shape(), np.bool_))]


def _batch_norm(node: OnnxNode) -> Sequence[str]:
    """y = scale · (x − mean) / √(variance + ε) + bias, on channels along axis 1."""
    if node.attributes.get("training_mode", 0) or any(node.proto.output[1:]):
        raise NotTaken("only inference is supported, it is in training mode")
    check_kinds(node)
    shape, epsilon = node.shape(), float(node.attributes.get("epsilon", 1e-5))
    channels = shape[1] if len(shape) > 1 else 1
    for index, what in enumerate(("scale", "bias", "mean", "variance"), start=1):
        if node.shape(index) != (channels,):
            raise NotTaken(f"{what} {node.shape(index)} for {channels} channels")
    if all(node.is_constant(index) for index in range(1, 5)):
        scale, bias, mean, variance = (node.floats(index, "input") for index in range(1, 5))
        factor = scale / np.sqrt(variance + np.float32(epsilon))
        values = (value.reshape(-1, *(1,) * (len(shape) - 2)) for value in (factor, bias - mean * factor))
        operands = (node.build.constant(value) for value in values)
        return [node.build.add(Elementwise(("add", ("mul", 0, 1), 2)), node.tensor(), *operands)]
    normal = ("div", ("sub", 0, 3), ("sqrt", ("add", 4, epsilon)))
    inputs = (per_channel(node, index, max(len(shape) - 2, 0)) for index in range(1, 5))
    return [node.build.add(Elementwise(("add", ("mul", 1, normal), 2)), node.tensor(), *inputs)]


ELEMENTWISE_RULES: Mapping[str, GeneralRule] = {
    **{name: partial(_function, function=function) for name, function in _FUNCTIONS.items()},
    "BatchNormalization": _batch_norm,
    "Cast": _cast_rule,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Dropout": _dropout,
    "Gelu": _gelu,
    "IsInf": _is_inf,
    "Max": lambda node: [_variadic(node, "max", _NUMBERS)],
    "Mean": _mean,
    "Min": lambda node: [_variadic(node, "min", _NUMBERS)],
    "Mod": _mod,
    "Pow": _pow,
    "Relu": _relu,
    "Shrink": _shrink,
    "Sum": lambda node: [_variadic(node, "add", _FLOATS)],
    "Swish": _swish,
    "Tan": _tangent,
    "Where": _where,
}
