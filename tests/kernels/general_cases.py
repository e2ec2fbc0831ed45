"""Cases of the general ops over shapes, layouts and kinds, for the kernel tests and the sanitizers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prunemap.compiler.graph.ir import (
    AnyArray,
    Clamp,
    Concat,
    Constant,
    Conv,
    Elementwise,
    Flatten,
    Gather,
    GatherElements,
    GatherND,
    Graph,
    Interpolate,
    Join,
    Kind,
    Linear,
    MatMul,
    Node,
    Op,
    Range,
    Recurrent,
    Remap,
    Reshape,
    RowOp,
    ScatterElements,
    ScatterND,
    Shape,
    WindowPool,
)
from prunemap.compiler.graph.row_functions import ROW_FUNCTIONS
from prunemap.compiler.graph.shapes import make_graph

INT32_MAX = np.iinfo(np.int32).max


class GraphBuilder:
    """Gathers nodes and inputs; every result is an output."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.shapes: dict[str, Shape] = {}
        self.kinds: dict[str, Kind] = {}
        self.inputs: dict[str, AnyArray] = {}
        self.nodes: list[Node] = []

    def input(self, *shape: int) -> str:
        """Add an input of normal random numbers."""
        return self.given(self.rng.standard_normal(shape, np.float32))

    def indices(self, most: int, *shape: int) -> str:
        """Add an input of places in an axis of ``most``, counted from both ends."""
        return self.given(self.rng.integers(-most, most, shape).astype(np.int32), "i32")

    def given(self, value: AnyArray, kind: Kind = "f32") -> str:
        """Add an input."""
        name = f"x{len(self.inputs)}"
        self.inputs[name], self.shapes[name], self.kinds[name] = value, value.shape, kind
        return name

    def add(self, op: Op, *inputs: str) -> str:
        """Add a node."""
        name = f"y{len(self.nodes)}"
        self.nodes.append(Node(f"n{len(self.nodes)}", op, inputs, name))
        return name

    def conv(self, source: str, channels: int, kernel: int = 3) -> str:
        """Add a conv: it makes a map with a halo, and its input one."""
        weight = self.rng.standard_normal((channels, channels, kernel, kernel), np.float32) / (channels * kernel)
        return self.add(Conv(weight, np.ones(channels, np.float32), pads=(kernel // 2,) * 4), source)

    def graph(self) -> Graph:
        """Return it."""
        return make_graph(self.shapes, [node.output for node in self.computed()], self.nodes, self.kinds)

    def computed(self) -> list[Node]:
        """The nodes whose results are outputs."""
        return [node for node in self.nodes if not isinstance(node.op, Constant)]


def places(*entries: int) -> AnyArray:
    return np.array(entries, np.int64)


def elementwise(b: GraphBuilder) -> None:
    add, mul = ("add", 0, 1), ("mul", ("add", 0, 1), 2)
    for shapes in (
        ((5,), (5,)),
        ((3, 1, 17), (4, 1)),
        ((), (33,)),
        ((2, 3, 1, 5), (3, 4, 1)),
        ((1,), ()),
        ((40, 50), (50,)),
    ):
        b.add(Elementwise(add), *(b.input(*shape) for shape in shapes))
    b.add(Elementwise(mul), b.input(2, 7, 19), b.input(7, 1), b.input(2, 1, 1))
    b.add(Elementwise(add), b.indices(INT32_MAX // 4, 6, 3), b.indices(1 << 20, 3))
    b.add(Elementwise(("add", 0, 0.5)), b.add(Constant(np.arange(2500, dtype=np.float32)[None])))
    for size in ((1, 4, 9, 7), (1, 4, 16, 16), (1, 8, 1, 1), (3, 4, 5, 6)):  # maps: rows with gaps, a halo to be kept
        x = b.input(*size)
        y = b.conv(x, size[1])
        scaled = b.add(Elementwise(add), y, b.input(size[0], size[1], 1, 1))
        b.conv(b.add(Elementwise(mul), scaled, x, b.input(size[2], size[3])), size[1])


def movement(b: GraphBuilder) -> None:
    x, whole = b.input(3, 4, 5), [np.arange(n) for n in (3, 4, 5)]
    b.add(Remap((2, 0, 1), (whole[2], whole[0], whole[1])), x)
    b.add(Remap((0, 1, 2), (places(2, 1, 0), places(1, 3), places(0, 0, 0, 0)[:1])), x)
    b.add(Remap((0, 1, 2), (places(-1, 0, 1, 2, -1), whole[1], places(-1, -1, 0, 1, 2, 3, 4, -1)), fill=7.5), x)
    b.add(Remap((0, 2, 1), (places(1, 1, 0), places(4, 0, 3), places(2, 2, 1, -1))), x)
    b.add(Remap((1, 0), (places(1, 0), places(2, 0, 1))), b.indices(9, 3, 2))
    for shape in ((4, 4), (5, 19), (3, 17, 33), (2, 16, 48)):  # around the blocks of a transposing copy
        places_of = [np.arange(size) for size in shape]
        b.add(
            Remap(
                (*range(len(shape) - 2), -1 % len(shape), -2 % len(shape)),
                (*places_of[:-2], places_of[-1], places_of[-2]),
            ),
            b.input(*shape),
        )
    interleaved = b.add(Reshape((2, 3, 2, 2, 5, 20)), b.input(2, 12, 100))  # a short last axis, a long one before it
    order = (0, 1, 4, 2, 5, 3)
    b.add(Remap(order, tuple(np.arange((2, 3, 2, 2, 5, 20)[axis]) for axis in order)), interleaved)
    b.add(Join(1), x, b.input(3, 2, 5), b.input(3, 1, 5))
    b.add(Join(0), b.indices(9, 2), b.add(Constant(np.array([5, 6], np.int32))))
    flat = b.add(Reshape((12, 5)), x)
    hidden = b.add(Linear(b.rng.standard_normal((7, 5), np.float32), np.ones(7, np.float32)), flat)
    b.add(RowOp("softmax", (2,)), b.add(Reshape((3, 4, 7)), hidden))
    for n in (1, 2):
        y = b.conv(b.input(n, 4, 6, 7), 4)
        row = b.add(Reshape((n, 4, 42)), y)
        tokens = b.add(Remap((0, 2, 1), (np.arange(n), np.arange(42), np.arange(4))), row)
        back = b.add(Reshape((n * 168,)), tokens)
        b.conv(b.add(Reshape((n, 4, 6, 7)), back), 4, 5)
        b.add(Clamp(Range(0, 1)), b.add(Reshape((n, 168)), row))
        moved = b.add(Remap((0, 3, 1, 2), (np.arange(n), np.arange(7), np.arange(4), np.arange(6))), y)
        b.add(Remap((0, 2, 3, 1), (np.arange(n), np.arange(4), np.arange(6), np.arange(7))), moved)


def rows(b: GraphBuilder) -> None:
    for name, function in ROW_FUNCTIONS.items():
        parameters = {"normalize": (1e-5,), "cumulative_sum": (1, 1), "top": (3, 1)}.get(name, ())
        parameters = (1,) if name in ("argmax", "argmin") else parameters
        for shape, axes in (
            ((4, 37), (1,)),
            ((5, 6, 3), (0,)),
            ((2, 3, 4, 5), (1, 3)),
            ((130,), (0,)),
            ((2, 1, 70), (0, 1, 2)),
        ):
            if function.length == "first parameter" and len(axes) > 1:
                continue
            x = b.input(*shape)
            if name == "log_sum":
                x = b.add(Elementwise(("mul", 0, 0)), x)
            b.add(RowOp(name, axes, parameters), x)
        y = b.conv(b.input(1, 4, 9, 7), 4)
        b.add(RowOp("normalize", (2, 3), (1e-3,)), y)
        b.conv(b.add(RowOp("softmax", (1,)), y), 4)
    equal = b.given(np.array([[2, 5, 5, 1, 5]], np.float32))
    for function, parameters in (
        ("argmax", (0,)),
        ("argmax", (1,)),
        ("argmin", (0,)),
        ("top", (5, 1)),
        ("top", (4, 0)),
    ):
        b.add(RowOp(function, (1,), parameters), equal)
    b.add(RowOp("softmax", (1,)), b.given(np.array([[0, -np.inf, 100, 3]], np.float32)))


def products(b: GraphBuilder) -> None:
    for left, right in (
        ((3, 4), (4, 5)),
        ((2, 1, 7, 33), (3, 33, 65)),
        ((1, 9), (9, 1)),
        ((5, 2, 2), (2, 2)),
        ((2, 2, 12, 8), (2, 1, 8, 130)),
    ):
        b.add(MatMul(), b.input(*left), b.input(*right))
    b.add(MatMul(), b.conv(b.input(1, 4, 6, 9), 4), b.conv(b.input(1, 4, 9, 6), 4))
    b.add(MatMul(), b.input(2, 3, 4), b.add(Constant(b.rng.standard_normal((2, 4, 18), np.float32))))


def indexing(b: GraphBuilder) -> None:
    x = b.input(5, 6, 7)
    for axis, size in enumerate((5, 6, 7)):
        b.add(Gather(axis), x, b.indices(size, 2, 3))
        shape = [4 if i == axis else n for i, n in enumerate((5, 6, 7))]
        b.add(GatherElements(axis), x, b.indices(size, *shape))
        b.add(ScatterElements(axis, "add"), x, b.indices(size, *shape), b.input(*shape))
    b.add(GatherElements(1), x, b.indices(6, 3, 4, 2))
    b.add(Gather(0), x, b.indices(5))
    b.add(GatherND(0), x, b.indices(5, 4, 2))
    b.add(GatherND(1), x, b.given(np.array([[3], [0], [-1], [2], [5]], np.int32), "i32"))
    for reduction in ("none", "add", "mul", "max", "min"):
        unique = b.given(np.array([[0, 1], [4, 5], [-2, 0]], np.int32), "i32")
        b.add(ScatterND(reduction), x, unique, b.input(3, 7))
    b.add(ScatterND("add"), x, b.indices(5, 9, 1), b.input(9, 6, 7))
    whole = b.indices(1 << 30, 5, 7)
    for reduction in ("none", "add", "mul", "max", "min"):  # of integers, at places that repeat
        b.add(ScatterND(reduction), whole, b.indices(5, 9, 1), b.indices(1 << 30, 9, 7))
        b.add(ScatterElements(1, reduction), whole, b.indices(7, 5, 9), b.indices(1 << 30, 5, 9))


def parts(b: GraphBuilder) -> None:
    """General ops on tensors that lie inside a concat's result: their images are as far apart as those of the whole."""
    maps = [
        b.input(2, 3, 4, 5),
        b.add(Elementwise(("sigmoid", 0)), b.input(2, 2, 4, 5)),
        b.conv(b.input(2, 3, 4, 5), 3),
    ]
    vectors = [b.input(2, 3), b.add(Elementwise(("sigmoid", 0)), b.input(2, 5))]
    for tensors in (maps, vectors):
        b.add(Concat(), *tensors, tensors[0])
        for name in tensors:
            b.add(Elementwise(("add", 0, ("exp", 0))), name)
            b.add(RowOp("softmax", (1,)), name)
            b.add(Join(0), name, name)
            b.add(Gather(0), name, b.indices(2, 3))
    b.add(Reshape((4, 5, 6)), maps[0])
    b.add(Reshape((3, 2)), vectors[0])
    b.conv(b.add(Reshape((2, 1, 1, 5)), vectors[1]), 1)
    weight = b.rng.standard_normal((9, 3), np.float32)
    b.add(Recurrent("gru", weight, np.ones(9, np.float32)), b.input(4, 2, 9), vectors[0])


def views(b: GraphBuilder) -> None:
    """Reshapes that are another name of a tensor, between ops that run image by image."""
    vectors = b.add(Flatten(), b.conv(b.input(2, 3, 2, 2), 3))
    view = b.add(Reshape((2, 12, 1, 1)), vectors)
    b.add(Clamp(Range(-1, 1)), view)
    b.add(Concat(), view, view)
    b.add(Clamp(Range(-1, 1)), b.add(Reshape((4, 6)), vectors))
    b.add(Flatten(), b.add(Reshape((2, 8, 1, 1)), b.input(2, 8)))
    x = b.input(2, 6)
    b.add(Clamp(Range(-1, 1)), b.add(Reshape((3, 4)), x))
    b.add(Clamp(Range(-1, 1)), x)


def windows(b: GraphBuilder) -> None:
    for kind in ("max", "max_index", "average", "lp"):
        for shape in ((2, 3, 11), (2, 3, 7, 8), (1, 2, 4, 5, 6)):
            n = len(shape) - 2
            b.add(WindowPool(kind, (3,) * n, (2,) * n, (1,) * 2 * n, (1,) * n), b.input(*shape))
            b.add(WindowPool(kind, (2,) * n, (1,) * n, (0,) * 2 * n, (2,) * n), b.input(*shape))
    b.add(WindowPool("average", (3, 3), (2, 2), (1, 1, 2, 2), (1, 1), (1, 1, 1, 1)), b.input(1, 2, 6, 6))
    b.add(WindowPool("lp", (3,), (1,), (0, 0), (1,), p=3), b.input(1, 2, 9))
    for kind in ("max", "max_index", "average", "lp"):  # windows in the padding alone
        b.add(WindowPool(kind, (2, 3), (1, 2), (3, 4, 2, 3), (1, 1), (3, 4, 2, 3)), b.input(1, 2, 4, 5))
    b.add(WindowPool("max_index", (2, 2), (1, 1), (0,) * 4, (1, 1), column_major=True), b.input(1, 2, 4, 5))


def resizing(b: GraphBuilder) -> None:
    where, weights = (
        np.array([[0, 0, 1, 2], [1, 1, 2, 2]]),
        np.array([[1, 0.5, 0.25, 1], [0, 0.5, 0.75, 0]], np.float32),
    )
    x = b.input(2, 3, 3, 3)
    for axis in range(4):
        b.add(Interpolate(axis, np.minimum(where, x and (1 if axis == 0 else 2)), weights), x)
    b.conv(b.add(Interpolate(3, where, weights), b.conv(b.input(1, 3, 3, 3), 3)), 3)


def recurrence(b: GraphBuilder) -> None:
    for hidden, batch, density in ((5, 1, 1.0), (16, 2, 0.3), (37, 3, 0.5), (64, 1, 0.1)):
        for kind, gates in (("lstm", 4), ("gru", 3)):
            for reverse, other in ((False, True), (True, False)):
                weight = b.rng.standard_normal((gates * hidden, hidden), np.float32) / np.sqrt(hidden).astype(
                    np.float32
                )
                weight *= b.rng.random(weight.shape) < density
                peepholes = b.rng.standard_normal(3 * hidden, np.float32) if other and kind == "lstm" else None
                bias = b.rng.standard_normal(gates * hidden, np.float32)
                op = Recurrent(kind, weight, bias, peepholes, reverse, other and kind == "gru")
                states = [b.input(batch, hidden) for _ in range(2 if kind == "lstm" else 1)]
                b.add(op, b.input(6, batch, gates * hidden), *states)


MAKERS: tuple[Callable[[GraphBuilder], None], ...] = (
    elementwise,
    movement,
    rows,
    products,
    indexing,
    parts,
    views,
    windows,
    resizing,
    recurrence,
)


def make_peephole_graph() -> tuple[Graph, dict[str, AnyArray]]:
    """Return an LSTM without any constant: its peepholes, no whole number of vectors, are the last of the weights."""
    b, hidden = GraphBuilder(), 37
    weight, peepholes = (b.rng.standard_normal(size, np.float32) for size in ((4 * hidden, hidden), 3 * hidden))
    op = Recurrent("lstm", weight, np.ones(4 * hidden, np.float32), peepholes)
    b.add(op, b.input(2, 2, 4 * hidden), b.input(2, hidden), b.input(2, hidden))
    return b.graph(), b.inputs


def make_general_graph() -> tuple[Graph, dict[str, AnyArray]]:
    """Return all cases as one graph, and its inputs."""
    b = GraphBuilder()
    for make in MAKERS:
        make(b)
    return b.graph(), b.inputs
