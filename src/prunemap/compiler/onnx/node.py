"""What a rule of the import sees of an ONNX node, and what it builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from prunemap.compiler.graph.expression import DTYPES
from prunemap.compiler.graph.general_shapes import output_kind
from prunemap.compiler.graph.ir import (
    AnyArray,
    Array,
    Constant,
    Conv,
    Elementwise,
    Kind,
    Linear,
    Node,
    Op,
    Reshape,
    Shape,
)
from prunemap.compiler.graph.kind_misfit import kind_misfit
from prunemap.compiler.graph.shapes import output_shape
from prunemap.compiler.graph.verify import misfit
from prunemap.compiler.onnx.file import attributes_of, node_name

KINDS: Mapping[int, Kind] = {
    onnx.TensorProto.FLOAT: "f32",
    onnx.TensorProto.INT32: "i32",
    onnx.TensorProto.INT64: "i32",
    onnx.TensorProto.BOOL: "bool",
}
"""The element types that are taken in."""
_INT32 = np.iinfo(np.int32)


class NotTaken(Exception):
    """Why a node cannot be taken in."""


def as_kind(value: AnyArray, what: str) -> AnyArray:
    """Return a constant as it is stored: float32, int32 or bool.

    Raises:
        NotTaken: it is of another type, or an integer needs more than 32 bits.
    """
    if value.dtype in (np.float32, np.bool_, np.int32):
        return value
    if value.dtype != np.int64:
        raise NotTaken(f"its {what} is {value.dtype}; float32, int32, int64 and bool are supported")
    if value.size and (value.min() < _INT32.min or value.max() > _INT32.max):
        raise NotTaken(f"its {what} has integers that need more than 32 bits")
    return value.astype(np.int32)


def recurrent_names(name: str, direction: int) -> tuple[str, str]:
    """Return what the two layers of a direction are called: on the inputs, and on the state.

    Args:
        name: of the ONNX node.
    """
    base = f"{name}/reverse" if direction else name
    return base, f"{base}/recurrent"


@dataclass
class Builder:
    """Gathers the nodes that stand for one ONNX node."""

    name: str
    shapes: dict[str, Shape]
    """Of every tensor known so far; grows."""
    kinds: dict[str, Kind]
    nodes: list[Node] = field(default_factory=list)

    def add(self, op: Op, *inputs: str) -> str:
        """Add a node; return the name of its result.

        Raises:
            NotTaken: the inputs do not fit the op, by their shapes or kinds.
        """
        count = len(self.nodes)
        output = f"{self.name}\0{count}"  # no tensor of a model has such a name
        node = Node(f"{self.name}#{count}" if count else self.name, op, inputs, output)
        kinds = [self.kinds[each] for each in inputs]
        why = misfit(node, [self.shapes[each] for each in inputs]) or kind_misfit(op, kinds)
        if why is not None:
            raise NotTaken(why)
        self.shapes[output] = output_shape(node, [self.shapes[each] for each in inputs])
        self.kinds[output] = output_kind(op, kinds)
        self.nodes.append(node)
        return output

    def add_layer(self, op: Conv | Linear, *inputs: str) -> str:
        """Add the node that plans and reports mean by the ONNX node's name; return the name of its result."""
        self.nodes = [replace(each, name=f"{self.name}#{place}") for place, each in enumerate(self.nodes)]
        output = self.add(op, *inputs)
        self.nodes[-1] = replace(self.nodes[-1], name=self.name)
        return output

    def add_named(self, name: str, op: Op, *inputs: str) -> str:
        """Add a node with a name of its own; return the name of its result."""
        output = self.add(op, *inputs)
        self.nodes[-1] = replace(self.nodes[-1], name=name)
        return output

    def constant(self, value: AnyArray, what: str = "constant") -> str:
        """Add a constant tensor; return its name."""
        return self.add(Constant(as_kind(np.asarray(value), what)))

    def apply(self, function: str, *operands: str | float) -> str:
        """Apply a function of FUNCTIONS elementwise, broadcasting; numbers are taken as they are."""
        names = [each for each in operands if isinstance(each, str)]
        places = iter(range(len(names)))
        arguments = [next(places) if isinstance(each, str) else float(each) for each in operands]
        return self.add(Elementwise((function, *arguments)), *names)

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        """Give a tensor another shape; a map goes through a single row, since planes have gaps between them."""
        wanted = tuple(int(size) for size in shape)
        if self.shapes[tensor] == wanted:
            return tensor
        if len(self.shapes[tensor]) == len(wanted) == 4:
            tensor = self.add(Reshape((int(np.prod(wanted)),)), tensor)
        return self.add(Reshape(wanted), tensor)


@dataclass(frozen=True)
class OnnxNode:
    """The node, its attributes, the constants, the shapes and kinds of its inputs."""

    proto: onnx.NodeProto
    attributes: dict[str, Any]
    constants: dict[str, np.ndarray[Any, Any]]
    shapes: dict[str, Shape]
    kinds: dict[str, Kind]
    opset: int
    build: Builder
    """For rules that need several nodes."""

    @classmethod
    def of(
        cls,
        proto: onnx.NodeProto,
        constants: dict[str, np.ndarray[Any, Any]],
        shapes: dict[str, Shape],
        kinds: dict[str, Kind],
        opset: int,
    ) -> OnnxNode:
        """Wrap a node."""
        build = Builder(node_name(proto), shapes, kinds)
        return cls(proto, attributes_of(proto), constants, shapes, kinds, opset, build)

    @property
    def count(self) -> int:
        """How many inputs are listed."""
        return len(self.proto.input)

    def has(self, index: int) -> bool:
        """Whether the optional input is given."""
        return index < len(self.proto.input) and self.proto.input[index] != ""

    def is_constant(self, index: int) -> bool:
        """Whether the input is given and a constant."""
        return self.has(index) and self.proto.input[index] in self.constants

    def constant(self, index: int, what: str) -> np.ndarray[Any, Any]:
        """Return a constant input; what: its name in the ONNX documentation."""
        if not self.is_constant(index):
            raise NotTaken(f"its {what} is computed, only a constant is supported")
        return self.constants[self.proto.input[index]]

    def integers(self, index: int, what: str) -> list[int]:
        """Return the values of a constant input of integers."""
        values = self.constant(index, what)
        if values.dtype.kind not in "iu":
            raise NotTaken(f"its {what} are {values.dtype}, only integers are supported")
        return [int(value) for value in values.reshape(-1)]

    def numbers(self, index: int, what: str) -> list[int] | None:
        """Return integers that are an input since some opset and were an attribute before, None if they are not given.

        Args:
            what: the name of either.
        """
        if self.has(index):
            return self.integers(index, what)
        given: Sequence[int] | None = self.attributes.get(what)
        return None if given is None else [int(value) for value in given]

    def floats(self, index: int, what: str) -> Array:
        """Return a constant input as fp32."""
        value = self.constant(index, what)
        if value.dtype != np.float32:
            raise NotTaken(f"its {what} is {value.dtype}, only float32 is supported")
        return value

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of an input."""
        name = self.proto.input[index]
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def kind(self, index: int = 0) -> Kind:
        """Return what the elements of an input are."""
        name = self.proto.input[index]
        if name not in self.constants:
            return self.kinds[name]
        return output_kind(Constant(as_kind(self.constants[name], f"input {index}")), [])

    def axis(self, value: int, rank: int | None = None) -> int:
        """Return an axis counted from 0; rank: of what it belongs to, the first input by default."""
        rank = len(self.shape()) if rank is None else rank
        if not -rank <= value < rank:
            raise NotTaken(f"axis {value} of {rank}")
        return int(value) % rank

    def tensor(self, index: int = 0) -> str:
        """Return the name of an input in the graph; a constant becomes a node."""
        name = self.proto.input[index]
        if name in self.constants:
            return self.build.constant(self.constants[name], f"input {index}")
        return str(name)

    def empty(self, shape: Shape, output: int = 0) -> str:
        """Say that an output has no elements: it is a constant; return what stands for it in a rule's results."""
        dtype = self.constants[self.proto.input[0]].dtype if self.is_constant(0) else DTYPES[self.kind()]
        self.constants[self.proto.output[output]] = np.zeros(shape, dtype)
        return ""

    def map_size(self) -> Shape:
        """Return (H, W) of the first input."""
        if len(self.shape()) != 4:
            raise NotTaken(f"its input has {len(self.shape())} axes, only (N, C, H, W) is supported")
        return self.shape()[2:]


Taken = tuple[Op, tuple[int, ...]]
"""The op and which of the node's inputs it reads."""
FastRule = Callable[[OnnxNode], Taken]
"""Says which op on maps or vectors a node is."""
GeneralRule = Callable[[OnnxNode], Sequence[str]]
"""Builds a node's outputs with ``node.build``; returns their names, in order; the last ones may be left out."""
X = (0,)
