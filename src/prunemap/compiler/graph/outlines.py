"""Outlines: arrays with the rank of a tensor and size 1 along the axes that they do not change along.

What is known, or asked, of the elements of a tensor is mostly one value per channel: an outline holds just that, and is
broadcast only where an op mixes axes. Shapes here are those of the tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.ir import Remap, Shape

Outline = NDArray[Any]


def uniform(shape: Shape, value: Any) -> Outline:
    """Return the outline of a tensor that has one value everywhere."""
    return np.full((1,) * len(shape), value)


def of_axis(values: NDArray[Any], rank: int, axis: int = 1) -> Outline:
    """Return the outline of a tensor that changes along one axis."""
    return values.reshape(*(-1 if each == axis else 1 for each in range(rank)))


def shortened(outline: Outline) -> Outline:
    """Return it with size 1 along the axes that it does not change along."""
    for axis in range(outline.ndim):
        first = outline.take([0], axis)
        if outline.shape[axis] > 1 and ((first == outline) | (np.isnan(first) & np.isnan(outline))).all():
            outline = first
    return outline


def reshaped(outline: Outline, shape: Shape, new: Shape) -> Outline:
    """Return the outline of the tensor with the same elements in row-major order under another shape."""
    sizes: list[int] = []
    full: list[int] = []
    for old_axes, new_axes in _matching_axes(shape, new):
        changes = any(outline.shape[axis] > 1 for axis in old_axes)
        full += [shape[axis] if changes else 1 for axis in old_axes]
        sizes += [new[axis] if changes else 1 for axis in new_axes]
    return shortened(np.broadcast_to(outline, full).reshape(sizes))


def _matching_axes(shape: Shape, new: Shape) -> Iterator[tuple[range, range]]:
    """Yield the smallest runs of axes of both shapes that hold the same elements."""
    old_at = new_at = 0
    while old_at < len(shape) or new_at < len(new):
        old_end, new_end = min(old_at + 1, len(shape)), min(new_at + 1, len(new))
        sizes = [int(np.prod(shape[old_at:old_end])), int(np.prod(new[new_at:new_end]))]
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                sizes[0] *= shape[old_end]
                old_end += 1
            else:
                sizes[1] *= new[new_end]
                new_end += 1
        yield range(old_at, old_end), range(new_at, new_end)
        old_at, new_at = old_end, new_end


def moved(op: Remap, outline: Outline, shape: Shape) -> Outline:
    """Return the outline of what a remap makes of a tensor of this shape."""
    outline = outline.transpose(op.axes)
    sizes = [shape[axis] for axis in op.axes]
    for axis, (table, size) in enumerate(zip(op.tables, sizes, strict=True)):
        outside = table < 0
        if outline.shape[axis] == 1 and not outside.any():
            continue
        whole = np.repeat(outline, size, axis) if outline.shape[axis] == 1 else outline
        fill = np.asarray(op.fill, outline.dtype)
        outline = np.where(of_axis(outside, outline.ndim, axis), fill, whole.take(np.maximum(table, 0), axis))
    return shortened(outline)


def moved_back(op: Remap, outline: Outline, shape: Shape) -> Outline:
    """Return which elements of a tensor of this shape a remap puts to where ``outline`` is true."""
    for axis, table in enumerate(op.tables):
        size = shape[op.axes[axis]]
        if outline.shape[axis] == 1 and len(np.unique(table[table >= 0])) == size:
            continue
        along = np.moveaxis(np.broadcast_to(outline, _with(outline.shape, axis, len(table))), axis, 0)
        taken = np.zeros((size, *along.shape[1:]), bool)
        np.logical_or.at(taken, table[table >= 0], along[table >= 0])
        outline = np.moveaxis(taken, 0, axis)
    return shortened(outline.transpose(np.argsort(op.axes)))


def joined(outlines: Sequence[Outline], shapes: Sequence[Shape], axis: int) -> Outline:
    """Return the outline of the tensors one after the other."""
    others = np.broadcast_shapes(*(_with(each.shape, axis, 1) for each in outlines))
    parts = [
        np.broadcast_to(each, _with(others, axis, shape[axis])) for each, shape in zip(outlines, shapes, strict=True)
    ]
    return shortened(np.concatenate(parts, axis))


def fitted(outline: Outline, shape: Shape) -> Outline:
    """Return where a tensor is used that is broadcast to a tensor used as ``outline`` says."""
    fitting = np.asarray(outline.any(tuple(range(outline.ndim - len(shape)))))
    once = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return np.asarray(fitting.any(once, keepdims=True))


def _with(shape: Sequence[int], axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])
