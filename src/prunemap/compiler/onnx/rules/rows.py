"""ROW_RULES: reductions, softmax, normalisations, sorting: functions of rows along some axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from prunemap.compiler.graph.ir import Elementwise, Expression, GatherElements, WindowPool
from prunemap.compiler.onnx.node import GeneralRule, NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.elementwise import as_floats, check_kinds, per_channel
from prunemap.compiler.onnx.rules.integer_rows import integer_best, integer_sum, row

_LEAST_DEVIATION = 1e-9
"""What MeanVarianceNormalization adds to the standard deviation, by its function body."""


@dataclass(frozen=True)
class _Reduction:
    """A row function that gives one value, and what it is of a row of one element."""

    function: str
    of_one: Expression = 0


_REDUCTIONS: Mapping[str, _Reduction] = {
    "ReduceL1": _Reduction("l1", ("abs", 0)),
    "ReduceL2": _Reduction("l2", ("abs", 0)),
    "ReduceLogSum": _Reduction("log_sum", ("log", 0)),
    "ReduceLogSumExp": _Reduction("log_sum_exp"),
    "ReduceMax": _Reduction("max"),
    "ReduceMean": _Reduction("mean"),
    "ReduceMin": _Reduction("min"),
    "ReduceProd": _Reduction("prod"),
    "ReduceSum": _Reduction("sum"),
    "ReduceSumSquare": _Reduction("sum_square", ("mul", 0, 0)),
}


def _floats(node: OnnxNode) -> str:
    check_kinds(node, of=[0])
    return node.tensor()


def _from_axis(node: OnnxNode, default: int) -> tuple[int, ...]:
    """Return the axes from attribute ``axis`` to the last."""
    return tuple(range(node.axis(node.attributes.get("axis", default)), len(node.shape())))


def _axes(node: OnnxNode) -> tuple[int, ...] | None:
    """Return the axes to reduce: an input since some opset, an attribute before; None = none are given."""
    axes = sorted({node.axis(axis) for axis in node.numbers(1, "axes") or []})
    if axes:
        return tuple(axes)
    return None if node.attributes.get("noop_with_empty_axes", 0) else tuple(range(len(node.shape())))


def _kept(node: OnnxNode, reduced: str, axes: Sequence[int]) -> str:
    """Drop the reduced axes where the node asks for it."""
    if node.attributes.get("keepdims", 1):
        return reduced
    shape = node.build.shapes[reduced]
    return node.build.reshape(reduced, [size for axis, size in enumerate(shape) if axis not in axes])


def _reduce(node: OnnxNode, reduction: _Reduction) -> Sequence[str]:
    kind, axes = check_kinds(node, ("f32", "i32", "bool"), of=[0]), _axes(node)
    if kind == "i32":
        return [_reduced_integers(node, reduction, axes)]
    x = as_floats(node, node.tensor())
    if not axes:  # noop_with_empty_axes, or a tensor without axes
        return [node.build.add(Elementwise(reduction.of_one), x)]
    y = _kept(node, row(node, reduction.function, axes, x), axes)
    return [node.build.apply("cast_to_bool", y) if kind == "bool" else y]


def _reduced_integers(node: OnnxNode, reduction: _Reduction, axes: Sequence[int] | None) -> str:
    function = reduction.function
    if function not in ("max", "min", "sum", "l1", "sum_square"):
        raise NotTaken(f"{function} of integers is not supported")
    x = node.build.add(Elementwise(reduction.of_one), node.tensor())
    if not axes:
        return x
    best = function in ("max", "min")
    return _kept(node, integer_best(node, function, axes, x) if best else integer_sum(node, "sum", axes, x), axes)


def _arg(node: OnnxNode, function: str) -> Sequence[str]:
    kind, axis = check_kinds(node, ("f32", "i32"), of=[0]), node.axis(node.attributes.get("axis", 0))
    find = integer_best if kind == "i32" else row
    last = bool(node.attributes.get("select_last_index", 0))
    return [_kept(node, find(node, function, [axis], node.tensor(), last), [axis])]


def _softmax_axes(node: OnnxNode) -> tuple[int, ...]:
    """Before opset 13 all axes from ``axis`` on are one."""
    if node.opset < 13:
        return _from_axis(node, 1)
    return (node.axis(node.attributes.get("axis", -1)),)


def _softmax(node: OnnxNode, function: str) -> Sequence[str]:
    return [row(node, function, _softmax_axes(node), _floats(node))]


def _hardmax(node: OnnxNode) -> Sequence[str]:
    """1 where the largest value is first, 0 elsewhere."""
    axes, shape = _softmax_axes(node), node.shape()
    best = row(node, "argmax", axes, _floats(node), 0)
    sizes = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    places = node.build.constant(np.arange(prod(sizes), dtype=np.int32).reshape(sizes))
    return [node.build.add(Elementwise(("where", ("equal", 0, 1), 1.0, 0.0)), places, best)]


def _scaled(node: OnnxNode, normal: str, scale: str, bias: str | None) -> str:
    """normal · scale + bias."""
    if bias is None:
        return node.build.apply("mul", normal, scale)
    return node.build.add(Elementwise(("add", ("mul", 0, 1), 2)), normal, scale, bias)


def _epsilon(node: OnnxNode) -> float:
    return float(node.attributes.get("epsilon", 1e-5))


def _check_channels(node: OnnxNode, wanted: int) -> None:
    for index in (1, 2):
        if node.shape(index) != (wanted,):
            raise NotTaken(f"its scale or bias has shape {list(node.shape(index))}, [{wanted}] is supported")


def _instance_norm(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    shape = node.shape()
    _check_channels(node, shape[1])
    normal = row(node, "normalize", range(2, len(shape)), node.tensor(), _epsilon(node))
    scale, bias = (per_channel(node, index, len(shape) - 2) for index in (1, 2))
    return [_scaled(node, normal, scale, bias)]


def _group_norm(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    shape, groups = node.shape(), int(node.attributes["num_groups"])
    if groups < 1 or shape[1] % groups:
        raise NotTaken(f"{shape[1]} channels do not divide into {groups} groups")
    _check_channels(node, shape[1])
    rows = node.build.reshape(node.tensor(), (shape[0], groups, prod(shape[1:]) // groups))
    normal = node.build.reshape(row(node, "normalize", [2], rows, _epsilon(node)), shape)
    return [_scaled(node, normal, *(per_channel(node, index, len(shape) - 2) for index in (1, 2)))]


def _layer_norm(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    x, axes = node.tensor(), _from_axis(node, -1)
    normal = row(node, "normalize", axes, x, _epsilon(node))
    y = _scaled(node, normal, node.tensor(1), node.tensor(2) if node.has(2) else None)
    if not any(node.proto.output[1:]):
        return [y]
    mean = row(node, "mean", axes, x)
    variance = _variance(node, x, mean, axes)
    return [y, mean, node.build.add(Elementwise(("reciprocal", ("sqrt", ("add", 0, _epsilon(node))))), variance)]


def _variance(node: OnnxNode, x: str, mean: str, axes: Sequence[int]) -> str:
    centred = node.build.apply("sub", x, mean)
    return row(node, "mean", axes, node.build.apply("mul", centred, centred))


def _rms_norm(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    x = node.tensor()
    square = row(node, "mean", _from_axis(node, -1), node.build.apply("mul", x, x))
    expression = ("mul", ("div", 0, ("sqrt", ("add", 1, _epsilon(node)))), 2)
    return [node.build.add(Elementwise(expression), x, square, node.tensor(1))]


def _mean_variance_norm(node: OnnxNode) -> Sequence[str]:
    x = _floats(node)
    axes = sorted({node.axis(axis) for axis in node.attributes.get("axes", (0, 2, 3))})
    mean = row(node, "mean", axes, x)
    normal = ("div", ("sub", 0, 1), ("add", ("sqrt", 2), _LEAST_DEVIATION))
    return [node.build.add(Elementwise(normal), x, mean, _variance(node, x, mean, axes))]


def _lp_norm(node: OnnxNode) -> Sequence[str]:
    """x / |x|, 0 where the norm is 0."""
    p = node.attributes.get("p", 2)
    if p not in (1, 2):
        raise NotTaken(f"p is {p}, allowed are 1 and 2")
    x, axis = _floats(node), node.axis(node.attributes.get("axis", -1))
    norm = row(node, f"l{p}", [axis], x)
    return [node.build.add(Elementwise(("div", 0, ("where", ("equal", 1, 0.0), 1.0, 1))), x, norm)]


def _lrn(node: OnnxNode) -> Sequence[str]:
    """x / (bias + alpha · mean of the squares of ``size`` channels around, those outside being 0) ^ beta."""
    x, shape = _floats(node), node.shape()
    size = int(node.attributes["size"])
    before = (size - 1) // 2
    pads = (before, 0, size - 1 - before, 0)
    planes = node.build.reshape(node.build.apply("mul", x, x), (shape[0], 1, shape[1], prod(shape[2:])))
    pool = WindowPool("average", (size, 1), (1, 1), pads, (1, 1), count_pads=pads)
    mean = node.build.reshape(node.build.add(pool, planes), shape)
    bias, alpha, beta = (
        float(node.attributes.get(name, default)) for name, default in (("bias", 1.0), ("alpha", 1e-4), ("beta", 0.75))
    )
    return [node.build.add(Elementwise(("div", 0, ("pow", ("add", bias, ("mul", 1, alpha)), beta))), x, mean)]


def _top_k(node: OnnxNode) -> Sequence[str]:
    """k is an attribute before opset 10; sorted=0 allows any order, the sorted one too."""
    k = node.constant(1, "k").reshape(-1) if node.has(1) else [node.attributes["k"]]
    axis, x = node.axis(node.attributes.get("axis", -1)), _floats(node)
    if not 1 <= int(k[0]) <= node.shape()[axis]:
        raise NotTaken(f"k is {int(k[0])}, allowed is 1 to {node.shape()[axis]}")
    places = row(node, "top", [axis], x, int(k[0]), node.attributes.get("largest", 1))
    return [node.build.add(GatherElements(axis), x, places), places]


def _cumulative_sum(node: OnnxNode) -> Sequence[str]:
    add = integer_sum if check_kinds(node, ("f32", "i32"), of=[0]) == "i32" else row
    axis = node.axis(sum(node.integers(1, "axis")[:1]))
    exclusive, reverse = (node.attributes.get(name, 0) for name in ("exclusive", "reverse"))
    return [add(node, "cumulative_sum", [axis], node.tensor(), exclusive, reverse)]


ROW_RULES: Mapping[str, GeneralRule] = {
    **{name: partial(_reduce, reduction=reduction) for name, reduction in _REDUCTIONS.items()},
    "ArgMax": partial(_arg, function="argmax"),
    "ArgMin": partial(_arg, function="argmin"),
    "CumSum": _cumulative_sum,
    "GroupNormalization": _group_norm,
    "Hardmax": _hardmax,
    "InstanceNormalization": _instance_norm,
    "LRN": _lrn,
    "LayerNormalization": _layer_norm,
    "LogSoftmax": partial(_softmax, function="log_softmax"),
    "LpNormalization": _lp_norm,
    "MeanVarianceNormalization": _mean_variance_norm,
    "RMSNormalization": _rms_norm,
    "Softmax": partial(_softmax, function="softmax"),
    "TopK": _top_k,
}
