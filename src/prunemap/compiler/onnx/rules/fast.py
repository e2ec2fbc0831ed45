"""FAST_RULES: which ONNX nodes are ops on maps and vectors, that have kernels of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from prunemap.compiler.graph.ir import (
    Add,
    Affine,
    Array,
    AveragePool,
    Clamp,
    Concat,
    Flatten,
    GlobalAveragePool,
    Identity,
    Linear,
    MaxPool,
    Op,
    Range,
    Shape,
)
from prunemap.compiler.onnx.node import FastRule, NotTaken, OnnxNode, Taken, X
from prunemap.compiler.onnx.rules.convolution import conv_op
from prunemap.compiler.onnx.rules.windows import four, pair, read_window, with_ceil


def _conv(node: OnnxNode) -> Taken:
    weight = node.floats(1, "weight")
    if weight.ndim != 4:
        raise NotTaken(f"a {weight.ndim - 2}-D convolution, only 2-D is supported")
    window = read_window(node.attributes, weight.shape[2:], node.map_size())
    bias = node.floats(2, "bias") if node.has(2) else np.zeros(len(weight), np.float32)
    return conv_op(weight, bias, window, node.attributes.get("group", 1)), X


def _gemm(node: OnnxNode) -> Taken:
    weight = node.floats(1, "weight")
    if node.attributes.get("transA", 0):
        raise NotTaken("transA is not supported")
    if weight.ndim != 2:
        raise NotTaken(f"its weight has shape {list(weight.shape)}, only matrices are supported")
    weight = weight if node.attributes.get("transB", 0) else weight.T
    alpha, beta = np.float32(node.attributes.get("alpha", 1)), np.float32(node.attributes.get("beta", 1))
    bias = node.floats(2, "bias") if node.has(2) else np.zeros(1, np.float32)
    if bias.ndim > 1 and bias.shape[0] != 1:
        raise NotTaken(f"its bias of shape {list(bias.shape)} is not one value per output")
    return Linear(alpha * weight, np.broadcast_to(beta * bias.reshape(-1), (len(weight),)).copy()), X


def _matmul(node: OnnxNode) -> Taken:
    weight = node.floats(1, "second factor")
    if weight.ndim != 2 or len(node.shape()) != 2:
        raise NotTaken(f"a product of {list(node.shape())} and {list(weight.shape)}, only matrices are supported")
    return Linear(np.ascontiguousarray(weight.T), np.zeros(weight.shape[1], np.float32)), X


def _batch_norm(node: OnnxNode) -> Taken:
    if node.attributes.get("training_mode", 0) or any(node.proto.output[1:]):
        raise NotTaken("only inference is supported, it is in training mode")
    scale, bias, mean, variance = (
        node.floats(i, what) for i, what in enumerate(("scale", "bias", "mean", "variance"), start=1)
    )
    factor = scale / np.sqrt(variance + np.float32(node.attributes.get("epsilon", 1e-5)))
    return Affine(factor, bias - mean * factor), X


def _per_channel(value: Array, shape: Shape) -> Array | None:
    """Return a constant operand as one value per channel, None if it is not that."""
    channels = shape[1]
    if value.ndim > len(shape):
        return None
    aligned = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    if value.size == 1:
        return np.full(channels, value.reshape(-1)[0], np.float32)
    if aligned.shape == (1, channels) + (1,) * (len(shape) - 2):
        return aligned.reshape(-1)
    return None


def _with_constant(node: OnnxNode, make: Callable[[Array], Op]) -> Taken | None:
    """Return the op for an operand that is constant per channel, None if both operands are computed."""
    for index, other in ((1, 0), (0, 1)):
        if node.is_constant(index):
            value = _per_channel(node.floats(index, "operand"), node.shape(other))
            if value is None:
                raise NotTaken("its constant operand is not one value per channel")
            return make(value), (other,)
    return None


def _add(node: OnnxNode) -> Taken:
    taken = _with_constant(node, lambda value: Affine(np.ones_like(value), value))
    if taken is None and node.shape(0) != node.shape(1):
        raise NotTaken(f"a sum of {list(node.shape(0))} and {list(node.shape(1))}; broadcasting is not supported")
    return taken or (Add(), (0, 1))


def _mul(node: OnnxNode) -> Taken:
    taken = _with_constant(node, lambda value: Affine(value, np.zeros_like(value)))
    if taken is None:
        raise NotTaken("a product of two computed tensors is not supported")
    return taken


def _clip(node: OnnxNode) -> Taken:
    low = node.floats(1, "minimum") if node.has(1) else np.float32(node.attributes.get("min", -np.inf))
    high = node.floats(2, "maximum") if node.has(2) else np.float32(node.attributes.get("max", np.inf))
    if low.size != 1 or high.size != 1 or np.isnan(low).any() or np.isnan(high).any():
        raise NotTaken("its minimum or maximum is not one number")
    return Clamp(Range(low.item(), high.item())), X


def _dropout(node: OnnxNode) -> Taken:
    if node.has(2) and node.constant(2, "training_mode").any():
        raise NotTaken("only inference is supported, it is in training mode")
    return Identity(), X


def _concat(node: OnnxNode) -> Taken:
    count = len(node.proto.input)
    if any(node.is_constant(index) for index in range(count)):
        raise NotTaken("a constant input is not supported")
    rank = len(node.shape())
    if rank not in (2, 4) or node.attributes["axis"] % rank != 1:
        raise NotTaken(f"axis {node.attributes['axis']} of {rank}; only channels can be concatenated")
    return Concat(), tuple(range(count))


def _pool(node: OnnxNode, kind: type[MaxPool] | type[AveragePool]) -> Taken:
    size = node.map_size()
    kernel = node.attributes["kernel_shape"]
    if len(kernel) != 2 or len(node.proto.output) > 1:
        raise NotTaken("only 2-D pooling with one output is supported")
    window = read_window(node.attributes, kernel, size)
    if window.dilation != (1, 1):
        raise NotTaken("a dilated pool is not supported")
    if node.attributes.get("ceil_mode", 0):
        if with_ceil(window, size) != window and node.attributes.get("count_include_pad", 0):
            raise NotTaken("ceil_mode together with count_include_pad is not supported")
        window = with_ceil(window, size)
    shape = (pair(window.kernel), pair(window.stride), four(window.pads))
    if kind is MaxPool:
        return MaxPool(*shape), X
    return AveragePool(*shape, bool(node.attributes.get("count_include_pad", 0))), X


def _reduce_mean(node: OnnxNode) -> Taken:
    axes = node.numbers(1, "axes") or []
    if len(node.shape()) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        raise NotTaken("only the mean over height and width is supported")
    return GlobalAveragePool(flat=not node.attributes.get("keepdims", 1)), X


def _flatten(node: OnnxNode) -> Taken:
    if node.attributes.get("axis", 1) != 1:
        raise NotTaken("only axis=1 is supported")
    return (Flatten() if len(node.shape()) == 4 else Identity()), X


def _reshape(node: OnnxNode) -> Taken:
    shape, wanted = node.shape(), node.integers(1, "shape")
    rest = int(np.prod(shape[1:]))
    first_kept = len(wanted) == 2 and wanted[0] in (shape[0], 0, -1)
    if first_kept and wanted[1] in (rest, -1) and wanted.count(-1) < 2:
        return (Flatten() if len(shape) == 4 else Identity()), X
    raise NotTaken(f"a reshape of {list(shape)} to {wanted}")


def _squeeze(node: OnnxNode) -> Taken:
    axes = node.numbers(1, "axes") or []
    if len(node.shape()) != 4 or node.shape()[2:] != (1, 1) or sorted(axis % 4 for axis in axes) != [2, 3]:
        raise NotTaken("only squeezing (N, C, 1, 1) to (N, C) is supported")
    return Flatten(), X


FAST_RULES: Mapping[str, FastRule] = {
    "Add": _add,
    "AveragePool": lambda node: _pool(node, AveragePool),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node: (GlobalAveragePool(), X),
    "Identity": lambda node: (Identity(), X),
    "MatMul": _matmul,
    "MaxPool": lambda node: _pool(node, MaxPool),
    "Mul": _mul,
    "ReduceMean": _reduce_mean,
    "Relu": lambda node: (Clamp(Range(low=0.0)), X),
    "Reshape": _reshape,
    "Squeeze": _squeeze,
}
