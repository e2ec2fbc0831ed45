"""LAYER_RULES: layers with weights, and products of computed tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from prunemap.compiler.graph.ir import Array, Linear, MatMul
from prunemap.compiler.onnx.node import GeneralRule, NotTaken, OnnxNode
from prunemap.compiler.onnx.rules.conv_transpose import conv_transpose
from prunemap.compiler.onnx.rules.convolution import conv
from prunemap.compiler.onnx.rules.elementwise import check_kinds
from prunemap.compiler.onnx.rules.movement import transposed


def _linear(node: OnnxNode, x: str, weight: Array, bias: Array | None = None) -> str:
    """Run a linear layer on the last axis of a tensor: every place of the other axes is an item of its batch.

    Args:
        weight: (O, I).
    """
    shape = node.build.shapes[x]
    if not shape:
        raise NotTaken("its first factor has no axes")
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    rows = node.build.reshape(x, (prod(shape[:-1]), shape[-1]))
    y = node.build.add_layer(Linear(np.ascontiguousarray(weight), bias), rows)
    return node.build.reshape(y, (*shape[:-1], len(weight)))


def _matmul(node: OnnxNode) -> Sequence[str]:
    check_kinds(node)
    if node.is_constant(1) and len(node.shape(1)) == 2:
        return [_linear(node, node.tensor(0), node.floats(1, "second factor").T)]
    return [_product(node, node.tensor(0), node.tensor(1))]


def _product(node: OnnxNode, left: str, right: str) -> str:
    """Multiply computed tensors as NumPy does: one without a row or column axis gets it for the time."""
    a, b = (node.build.shapes[each] for each in (left, right))
    if not a or not b or a[-1] != b[max(len(b) - 2, 0)]:
        raise NotTaken(f"a product of {list(a)} and {list(b)}")
    left = left if len(a) > 1 else node.build.reshape(left, (1, *a))
    right = right if len(b) > 1 else node.build.reshape(right, (*b, 1))
    y = node.build.add(MatMul(), left, right)
    shape = node.build.shapes[y]
    rows, columns = shape[-2:-1] if len(a) > 1 else (), shape[-1:] if len(b) > 1 else ()
    return node.build.reshape(y, (*shape[:-2], *rows, *columns))


def _gemm(node: OnnxNode) -> Sequence[str]:
    """alpha · A · B + beta · C, where A and B may be transposed and C is broadcast."""
    check_kinds(node)
    if len(node.shape(0)) != 2 or len(node.shape(1)) != 2:
        raise NotTaken(f"a product of {list(node.shape(0))} and {list(node.shape(1))}, which are not both matrices")
    alpha, beta = (float(node.attributes.get(name, 1)) for name in ("alpha", "beta"))
    left = transposed(node, node.tensor(0), (1, 0)) if node.attributes.get("transA", 0) else node.tensor(0)
    if node.is_constant(1):
        weight = node.floats(1, "weight")
        weight = weight if node.attributes.get("transB", 0) else weight.T
        y = _linear(node, left, np.float32(alpha) * weight)
    else:
        right = transposed(node, node.tensor(1), (1, 0)) if node.attributes.get("transB", 0) else node.tensor(1)
        y = _product(node, left, right)
        y = y if alpha == 1 else node.build.apply("mul", y, alpha)
    if not node.has(2) or beta == 0:
        return [y]
    added = node.tensor(2) if beta == 1 else node.build.apply("mul", node.tensor(2), beta)
    return [node.build.apply("add", y, added)]


LAYER_RULES: Mapping[str, GeneralRule] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
