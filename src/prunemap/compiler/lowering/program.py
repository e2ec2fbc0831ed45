"""The lowered program: tensors placed in an arena, weights in a blob, steps that mirror the C structs of kernels/.

Field names are those of the C structs, so that :mod:`prunemap.compiler.emit` can print any step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from prunemap.compiler.graph.ir import Conv
from prunemap.compiler.lowering.layout import Layout
from prunemap.compiler.lowering.select import TileChoice
from prunemap.core.artifact import KernelChoice
from prunemap.core.layer import Pair

NONE = -1
IndexType = np.dtype[Any]
"""uint8, uint16 or int32, as small as the values allow."""
_ALIGNMENT = 64


@dataclass(frozen=True)
class Placed:
    """A tensor of the program; ``at`` is its offset in the arena in floats."""

    name: str
    layout: Layout
    at: int
    image: int = 0
    """Floats from one image to the next; 0 = those of a batch take turns."""
    constant: bool = False
    """Whether it lies in the blob; ``at`` then counts from its beginning."""


@dataclass(frozen=True)
class Symbol:
    """A C function."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call of a kernel. ``symbol`` is the C function, ``struct`` its argument."""

    symbol: ClassVar[str]
    struct: ClassVar[str]
    header: ClassVar[str] = ""
    """Beside those that every program includes."""


@dataclass(frozen=True)
class Tile:
    """A kernel that is compiled for the sizes that the program needs: a header included with sizes defined."""

    symbol: str
    """The C name."""
    header: str
    defines: tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class StepType:
    """How the steps from one kept unit of a conv to the next are stored: in floats, or in whole channels."""

    dtype: IndexType
    in_channels: bool

    def __str__(self) -> str:
        return f"{'c' if self.in_channels else 'i'}{8 * self.dtype.itemsize}"

    @property
    def defines(self) -> tuple[tuple[str, str | int], ...]:
        """What a tile must be told."""
        return ("INDEX", _c_type(self.dtype)), ("STEP", "s->in->plane" if self.in_channels else 1)


def conv_tile(filters: int, vectors: int, steps: StepType, masked: bool) -> Tile:
    """A tile of conv.h, such as f32_conv_8x3_i16, or for mask runs, such as f32_conv_masked_4x6_c8."""
    kind = "conv_masked" if masked else "conv"
    sizes = (("FILTERS", filters), ("VECTORS", vectors), *steps.defines)
    return Tile(f"f32_{kind}_{filters}x{vectors}_{steps}", f"{kind}_tile.h", sizes)


def conv_lanes_tile(filters: int, rows: int, cols: int, steps: StepType) -> Tile:
    """A tile of conv.h with filters in the lanes, such as f32_conv_lanes_16x2x14_i16."""
    sizes = (("FILTERS", filters), ("ROWS", rows), ("COLS", cols), *steps.defines)
    return Tile(f"f32_conv_lanes_{filters}x{rows}x{cols}_{steps}", "conv_lanes_tile.h", sizes)


def linear_tile(filters: int, items: int, index: IndexType, form: Literal["", "masked", "pick"]) -> Tile:
    """A tile of linear.h, such as f32_linear_16x1_i16.

    Args:
        form: ``masked`` for mask bundles, such as f32_linear_masked_8x1_i16; ``pick`` for pick lists.
    """
    kind = f"linear_{form}" if form else "linear"
    sizes = (("FILTERS", filters), ("ITEMS", items), ("INDEX", _c_type(index)))
    return Tile(f"f32_{kind}_{filters}x{items}_i{8 * index.itemsize}", f"{kind}_tile.h", sizes)


def depthwise_tile(op: Conv, source: Layout, out: Layout, size: Pair, *, listed: bool) -> Tile:
    """The kernel of depthwise.h for a square kernel on one size of map; its name goes on with the layouts.

    Args:
        size: output rows and columns of the register tile.
        listed: run the kept taps only.
    """
    sizes = {
        "HEIGHT": out.size[0],
        "WIDTH": out.size[1],
        "IN_PITCH": source.pitch,
        "IN_PLANE": source.plane,
        "PITCH": out.pitch,
        "PLANE": out.plane,
        "ORIGIN": out.origin,
        "HALO": int(out.has_halo),
    }
    tile = {"KERNEL": op.weight.shape[2], "STRIDE": op.stride[0], "ROWS": size[0], "VECTOR": size[1]}
    tile["LISTED"] = int(listed)
    symbol = f"{depthwise_name(op, size, listed=listed)}_{'_'.join(map(str, sizes.values()))}"
    return Tile(symbol, "depthwise_tile.h", (*tile.items(), *sizes.items()))


def depthwise_name(op: Conv, size: Pair, *, listed: bool) -> str:
    """Name of a tile of depthwise.h, such as f32_depthwise_3s2_4x16, or of kept taps, f32_depthwise_listed_3s2_4x16."""
    return f"f32_depthwise_{'listed_' if listed else ''}{op.weight.shape[2]}s{op.stride[0]}_{size[0]}x{size[1]}"


def _c_type(index: IndexType) -> str:
    return {1: "uint8_t", 2: "uint16_t", 4: "int32_t"}[index.itemsize]


@dataclass(frozen=True)
class Tensor:
    """A :class:`Placed` tensor by name; one ``in_scratch`` lies in each thread's scratch: only its layout counts."""

    name: str
    in_scratch: bool = False


@dataclass(frozen=True, kw_only=True)
class WeightStep(Step):
    """What every step with weights has; offsets count bytes of the blob."""

    in_: Tensor
    out: Tensor
    residual: Tensor | None
    weights: int
    bias: int
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class PackedStep(WeightStep):
    """A step over row groups."""

    groups: int
    rows: int
    starts: int
    indices: int


@dataclass(frozen=True, kw_only=True)
class ConvStep(PackedStep):
    """conv.h"""

    symbol = "f32_conv"
    struct = "conv_step"
    full: Symbol
    tail: Symbol | None
    strips: int
    tile_strips: int
    by_rows: bool
    filters: int
    pixels_outer: bool
    base: int
    mask: int
    weight_starts: int = NONE
    counts: int = NONE


@dataclass(frozen=True, kw_only=True)
class LinearStep(PackedStep):
    """linear.h"""

    symbol = "f32_linear"
    struct = "linear_step"
    full: Symbol
    tail: Symbol | None
    tile_items: int
    weight_starts: int = NONE


@dataclass(frozen=True, kw_only=True)
class DepthwiseStep(WeightStep):
    """depthwise.h"""

    symbol = "f32_depthwise"
    struct = "depthwise_step"
    phases: Tensor | None
    kernel: Symbol
    multiplier: int
    stride_y: int
    stride_x: int
    phase_count: int
    phase_places: int
    starts: int
    offsets: int
    mask: int


@dataclass(frozen=True)
class CopyStep(Step):
    """maps.h; the base of the two copies."""

    struct = "copy_step"
    map: Tensor
    index: int


@dataclass(frozen=True)
class CopyInStep(CopyStep):
    """maps.h"""

    symbol = "f32_copy_in"


@dataclass(frozen=True)
class CopyOutStep(CopyStep):
    """maps.h"""

    symbol = "f32_copy_out"


@dataclass(frozen=True)
class UnaryStep(Step):
    """maps.h; a map in, another out."""

    struct = "unary_step"
    in_: Tensor
    out: Tensor


@dataclass(frozen=True)
class FlattenStep(UnaryStep):
    """maps.h"""

    symbol = "f32_flatten"


@dataclass(frozen=True)
class GlobalAveragePoolStep(UnaryStep):
    """maps.h"""

    symbol = "f32_global_average_pool"


@dataclass(frozen=True)
class PhasesStep(Step):
    """maps.h"""

    symbol = "f32_phases"
    struct = "phases_step"
    in_: Tensor
    out: Tensor
    stride_y: int
    stride_x: int
    phases: int


@dataclass(frozen=True)
class PoolStep(Step):
    """maps.h; the base of the two pools."""

    struct = "pool_step"
    in_: Tensor
    out: Tensor
    kernel_y: int
    kernel_x: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    bottom: int
    right: int
    count_pads: bool = False


@dataclass(frozen=True)
class MaxPoolStep(PoolStep):
    """maps.h"""

    symbol = "f32_max_pool"


@dataclass(frozen=True)
class AveragePoolStep(PoolStep):
    """maps.h"""

    symbol = "f32_average_pool"


@dataclass(frozen=True)
class PointwiseStep(Step):
    """maps.h"""

    symbol = "f32_pointwise"
    struct = "pointwise_step"
    in_: Tensor
    other: Tensor | None
    out: Tensor
    scale: int
    shift: int
    low: float
    high: float


class Blob:
    """The read-only bytes beside the code: packed weights, indices, masks. Equal arrays are stored once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[bytes, int] = {}

    def add(self, array: np.ndarray[Any, Any]) -> int:
        """Append an array; return its offset in bytes, a multiple of 64."""
        data = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha256(data).digest()
        if key not in self._known:
            self._known[key] = self._size
            padded = data + bytes(-len(data) % _ALIGNMENT)
            self._parts.append(padded)
            self._size += len(padded)
        return self._known[key]

    def content(self) -> bytes:
        """Return all of it."""
        return b"".join(self._parts)


@dataclass(frozen=True)
class TimedStep:
    """A step and the slot that its time is added to."""

    step: Step
    slot: int


@dataclass(frozen=True)
class ImageLoop:
    """Steps that run one after another for some images, then for the next ones."""

    steps: tuple[TimedStep, ...]
    images: int
    at_once: int
    """1, or all of them."""


@dataclass(frozen=True)
class LoweredProgram:
    """Everything that :mod:`prunemap.compiler.emit` prints."""

    tensors: tuple[Placed, ...]
    loops: tuple[ImageLoop, ...]
    slots: tuple[str, ...]
    """Names of what is timed: the nodes in graph order, then the inputs, then the outputs."""
    tiles: tuple[Tile, ...]
    arena_floats: int
    scratch_floats: int
    """Per thread."""
    blob: bytes = field(repr=False)
    ends: tuple[int, ...] = ()
    """Elements of the inputs, then of the outputs, in graph order."""
    choices: tuple[KernelChoice, ...] = ()
    candidates: Mapping[str, tuple[TileChoice, ...]] = field(default_factory=dict)
    """The tiles that could run each node, the model's choice first."""
