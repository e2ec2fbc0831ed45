"""Layer cases at the edges of tiles, vectors and maps, for the kernel sweep and the sanitizers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from prunemap.compiler.graph.ir import (
    ANY,
    Add,
    Affine,
    Array,
    AveragePool,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    Graph,
    Identity,
    Linear,
    MaxPool,
    Node,
    Op,
    Range,
    Shape,
)
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.select import TileChoice
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.target import Target
from prunemap.schemes import make_mask, why_illegal


@dataclass(frozen=True)
class Case:
    """One layer with everything that its kernel can be asked for."""

    x: Shape
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    scheme: str = "dense"
    density: float = 0.3
    residual: bool = False
    linear: bool = False
    empty: tuple[int, ...] = ()
    """Filters without any weight."""


SCHEMES = (
    "dense",
    "unstructured",
    "filter",
    "column",
    "pattern",
    "punched:8x4",
    "punched:4x1",
    "punched:2x1",
    "punched:16x4",
)

SHAPES = (
    # around a vector of 16 and of 8 pixels, rows shorter and longer than one
    *(Case((1, 5, h, w), 9) for h, w in ((1, 1), (2, 2), (3, 5), (4, 4), (7, 7), (15, 1), (1, 16), (17, 3), (9, 31))),
    *(Case((1, 3, 8, n), 8, (1, 1), pads=(0, 0, 0, 0)) for n in (1, 2, 15, 16, 17, 47, 48, 49)),
    # filters around the tile heights
    *(Case((1, 4, 6, 6), o, residual=o % 2 == 0) for o in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17)),
    # stride, dilation, groups, pads of all sorts
    *(
        Case((1, 6, 11, 13), 10, stride=s, pads=p)
        for s in ((2, 2), (1, 2), (3, 2))
        for p in ((1, 1, 1, 1), (0, 1, 2, 0))
    ),
    Case((1, 4, 9, 9), 8, (7, 7), (2, 2), (3, 3, 3, 3)),
    Case((1, 4, 12, 10), 8, (1, 1), (2, 2), (0, 0, 0, 0)),
    Case((1, 4, 9, 9), 8, (5, 3), dilation=(2, 1), pads=(4, 1, 4, 1)),
    Case((1, 4, 9, 9), 8, (3, 3), (2, 2), (2, 2, 2, 2), (2, 2)),
    Case((1, 4, 9, 9), 8, (2, 2), pads=(0, 0, 0, 0)),
    # zeros below the last row alone
    Case((1, 4, 6, 16), 8, (2, 1), pads=(0, 0, 1, 0)),
    Case((1, 4, 7, 9), 8, (1, 1), (1, 3), pads=(0, 0, 1, 0)),
    Case((1, 4, 6, 16), 4, (2, 1), pads=(0, 0, 1, 0), groups=4),
    Case((1, 8, 5, 5), 12, groups=4),
    Case((2, 8, 6, 5), 8, groups=2, stride=(2, 2), residual=True),
    Case((3, 4, 5, 6), 7, residual=True),
    Case((1, 4, 6, 6), 20, empty=(0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)),
    Case((1, 4, 6, 6), 6, empty=tuple(range(6))),
    # depthwise
    *(Case((1, 6, h, w), 6, groups=6, residual=h == w) for h, w in ((1, 1), (4, 4), (7, 9), (12, 33))),
    *(
        Case((1, 3, h, w), 3, groups=3, residual=h == w)
        for h, w in ((14, 14), (7, 15), (8, 17), (13, 28), (6, 56), (3, 30))
    ),
    *(Case((1, 3, n, n), 3, (5, 5), pads=(2, 2, 2, 2), groups=3) for n in (4, 14, 16, 29)),
    *(Case((1, 3, n, n), 3, (7, 7), pads=(3, 3, 3, 3), groups=3) for n in (3, 7, 18)),
    Case((1, 3, 19, 33), 3, (7, 7), (2, 2), (3, 3, 3, 3), groups=3),
    Case((1, 3, 10, 17), 6, (9, 9), pads=(4, 4, 4, 4), groups=3),
    *(Case((1, 3, n, n), 6, (3, 3), (2, 2), groups=3, residual=True) for n in (1, 2, 7, 14, 29, 40)),
    *(Case((1, 3, n, n + 1), 3, (5, 5), (2, 2), pads=(2, 2, 2, 2), groups=3) for n in (4, 31, 45)),
    *(Case((1, 3, *size), 3, (3, 3), (2, 2), groups=3) for size in ((40, 2), (2, 40), (17, 7), (9, 66))),
    Case((1, 3, 9, 20), 3, (3, 3), (3, 2), groups=3),
    Case((2, 6, 9, 9), 12, (5, 5), (2, 2), (2, 2, 2, 2), groups=6),
    Case((1, 6, 9, 9), 6, (3, 3), pads=(2, 2, 2, 2), dilation=(2, 2), groups=6),
    # linear
    *(
        Case((n, i), o, linear=True, residual=o == 8)
        for n, i, o in ((1, 1, 1), (1, 7, 3), (2, 33, 8), (1, 64, 65), (3, 130, 16), (7, 50, 17), (9, 400, 24))
    ),
    Case((2, 24, 1, 1), 20, linear=True, residual=True),
    Case((1, 40), 20, linear=True, empty=(1, 2, 3, 19)),
)


def all_cases() -> list[Case]:
    """Every shape with every scheme that it can have."""
    cases = []
    for shape in SHAPES:
        weight_shape = _weight_shape(shape)
        for name in (*SCHEMES, *(("block:8x4",) if shape.linear or shape.kernel == (1, 1) else ())):
            spec = SchemeSpec.parse(name)
            if not why_illegal(spec, weight_shape, 0.3):
                cases.append(Case(**{**shape.__dict__, "scheme": name}))
    return cases


def make_case_graph(cases: list[Case], seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """Return one graph with a node per case (``n0``, ``n1``, …; outputs in order) and its inputs."""
    rng = np.random.default_rng(seed)
    nodes, shapes = [], {}
    for i, case in enumerate(cases):
        op = _op(case, rng)
        shapes[f"x{i}"] = case.x
        plain = make_graph({"x": case.x}, ["y"], [Node("n", op, ("x",), "y")])
        names: tuple[str, ...] = (f"x{i}",)
        if case.residual:
            shapes[f"r{i}"] = plain.shapes["y"]
            names = (*names, f"r{i}")
        nodes.append(Node(f"n{i}", op, names, f"y{i}"))
    graph = make_graph(shapes, [node.output for node in nodes], nodes)
    return graph, {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


CHAINS = (
    # (kernel, stride, groups), one after another, 4 channels: every kernel behind every other one
    ((3, 1, 4), (3, 1, 1)),
    ((3, 2, 4), (3, 1, 1), (3, 1, 4)),
    ((5, 1, 4), (5, 2, 4), (3, 1, 1)),
    ((3, 1, 1), (3, 2, 1), (3, 1, 1), (1, 2, 1), (3, 1, 4)),
    ((7, 2, 1), (3, 1, 4), (3, 2, 4), (5, 1, 4)),
    ((1, 1, 1), (3, 1, 4), (1, 1, 1), (3, 1, 1)),
)
CHAIN_SIZES = ((1, 1), (5, 4), (8, 8), (13, 15), (17, 33), (28, 28), (14, 57))


def make_chain_graph(seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """Return chains of layers: what one leaves around its rows is the zero padding of the next.

    Behind every layer a pool, whose kernel writes row by row, makes an output too.
    """
    rng = np.random.default_rng(seed)
    nodes, shapes, outputs = [], {}, []
    for i, (chain, size) in enumerate(product(CHAINS, CHAIN_SIZES)):
        tensor = f"x{i}"
        shapes[tensor] = (1, 4, *size)
        for j, (k, stride, groups) in enumerate(chain):
            weight = rng.standard_normal((4, 4 // groups, k, k), np.float32) / k
            bias = np.ones(4, np.float32)
            op: Op = Conv(weight, bias, (stride, stride), (k // 2,) * 4, groups=groups)
            if k == 1 and size == (1, 1):  # what the compiler makes of it
                op = Linear(weight.reshape(4, 4), bias)
            nodes.append(Node(f"n{i}.{j}", op, (tensor,), f"t{i}.{j}"))
            tensor = f"t{i}.{j}"
        pool = Node(f"p{i}", MaxPool((3, 3), (1, 1), (1, 1, 1, 1)), (tensor,), f"m{i}")
        last = Node(
            f"l{i}", Conv(weight, np.ones(4, np.float32), pads=(k // 2,) * 4, groups=groups), (f"m{i}",), f"y{i}"
        )
        nodes += [pool, last]
        outputs += [tensor, last.output]
    graph = make_graph(shapes, outputs, nodes)
    return graph, {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def make_wide_stage_graph(seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """Return strided convs, each in the stage of one whose zeros around the rows are many times as wide as the rows."""
    rng = np.random.default_rng(seed)
    nodes, shapes = [], {}
    for i, (size, groups, wide) in enumerate(product(((8, 8), (9, 6)), (1, 4), (40, 300))):
        weight = rng.standard_normal((4, 4 // groups, 3, 3), np.float32)
        thin = Conv(weight, np.ones(4, np.float32), (2, 2), (1, 1, 1, 1), groups=groups)
        if groups > 1:  # one that no tile of depthwise layers runs
            thin = replace(thin, weight=weight[:, :, :, :2], pads=(1, 0, 1, 1))
        dense = rng.standard_normal((4, 4, 1, 3), np.float32)
        shapes[f"x{i}"] = (1, 4, *size)
        nodes.append(Node(f"n{i}", thin, (f"x{i}",), f"t{i}"))
        far = Conv(dense, np.ones(4, np.float32), pads=(0, wide, 0, wide), dilation=(1, wide))
        nodes.append(Node(f"l{i}", far, (f"t{i}",), f"y{i}"))
    graph = make_graph(shapes, [f"y{i}" for i in range(len(shapes))], nodes)
    return graph, {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def make_batch_graph(seed: int = 0) -> tuple[Graph, dict[str, Array]]:
    """Return a graph whose images take turns between steps that see all of them at once.

    Maps and vectors are read on both sides of such a step; outputs are made before, in and behind it; inputs are read
    first behind it, in it, by nobody, are outputs themselves, or have another number of images.
    """
    rng = np.random.default_rng(seed)
    shapes = {"x": (3, 4, 9, 11), "late": (3, 4, 9, 11), "vector": (3, 6), "pair": (2, 4, 9, 11), "other": (2, 3)}
    shapes |= {"ignored": (1, 5), "passed": (3, 7, 4, 4)}
    shapes |= {"first": (3, 2, 6, 5), "second": (3, 3, 6, 5), "third": (2, 4, 9, 11)}

    def conv(outputs: int, inputs: int, k: int, stride: tuple[int, int] = (1, 1), groups: int = 1) -> Conv:
        weight = rng.standard_normal((outputs, inputs // groups, k, k), np.float32)
        weight /= np.float32(k * np.sqrt(inputs // groups))  # sums of variance 1: errors stay small
        return Conv(weight, rng.standard_normal(outputs, np.float32), stride, (k // 2,) * 4, groups=groups)

    def linear(outputs: int, inputs: int) -> Linear:
        weight = rng.standard_normal((outputs, inputs), np.float32) / np.float32(np.sqrt(inputs))
        return Linear(weight, rng.standard_normal(outputs, np.float32))

    ops: dict[str, tuple[Op, tuple[str, ...]]] = {
        "a": (conv(4, 4, 3), ("x",)),
        "b": (conv(4, 4, 3), ("a", "x")),
        "cut": (conv(8, 4, 3, (2, 2)), ("b",)),
        "deep": (conv(8, 4, 3, (3, 2), 4), ("a",)),
        "pooled": (MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), ("b",)),
        "flat": (Flatten(), ("pooled",)),
        "hidden": (linear(6, 120), ("flat",)),
        "sum": (linear(6, 6), ("hidden", "vector")),
        "scaled": (Affine(*rng.standard_normal((2, 6), np.float32)), ("sum",)),
        "added": (Add(), ("scaled", "hidden")),
        "joined": (conv(4, 4, 3), ("late", "a")),
        "mean": (GlobalAveragePool(flat=True), ("joined",)),
        "last": (linear(3, 4), ("mean",)),
        "alone": (conv(4, 4, 3), ("pair",)),
        "both": (Add(), ("alone", "pair")),
        "renamed": (Identity(), ("passed",)),
        "again": (Identity(), ("x",)),
        "end": (AveragePool((2, 2), (2, 2)), ("cut",)),
        # concats: of a tensor twice, of what is read elsewhere too, of a concat, of an input, of vectors and a view
        "twice": (Concat(), ("cut", "pooled", "cut")),
        "mixed": (conv(5, 20, 3), ("twice",)),
        "nested": (Concat(), ("mixed", "twice")),
        "thin": (conv(4, 25, 1), ("nested",)),
        "inputs": (Concat(), ("late", "a", "x")),
        "wide": (conv(4, 12, 5), ("inputs", "late")),
        "words": (Concat(), ("scaled", "mean", "flat", "vector")),
        "read": (linear(3, 136), ("words",)),
        # what nobody else reads: inputs of a concat, and its result
        "unread": (Concat(), ("first", "second")),
        "only": (Concat(), ("third", "alone")),
        "behind": (conv(3, 8, 3), ("only",)),
    }
    nodes = [Node(f"n.{name}", op, inputs, name) for name, (op, inputs) in ops.items()]
    outputs = ["b", "deep", "hidden", "sum", "added", "last", "both", "renamed", "again", "end", "joined"]
    outputs += ["twice", "thin", "wide", "read", "inputs", "unread", "behind"]
    graph = make_graph(shapes, outputs, nodes)
    return graph, {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def spread_tiles(graph: Graph, target: Target, shift: int, detect: bool = True) -> dict[str, TileChoice]:
    """Give node i the (i + shift)-th of the tiles that can run it: a few programs reach all of them."""
    candidates = lower(graph, target, detect=detect).candidates
    return {node: tiles[(i + shift) % len(tiles)] for i, (node, tiles) in enumerate(candidates.items())}


def _weight_shape(case: Case) -> Shape:
    if case.linear:
        return (case.outputs, case.x[1])
    return (case.outputs, case.x[1] // case.groups, *case.kernel)


def _op(case: Case, rng: np.random.Generator) -> Conv | Linear:
    weight = rng.standard_normal(_weight_shape(case), np.float32)
    weight *= make_mask(weight, SchemeSpec.parse(case.scheme), case.density)
    weight[list(case.empty)] = 0
    bias = rng.standard_normal(case.outputs, np.float32)
    clamp = Range(-0.5, 1.0) if case.residual else ANY
    if case.linear:
        return Linear(weight, bias, clamp)
    return Conv(weight, bias, case.stride, case.pads, case.dilation, case.groups, clamp)
