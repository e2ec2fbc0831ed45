"""Tensors as places in memory: one stride per axis, axes joined where all operands of a step allow it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from prunemap.compiler.ir import Shape
from prunemap.compiler.layout import Layout

Strides = tuple[int, ...]


def dense_strides(shape: Shape) -> Strides:
    """Return the strides of a row-major array."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def strides_of(layout: Layout, shape: Shape) -> Strides:
    """Return the stride of every axis of a tensor, in floats."""
    if layout.is_row:
        return dense_strides(shape)
    return (layout.image, layout.plane, layout.pitch, 1)[: len(shape)]


def broadcast_strides(strides: Strides, shape: Shape, to: Shape) -> Strides:
    """Return the strides of a tensor that is broadcast: 0 where its only element serves for all."""
    missing = len(to) - len(shape)
    kept = (
        0 if size == 1 and of != 1 else stride for stride, size, of in zip(strides, shape, to[missing:], strict=True)
    )
    return (*(0,) * missing, *kept)


def joined(sizes: Shape, operands: Sequence[Strides]) -> tuple[Shape, list[Strides]]:
    """Drop axes of size 1, and make one of neighbouring axes that every operand walks over as one."""
    kept: list[tuple[int, list[int]]] = []
    for axis, size in enumerate(sizes):
        if size == 1:
            continue
        strides = [operand[axis] for operand in operands]
        if kept and all(outer == inner * size for outer, inner in zip(kept[-1][1], strides, strict=True)):
            kept[-1] = (kept[-1][0] * size, strides)
        else:
            kept.append((size, strides))
    if not kept:
        kept = [(1, [1] * len(operands))]
    by_operand = np.array([strides for _, strides in kept], np.int64).T.tolist()
    return tuple(size for size, _ in kept), [tuple(each) for each in by_operand]
