"""The graph that the compiler works on: one immutable node type, every op on one screen.

Shapes are (N, C, H, W) for maps and (N, F) for vectors; weights (O, I/groups, Kh, Kw) and (O, I). fp32 throughout.
What an op means is in :mod:`prunemap.compiler.interpret`, what is legal in :mod:`prunemap.compiler.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.core.layer import Pads, Pair

Array = NDArray[np.float32]
Shape = tuple[int, ...]


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


Op = Conv | Linear | Affine | Clamp | Add | Concat | MaxPool | AveragePool | GlobalAveragePool | Flatten | Identity


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
    """Nodes in an order in which every input is made before it is used; ``shapes`` has every tensor's."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: dict[str, Shape] = field(default_factory=dict)

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
