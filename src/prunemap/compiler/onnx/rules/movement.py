"""MOVEMENT_RULES: ONNX nodes that move elements: by known places a Remap, by computed ones a gather or scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.graph.expression import DTYPES
from prunemap.compiler.graph.ir import (
    MAX_ELEMENTS,
    Gather,
    GatherElements,
    GatherND,
    Join,
    Remap,
    ScatterElements,
    ScatterND,
    Shape,
)
from prunemap.compiler.onnx.node import GeneralRule, NotTaken, OnnxNode

Reduction = Literal["none", "add", "mul", "max", "min"]
Places = NDArray[np.int64]
"""Where along one axis of the input each element of the output lies; -1 = nowhere."""


def taken_at(node: OnnxNode, tensor: str, places: Mapping[int, Places], fill: float = 0.0, output: int = 0) -> str:
    """Read some axes of a tensor at known places, the others as they are; return the name of the result.

    Args:
        output: which of the node's outputs this is, in case that it is empty.
    """
    shape = node.build.shapes[tensor]
    tables = tuple(places.get(axis, np.arange(size)) for axis, size in enumerate(shape))
    if all(np.array_equal(table, np.arange(size)) for table, size in zip(tables, shape, strict=True)):
        return tensor
    if not all(map(len, tables)):
        return node.empty(tuple(map(len, tables)), output)
    return node.build.add(Remap(tuple(range(len(shape))), tables, fill), tensor)


def transposed(node: OnnxNode, tensor: str, axes: Sequence[int]) -> str:
    """Reorder the axes of a tensor; return the name of the result."""
    shape = node.build.shapes[tensor]
    if list(axes) == list(range(len(shape))):
        return tensor
    return node.build.add(Remap(tuple(axes), tuple(np.arange(shape[axis]) for axis in axes)), tensor)


def _sizes(node: OnnxNode, index: int, what: str) -> list[int]:
    """Return integers that ask for elements: none may ask for more than a tensor can have."""
    asked = node.numbers(index, what) or []
    if max(map(abs, asked), default=0) > MAX_ELEMENTS:
        raise NotTaken(f"its {what} {asked} ask for more than {MAX_ELEMENTS} elements")
    return asked


def _concat(node: OnnxNode) -> Sequence[str]:
    axis = node.axis(node.attributes["axis"])
    shapes = [node.shape(index) for index in range(node.count)]
    if len({(len(shape), *shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise NotTaken(f"concatenates {list(map(list, shapes))} along axis {axis}")
    filled = [index for index in range(node.count) if node.shape(index)[axis]]
    tensors = [node.tensor(index) for index in filled]
    return [node.build.add(Join(axis), *tensors)] if len(tensors) > 1 else tensors


def _split(node: OnnxNode) -> Sequence[str]:
    axis = node.axis(node.attributes.get("axis", 0))
    size, count = node.shape()[axis], len(node.proto.output)
    sizes = node.numbers(1, "split")
    if sizes is None:
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 0:
        raise NotTaken(f"parts of {sizes} along an axis of {size}")
    x = node.tensor()
    parts = [np.arange(end - part, end) for part, end in zip(sizes, np.cumsum(sizes), strict=True)]
    return [taken_at(node, x, {axis: part}, output=i) if node.proto.output[i] else "" for i, part in enumerate(parts)]


def _slice(node: OnnxNode) -> Sequence[str]:
    starts, ends = node.numbers(1, "starts"), node.numbers(2, "ends")
    if starts is None or ends is None:
        raise NotTaken("its starts or ends are missing")
    axes = node.numbers(3, "axes") or list(range(len(starts)))
    steps = node.numbers(4, "steps") or [1] * len(starts)
    places = {}
    for axis, start, end, step in zip(map(node.axis, axes), starts, ends, steps, strict=True):
        places[axis] = np.arange(node.shape()[axis])[start:end:step]
    return [taken_at(node, node.tensor(), places)]


def _pad(node: OnnxNode) -> Sequence[str]:
    pads = _sizes(node, 1, "pads")
    axes = node.numbers(3, "axes") or list(range(len(node.shape())))
    mode = node.attributes.get("mode", b"constant").decode()
    if mode not in ("constant", "reflect", "edge", "wrap") or len(pads) != 2 * len(axes):
        raise NotTaken(f"{len(pads)} pads of mode {mode!r} for {len(axes)} axes")
    fill = node.constant(2, "constant_value").item() if node.has(2) else node.attributes.get("value", 0.0)
    places = {
        axis: _padded(node.shape()[axis], before, after, mode)
        for axis, before, after in zip(map(node.axis, axes), pads[: len(axes)], pads[len(axes) :], strict=True)
    }
    return [taken_at(node, node.tensor(), places, float(fill))]


def _padded(size: int, before: int, after: int, mode: str) -> Places:
    """Negative pads cut first; what is left is padded."""
    left: Places = np.arange(size)[max(0, -before) : size - max(0, -after)]
    widths = (max(0, before), max(0, after))
    if not left.size:
        raise NotTaken(f"pads of {before} and {after} leave nothing of {size}")
    if mode == "constant":
        return np.pad(left, widths, constant_values=-1)
    return np.pad(left, widths, mode=mode)  # type: ignore[call-overload, no-any-return]  # one of its names


def _transpose(node: OnnxNode) -> Sequence[str]:
    axes = node.attributes.get("perm", range(len(node.shape()))[::-1])
    return [transposed(node, node.tensor(), [node.axis(axis) for axis in axes])]


def _reshape(node: OnnxNode) -> Sequence[str]:
    shape, wanted = node.shape(), node.numbers(1, "shape") or []
    if not node.attributes.get("allowzero", 0):
        if 0 in wanted[len(shape) :]:
            raise NotTaken(f"a reshape of {list(shape)} to {wanted}: a 0 means the size of an axis that is not there")
        wanted = [shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    known = prod(size for size in wanted if size != -1)
    if wanted.count(-1) == 1 and known:
        wanted[wanted.index(-1)] = prod(shape) // known
    if prod(wanted) != prod(shape) or min(wanted, default=1) < 1:
        why = f"{prod(shape)} values are not {prod(wanted)}; the file may be for another batch"
        raise NotTaken(f"a reshape of {list(shape)} to {wanted}: {why}")
    return [node.build.reshape(node.tensor(), wanted)]


def _flatten(node: OnnxNode) -> Sequence[str]:
    shape, axis = node.shape(), node.attributes.get("axis", 1)
    return [node.build.reshape(node.tensor(), (prod(shape[:axis]), prod(shape[axis:])))]


def _squeeze(node: OnnxNode) -> Sequence[str]:
    shape, given = node.shape(), node.numbers(1, "axes")
    axes = [i for i, size in enumerate(shape) if size == 1] if given is None else [node.axis(axis) for axis in given]
    if any(shape[axis] != 1 for axis in axes):
        raise NotTaken(f"squeezes axes {axes} of {list(shape)}")
    return [node.build.reshape(node.tensor(), [size for axis, size in enumerate(shape) if axis not in axes])]


def _unsqueeze(node: OnnxNode) -> Sequence[str]:
    shape, given = list(node.shape()), node.numbers(1, "axes") or []
    for axis in sorted(node.axis(each, len(shape) + len(given)) for each in given):
        shape.insert(axis, 1)
    return [node.build.reshape(node.tensor(), shape)]


def _expand(node: OnnxNode) -> Sequence[str]:
    shape = node.shape()
    wanted = np.broadcast_shapes(shape, tuple(_sizes(node, 1, "shape")))
    aligned = (1,) * (len(wanted) - len(shape)) + shape
    places = {axis: np.zeros(size, np.int64) for axis, size in enumerate(wanted) if size != aligned[axis]}
    return [taken_at(node, node.build.reshape(node.tensor(), aligned), places)]


def _tile(node: OnnxNode) -> Sequence[str]:
    repeats = _sizes(node, 1, "repeats")
    places = {
        axis: np.tile(np.arange(size), times)
        for axis, (size, times) in enumerate(zip(node.shape(), repeats, strict=True))
    }
    return [taken_at(node, node.tensor(), places)]


def _gather(node: OnnxNode) -> Sequence[str]:
    shape, axis = node.shape(), node.axis(node.attributes.get("axis", 0))
    if not node.is_constant(1):
        return [node.build.add(Gather(axis), node.tensor(), node.tensor(1))]
    indices = node.constant(1, "indices")
    places = _counted_from_start(indices.reshape(-1), shape[axis])
    result = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    picked = taken_at(node, node.tensor(), {axis: places}) if prod(result) else ""
    return [node.build.reshape(picked, result) if picked else node.empty(result)]


def _counted_from_start(indices: NDArray[Any], size: int) -> Places:
    if indices.size and not -size <= indices.min() <= indices.max() < size:
        raise NotTaken(f"it picks from {indices.min()} to {indices.max()} of {size}")
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


def _gather_elements(node: OnnxNode) -> Sequence[str]:
    axis = node.axis(node.attributes.get("axis", 0))
    return [node.build.add(GatherElements(axis), node.tensor(), node.tensor(1))]


def _gather_nd(node: OnnxNode) -> Sequence[str]:
    return [node.build.add(GatherND(node.attributes.get("batch_dims", 0)), node.tensor(), node.tensor(1))]


def _reduction(node: OnnxNode) -> Reduction:
    name = node.attributes.get("reduction", b"none").decode()
    for known in get_args(Reduction):
        if name == known:
            return cast(Reduction, known)
    raise NotTaken(f"its reduction {name!r} is not one of {', '.join(get_args(Reduction))}")


def _scatter_nd(node: OnnxNode) -> Sequence[str]:
    return [node.build.add(ScatterND(_reduction(node)), *map(node.tensor, range(3)))]


def _scatter_elements(node: OnnxNode) -> Sequence[str]:
    axis = node.axis(node.attributes.get("axis", 0))
    return [node.build.add(ScatterElements(axis, _reduction(node)), *map(node.tensor, range(3)))]


def _moved_through(node: OnnxNode, split: Shape, axes: Sequence[int], result: Shape) -> Sequence[str]:
    """Split axes by a reshape, reorder them, join some by another reshape."""
    if prod(split) != prod(node.shape()):
        raise NotTaken(f"its input of shape {list(node.shape())} does not divide into blocks")
    return [node.build.reshape(transposed(node, node.build.reshape(node.tensor(), split), axes), result)]


def _block_size(node: OnnxNode) -> int:
    size = int(node.attributes["blocksize"])
    if size < 1:
        raise NotTaken(f"its blocksize is {size}")
    return size


def _depth_to_space(node: OnnxNode) -> Sequence[str]:
    (n, c), (h, w), b = node.shape()[:2], node.map_size(), _block_size(node)
    depth = c // (b * b)
    if node.attributes.get("mode", b"DCR") == b"CRD":
        split, axes = (n, depth, b, b, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split, axes = (n, b, b, depth, h, w), (0, 3, 4, 1, 5, 2)
    return _moved_through(node, split, axes, (n, depth, h * b, w * b))


def _space_to_depth(node: OnnxNode) -> Sequence[str]:
    (n, c), (h, w), b = node.shape()[:2], node.map_size(), _block_size(node)
    crd = node.attributes.get("mode", b"DCR") == b"CRD"
    axes = (0, 1, 3, 5, 2, 4) if crd else (0, 3, 5, 1, 2, 4)
    return _moved_through(node, (n, c, h // b, b, w // b, b), axes, (n, c * b * b, h // b, w // b))


def _trilu(node: OnnxNode) -> Sequence[str]:
    diagonal = sum(node.integers(1, "k")) if node.has(1) else 0
    if len(node.shape()) < 2:
        raise NotTaken(f"its input has {len(node.shape())} axes, 2 or more are needed")
    ones = np.ones(node.shape()[-2:], np.bool_)
    kept = np.triu(ones, diagonal) if node.attributes.get("upper", 1) else np.tril(ones, diagonal)
    x = node.tensor()
    zero = np.zeros((), DTYPES[node.build.kinds[x]])
    return [node.build.apply("where", node.build.constant(kept), x, node.build.constant(zero))]


MOVEMENT_RULES: Mapping[str, GeneralRule] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Identity": lambda node: [node.tensor()],
    "Pad": _pad,
    "Reshape": _reshape,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
