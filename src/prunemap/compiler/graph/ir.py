"""The graph that the compiler works on: one immutable node type, every op on one screen.

Two families of ops. Those on maps (N, C, H, W) and vectors (N, F), fp32, run image by image on channel planes: weights
are (O, I/groups, Kh, Kw) and (O, I). General ones take tensors of any rank, integers and booleans too, whole.
What an op means is in :mod:`prunemap.compiler.graph.interpret`, what is legal in :mod:`prunemap.compiler.graph.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import Pads, Pair

Array = NDArray[np.float32]
AnyArray = NDArray[Any]
Shape = tuple[int, ...]
Kind = Literal["f32", "i32", "bool"]
"""What the elements of a tensor are; every one takes four bytes. ONNX's int64 is held in 32 bits."""
MAX_ELEMENTS = 2**29
"""A tensor may not have more: a few bytes of a file can ask for any size. Of fp32 they take 2 GiB."""
MAX_OPERANDS = 6
"""Tensors that an elementwise op can read (elementwise.h)."""


@dataclass(frozen=True)
class Range:
    """The activation that a kernel applies at the store: min(max(x, low), high). Relu is (0, inf)."""

    low: float = -inf
    high: float = inf


ANY = Range()


@dataclass(frozen=True, eq=False)
class Conv:
    """y = clamp(conv2d(x) + bias [+ residual]); inputs (x,) or (x, residual)."""

    weight: Array
    bias: Array
    stride: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    clamp: Range = ANY


@dataclass(frozen=True, eq=False)
class Linear:
    """y = clamp(x · weightᵀ + bias [+ residual]); x is (N, I) or (N, I, 1, 1), y of the same rank."""

    weight: Array
    bias: Array
    clamp: Range = ANY


@dataclass(frozen=True, eq=False)
class Affine:
    """y = x · scale + shift, per channel: BatchNormalization at inference."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class Clamp:
    """y = min(max(x, low), high)."""

    range: Range


@dataclass(frozen=True)
class Add:
    """y = clamp(a + b); both of one shape."""

    clamp: Range = ANY


@dataclass(frozen=True)
class Concat:
    """The channels of all inputs, one after the other."""


@dataclass(frozen=True)
class MaxPool:
    """Largest value of each window; padding never wins."""

    kernel: Pair
    stride: Pair
    pads: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class AveragePool:
    """Mean of each window; ``count_pads`` says whether padding counts as values."""

    kernel: Pair
    stride: Pair
    pads: Pads = (0, 0, 0, 0)
    count_pads: bool = False


@dataclass(frozen=True)
class GlobalAveragePool:
    """(N, C, H, W) → (N, C, 1, 1), or (N, C) if ``flat``."""

    flat: bool = False


@dataclass(frozen=True)
class Flatten:
    """(N, C, H, W) → (N, C·H·W)."""


@dataclass(frozen=True)
class Identity:
    """y = x."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that is stored with the weights; no inputs."""

    value: AnyArray
    """float32, int32 or bool"""


Expression = int | float | tuple[Any, ...]
"""An operand (int), a number (float), or (function, argument, …) with a name of FUNCTIONS and expressions."""


@dataclass(frozen=True)
class Elementwise:
    """y = an expression of the inputs, which are broadcast to one shape as in NumPy."""

    expression: Expression


@dataclass(frozen=True, eq=False)
class Remap:
    """y[i0, i1, …] = x[…], where axis ``axes[j]`` of x is read at ``tables[j][ij]``; an entry of -1 gives ``fill``.

    Transposing, slicing, splitting, repeating, padding, picking with known indices: whatever moves by known places.
    """

    axes: tuple[int, ...]
    """A permutation of the axes of x."""
    tables: tuple[NDArray[np.int64], ...]
    fill: float = 0.0


@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order under another shape."""

    shape: Shape


@dataclass(frozen=True)
class Join:
    """The inputs one after the other along any axis."""

    axis: int


@dataclass(frozen=True)
class RowOp:
    """A function of ROW_FUNCTIONS on every row along ``axes`` (taken together, in order), rows in their place.

    The row of the result has the length that the function says; reduced axes stay with length 1, and a result of
    another length takes the last of the axes.
    """

    function: str
    axes: tuple[int, ...]
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class MatMul:
    """The product of two computed tensors (…, M, K) and (…, K, N), the axes before broadcast as in NumPy."""


@dataclass(frozen=True)
class Gather:
    """x with ``axis`` replaced by those of the computed indices (second input), as in ONNX."""

    axis: int


@dataclass(frozen=True)
class GatherElements:
    """Values of x at computed indices (second input) along ``axis``, as in ONNX."""

    axis: int


@dataclass(frozen=True)
class GatherND:
    """Slices of x at computed index tuples (second input), as in ONNX."""

    batch_dims: int = 0


@dataclass(frozen=True)
class ScatterND:
    """x with the updates (third input) put to computed index tuples (second input), as in ONNX."""

    reduction: Literal["none", "add", "mul", "max", "min"] = "none"


@dataclass(frozen=True)
class ScatterElements:
    """x with the updates (third input) put to computed indices (second input) along ``axis``, as in ONNX."""

    axis: int
    reduction: Literal["none", "add", "mul", "max", "min"] = "none"


@dataclass(frozen=True)
class WindowPool:
    """Any pool of (N, C, …) with one to three axes behind: dilated, or of other kinds than the planar ones.

    Of a window that lies in the padding alone: the largest is -inf, its place the first, and the mean of nothing NaN.
    """

    kind: Literal["max", "max_index", "average", "lp"]
    """max_index: where the largest lies in the flattened (N, C, …) input, i32."""
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    """All begins, then all ends, as in ONNX; the ends as far as the last window reaches."""
    dilation: tuple[int, ...]
    count_pads: tuple[int, ...] = ()
    """average: how far padding counts as values, like ``pads``; () = not at all."""
    p: int = 2
    """lp: of the norm."""
    column_major: bool = False
    """max_index: places count along the columns."""


@dataclass(frozen=True, eq=False)
class Interpolate:
    """y = Σ_k weights[k] · x at places[k], along one axis: linear and cubic resizing, one axis at a time."""

    axis: int
    places: NDArray[np.int64]
    """(K, size of the axis in y)"""
    weights: Array
    """(K, size of the axis in y)"""


@dataclass(frozen=True, eq=False)
class Recurrent:
    """An LSTM or GRU layer in one direction; inputs (x, h0) or (x, h0, c0), result all h, or all h and c side by side.

    x is (T, B, G·H): the gates' sums of the inputs, biases included; h0 and c0 are (B, H); the result is (T, B, H) for
    a GRU and (T, B, 2·H) for an LSTM. Gates are in ONNX's order: i o f c, or z r h.
    """

    kind: Literal["lstm", "gru"]
    weight: Array
    """(G·H, H)"""
    bias: Array
    """(G·H,), of the product with h"""
    peepholes: Array | None = None
    """(3·H,): of c in the gates i, o, f"""
    reverse: bool = False
    reset_after: bool = False
    """gru: the reset gate multiplies the product with h (ONNX: linear_before_reset), not h itself."""


Op = (
    Conv
    | Linear
    | Affine
    | Clamp
    | Add
    | Concat
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Flatten
    | Identity
    | Constant
    | Elementwise
    | Remap
    | Reshape
    | Join
    | RowOp
    | MatMul
    | Gather
    | GatherElements
    | GatherND
    | ScatterND
    | ScatterElements
    | WindowPool
    | Interpolate
    | Recurrent
)
MAP_OPS = (Conv, Linear, Affine, Clamp, Add, Concat, MaxPool, AveragePool, GlobalAveragePool, Flatten)
"""The ops of the first family."""


@dataclass(frozen=True, eq=False)
class Node:
    """One op with its place in the graph. ``name`` is that of the ONNX node it came from."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str

    def with_op(self, **changes: Any) -> Node:
        """Return the node with fields of its op replaced."""
        return replace(self, op=replace(self.op, **changes))


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in an order in which every input is made before it is used; shapes and kinds of all tensors."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: dict[str, Shape] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)

    @cached_property
    def producers(self) -> dict[str, Node]:
        """The node that makes each tensor (graph inputs are not in it)."""
        return {node.output: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor."""
        table: dict[str, list[Node]] = {name: [] for name in self.shapes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                table.setdefault(name, []).append(node)
        return table

    def only_consumer(self, tensor: str) -> Node | None:
        """Return the single reader of a tensor that is not a graph output, else None."""
        readers = self.consumers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None
