"""Weights that are not numbers: a network that has them returns NaN, so they are reported, and not compiled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from math import isfinite

import numpy as np
import onnx

from prunemap.compiler.graph.ir import Affine, AnyArray, Conv, Graph, Linear, Recurrent
from prunemap.compiler.onnx.file import constants_of, node_name
from prunemap.core.inspection import NotFinite
from prunemap.errors import Problems

_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "LSTM": (1, 2, 3, 7),
    "GRU": (1, 2, 3),
    "BatchNormalization": (1, 2, 3, 4),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
}
"""Which inputs are weights. Elsewhere, as in the masks of attention, an infinite constant is meant."""


def find_not_finite(model: onnx.ModelProto) -> list[NotFinite]:
    """Return the stored weights that hold NaN or infinite values, in graph order."""
    constants, found = constants_of(model), {}
    for node in model.graph.node:
        for name in (node.input[i] for i in _WEIGHTS.get(node.op_type, ()) if i < len(node.input)):
            value = constants.get(name)
            if value is not None and name not in found and not _is_finite(value):
                nan, infinite = int(np.isnan(value).sum()), int(np.isinf(value).sum())
                found[name] = NotFinite(tensor=name, node=node_name(node), nan=nan, infinite=infinite, size=value.size)
    return list(found.values())


def check_finite(model: onnx.ModelProto) -> None:
    """Raise ``UserError`` for weights that hold NaN or infinite values; all of them are listed."""
    problems = Problems("model: these weights are NaN or infinite, so would be what the network returns")
    problems.extend(
        f"{each.tensor} of {each.node}: {each.nan} NaN, {each.infinite} infinite, of {each.size}"
        for each in find_not_finite(model)
    )
    problems.raise_if_any()


def check_folded(graph: Graph) -> None:
    """Raise ``UserError`` for weights that overflow, or get NaN, once what follows a layer is folded into it.

    A bias may be infinite: masks of attention are added to one.
    """
    problems = Problems("model: these weights overflow when the nodes around their layer are folded into them")
    problems.extend(f"{node.name}" for node in graph.nodes if any(_overflown(node.op)))
    problems.raise_if_any()


def _overflown(op: object) -> Iterator[bool]:
    """Whether each array of an op is one that no network means."""
    if isinstance(op, Conv | Linear | Affine | Recurrent):
        for each in fields(op):
            value = getattr(op, each.name)
            if isinstance(value, np.ndarray) and not _is_finite(value):
                yield each.name == "weight" or bool(np.isnan(value).any())


def _is_finite(value: AnyArray) -> bool:
    if value.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        return isfinite(float(value.sum())) or bool(np.isfinite(value).all())  # one pass, without an array
