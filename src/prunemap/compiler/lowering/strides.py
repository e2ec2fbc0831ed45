"""Tensors as places in memory: one stride per axis, axes joined where all operands of a step allow it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from prunemap.compiler.graph.ir import Shape
from prunemap.compiler.lowering.layout import Layout

Strides = tuple[int, ...]


def dense_strides(shape: Shape) -> Strides:
    """Return the strides of a row-major array."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def strides_of(layout: Layout, shape: Shape, image: int) -> Strides:
    """Return the stride of every axis of a tensor, in floats.

    Args:
        image: floats from one image to the next.
    """
    if layout.is_row:
        return dense_strides(shape)
    return (image, layout.plane, layout.pitch, 1)[: len(shape)]


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


_SHORT, _LONG = 8, 16


def longest_last(sizes: Shape, operands: Sequence[Strides]) -> tuple[Shape, list[Strides]]:
    """Move the axis that a step should walk along innermost to the end, where the last one is short.

    That is a long one along which some operand is dense, else the longest.
    """
    places = [*range(len(sizes))]
    dense = [axis for axis in places if sizes[axis] >= _LONG and any(each[axis] == 1 for each in operands)]
    best = max(dense or places, key=lambda axis: (sizes[axis], axis))
    if sizes[-1] < _SHORT and sizes[best] >= _LONG:
        places.remove(best)
        places.append(best)
    return tuple(sizes[axis] for axis in places), [tuple(each[axis] for axis in places) for each in operands]


def as_transposing(sizes: Shape, out: Strides, source: Strides) -> tuple[Shape, list[Strides]] | None:
    """Return the axes of a copy with the one along which ``source`` is dense before the last, along which ``out`` is.

    None for a copy that does not change neighbours in memory, or that has too few of them.
    """
    dense = [axis for axis, stride in enumerate(source[:-1]) if stride == 1]
    if out[-1] != 1 or source[-1] == 1 or not dense:
        return None
    pairs = sizes[-1] == out[dense[-1]] == 2
    if sizes[dense[-1]] < 4 or (sizes[-1] < 4 and not pairs):
        return None
    places = [axis for axis in range(len(sizes) - 1) if axis != dense[-1]] + [dense[-1], len(sizes) - 1]
    return tuple(sizes[axis] for axis in places), [tuple(each[axis] for axis in places) for each in (out, source)]
