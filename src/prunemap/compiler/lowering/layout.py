"""Where every element of a tensor lies: channel planes with their zero halo in the buffer, one pitch per stage.

A plane of an (N, C, H, W) tensor, ``pitch`` = 6 for W = 5 and a halo of 1::

    . . . . . .      top halo rows           element (y, x) lies at  origin + y·pitch + x
    . x x x x x      the columns right of a row are the left halo of the next one
    . x x x x x
    . . . . . .      bottom halo rows, then slack up to whole vectors

So a kernel position is just an address offset, and a vector may run across row ends: what it computes for the halo
columns is masked to zero at the store. Vectors (N, F), and maps of one pixel without halo, are stored densely.
Tensors that only general ops name (of any rank and kind) are rows: one dense run of all their elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from prunemap.compiler.graph.ir import MAP_OPS, Concat, Conv, Graph, Shape
from prunemap.compiler.lowering.concat import Part, copied, find_parts, root_of
from prunemap.core.layer import Pads, Pair, sliding_size
from prunemap.core.target import Target

_CACHE_LINE_FLOATS = 16


@dataclass(frozen=True)
class Layout:
    """Layout of one tensor's images; all numbers count floats."""

    channels: int
    size: Pair
    """(H, W)"""
    pitch: int
    origin: int
    """Offset of element (0, 0) in its plane."""
    plane: int
    lanes: int
    has_halo: bool
    """Whether zeros must stand around or between the rows."""
    is_row: bool = False
    """Whether it is one run of all elements of a tensor, the images of a batch included."""

    @property
    def image(self) -> int:
        """Floats of one image."""
        return self.channels * self.plane

    @property
    def vectors(self) -> int:
        """Vectors that cover a plane from the first to the last row."""
        return -(-self.size[0] * self.pitch // self.lanes)

    @property
    def interior(self) -> int:
        """Floats from ``origin`` that a pixel-lane kernel writes."""
        return self.vectors * self.lanes


def dense_layout(shape: Shape) -> Layout:
    """Layout of a vector (N, F) or a one-pixel map: F planes of one element."""
    return Layout(shape[1], (1, 1), pitch=1, origin=0, plane=1, lanes=1, has_halo=False)


def row_layout(shape: Shape) -> Layout:
    """Layout of a tensor of any rank: one row of its elements."""
    count = prod(shape)
    return Layout(1, (1, count), pitch=count, origin=0, plane=count, lanes=1, has_halo=False, is_row=True)


def planar_layout(shape: Shape, halo: Pads, pitch: int, lanes: int) -> Layout:
    """Layout of a map with at least ``halo`` zeros around it and rows ``pitch`` apart."""
    _, c, h, w = shape
    top, left, bottom, right = halo
    origin = top * pitch + left
    vectors = max(-(-h * pitch // lanes) * lanes, (h - 1) * pitch + lanes)  # across all rows; from the last one's start
    needed = origin + max((h + bottom) * pitch + right, vectors)
    lines = -(-needed // _CACHE_LINE_FLOATS)
    lines += 1 - lines % 2  # an odd number of cache lines: channels fall into different cache sets
    has_halo = any(halo) or pitch > w  # a halo of bottom rows alone moves neither the pitch nor the origin
    return Layout(c, (h, w), pitch, origin, lines * _CACHE_LINE_FLOATS, lanes, has_halo)


@dataclass(frozen=True)
class Phases:
    """The input of a strided conv, cut into its ``stride`` phases; tensor (N, P·C, Hp, Wp), phase by phase.

    Element (y, x) of phase (py, px) is element (y·sh + py, x·sw + px) of the map; so the conv reads it with stride 1.
    """

    used: tuple[Pair, ...]
    """The phases that the kernel reads, in order."""
    shape: Shape
    halo: Pads


def phases_of(op: Conv, x: Shape) -> Phases:
    """Return the phases that ``op`` reads from an input of shape ``x``."""
    places = [_phase(op, ky, kx) for ky in range(op.weight.shape[2]) for kx in range(op.weight.shape[3])]
    used = tuple(sorted({phase for phase, _ in places}))
    shift_y, shift_x = [shift[0] for _, shift in places], [shift[1] for _, shift in places]
    size = (-(-x[2] // op.stride[0]), -(-x[3] // op.stride[1]))
    kernel = (op.weight.shape[2], op.weight.shape[3])
    out_size = sliding_size((x[2], x[3]), kernel, op.stride, op.pads, op.dilation)
    reach = [(out + max(shift)) - n for out, shift, n in zip(out_size, (shift_y, shift_x), size, strict=True)]
    halo = (max(0, -min(shift_y)), max(0, -min(shift_x)), max(0, reach[0]), max(0, reach[1]))
    return Phases(used, (x[0], len(used) * x[1], *size), halo)


def _phase(op: Conv, ky: int, kx: int) -> tuple[Pair, Pair]:
    """Return (phase, shift) of a kernel position: it reads element (y + shift) of the phase for output y."""
    y, x = ky * op.dilation[0] - op.pads[0], kx * op.dilation[1] - op.pads[1]
    return (y % op.stride[0], x % op.stride[1]), (y // op.stride[0], x // op.stride[1])


def position_offsets(op: Conv, layout: Layout, phases: Phases | None) -> list[int]:
    """Return, per kernel position, the offset in floats from an output's place to what it reads.

    Args:
        layout: of the conv's input, or of its phases where it is strided.
    """
    offsets = []
    for ky in range(op.weight.shape[2]):
        for kx in range(op.weight.shape[3]):
            if phases is None:  # every stride-th element of the map itself
                offsets.append((ky * op.dilation[0] - op.pads[0]) * layout.pitch + kx * op.dilation[1] - op.pads[1])
                continue
            phase, (dy, dx) = _phase(op, ky, kx)
            planes = phases.used.index(phase) * (layout.channels // len(phases.used))
            offsets.append(planes * layout.plane + dy * layout.pitch + dx)
    return offsets


def position_phases(op: Conv) -> list[Pair]:
    """Return the phase that every kernel position reads."""
    return [_phase(op, ky, kx)[0] for ky in range(op.weight.shape[2]) for kx in range(op.weight.shape[3])]


def has_depthwise_tile(op: Conv) -> bool:
    """Whether the conv is a depthwise one that depthwise_tile.h can run: it reads a strided map itself."""
    kernel = op.weight.shape[1:] in ((1, 3, 3), (1, 5, 5), (1, 7, 7), (1, 9, 9))
    return kernel and op.groups > 1 and op.stride in ((1, 1), (2, 2)) and op.dilation == (1, 1)


def is_strided(op: Conv) -> bool:
    """Whether the conv reads phases of its input."""
    return op.stride != (1, 1)


@dataclass(frozen=True)
class Layouts:
    """The layout of every tensor, the phases of strided convs (``phases_name``) included."""

    tensors: dict[str, Layout]
    phases: dict[str, Phases]
    """By the name of the conv's output."""
    parts: dict[str, Part]
    """Tensors inside another one."""


class _Stages:
    """Union-find over tensors that must share a pitch."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, name: str) -> str:
        while self.parent.setdefault(name, name) != name:
            name = self.parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        self.parent[self.find(second)] = self.find(first)


def phases_name(output: str) -> str:
    """Return the name of the tensor that holds the phases read by the strided conv that makes ``output``."""
    return f"{output}\0phases"  # no tensor of a model has such a name


def assign_layouts(graph: Graph, target: Target, halos: Mapping[str, Pads] | None = None) -> Layouts:
    """Give every tensor its layout: a stage's pitch is the widest row + halo of the tensors in it.

    Args:
        halos: zeros around tensors that something outside of the graph needs.
    """
    stages, halos, shapes = _Stages(), dict(halos or {}), dict(graph.shapes)
    phases: dict[str, Phases] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv):
            continue
        source = node.inputs[0]
        halo = node.op.pads
        if has_depthwise_tile(node.op) and is_strided(node.op):
            stages.find(source)  # a stage of its own: input and output need not share a pitch
            halos[source] = _larger(halos.get(source, (0, 0, 0, 0)), halo)
            source, halo = node.output, (0, 0, 0, 0)
        elif is_strided(node.op):
            phases[node.output] = phases_of(node.op, graph.shapes[source])
            source, halo = phases_name(node.output), phases[node.output].halo
            shapes[source] = phases[node.output].shape
        halos[source] = _larger(halos.get(source, (0, 0, 0, 0)), halo)
        for other in (node.output, *node.inputs[1:]):
            stages.join(source, other)
    parts = find_parts(graph)
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            shapes |= {name: graph.shapes[node.inputs[index]] for index, name in copied(node, parts)}
    halos = _alike_in_parts(halos, parts)
    for name, part in parts.items():
        if len(shapes[name]) == 4:
            stages.join(part.whole, name)
    pitches: dict[str, int] = {}
    for name in stages.parent:
        _, left, _, right = halos.get(name, (0, 0, 0, 0))
        stage = stages.find(name)
        pitches[stage] = max(pitches.get(stage, 0), shapes[name][3] + max(left, right))
    rows = _rows(graph)
    made = {
        name: row_layout(shape)
        if name in rows
        else _layout(shape, halos.get(name), pitches.get(stages.find(name)), target)
        for name, shape in shapes.items()
    }
    return Layouts(made, phases, parts)


def _rows(graph: Graph) -> set[str]:
    """The tensors that no op on maps or vectors names."""
    nodes = (node for node in graph.nodes if isinstance(node.op, MAP_OPS))
    return graph.shapes.keys() - {name for node in nodes for name in (*node.inputs, node.output)}


def _alike_in_parts(halos: Mapping[str, Pads], parts: Mapping[str, Part]) -> dict[str, Pads]:
    """Give a concat's result and everything inside it the largest of their halos."""
    largest: dict[str, Pads] = {}
    for name, halo in halos.items():
        root, _ = root_of(name, parts)
        largest[root] = _larger(largest.get(root, (0, 0, 0, 0)), halo)
    members = {name: root_of(name, parts)[0] for name in (*parts, *largest)}
    return {**halos, **{name: largest[root] for name, root in members.items() if root in largest}}


def _layout(shape: Shape, halo: Pads | None, pitch: int | None, target: Target) -> Layout:
    if len(shape) == 2 or (pitch is None and shape[2:] == (1, 1)):
        return dense_layout(shape)
    return planar_layout(shape, halo or (0, 0, 0, 0), pitch or shape[3], target.lanes)


def _larger(a: Pads, b: Pads) -> Pads:
    return (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
