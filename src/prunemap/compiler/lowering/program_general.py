"""Steps of the general ops: they walk over tensors of any rank and layout by strides. They mirror C structs."""

from __future__ import annotations

from dataclasses import dataclass

from prunemap.compiler.lowering.program import NONE, LinearStep, Step, Symbol, Tensor

AXES = 8
"""Axes that a step can walk over, those joined that lie alike."""


@dataclass(frozen=True)
class Space:
    """strided.h; what a step walks over, outermost axis first."""

    axes: int
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, sizes: tuple[int, ...]) -> Space:
        """Return the space of these sizes; a single place where there are none."""
        return cls(len(sizes), sizes) if sizes else cls(1, (1,))


@dataclass(frozen=True)
class Operand:
    """strided.h; where a tensor's element lies for a place in the space, in floats."""

    tensor: Tensor
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class GeneralStep(Step):
    """The base of most: a space, and where the result goes."""

    space: Space
    out: Operand


@dataclass(frozen=True, kw_only=True)
class ElementwiseStep(GeneralStep):
    """elementwise.h"""

    symbol = "f32_elementwise"
    struct = "elementwise_step"
    header = "elementwise.h"
    kernel: Symbol
    in_: tuple[Operand, ...]


@dataclass(frozen=True, kw_only=True)
class TransposeStep(GeneralStep):
    """transpose.h"""

    symbol = "f32_transpose"
    struct = "transpose_step"
    header = "transpose.h"
    in_: Operand


@dataclass(frozen=True, kw_only=True)
class RemapStep(GeneralStep):
    """remap.h"""

    symbol = "f32_remap"
    struct = "remap_step"
    header = "remap.h"
    in_: Operand
    tables: tuple[int, ...]
    fill: int
    run_begin: int
    run_end: int


@dataclass(frozen=True, kw_only=True)
class RowsStep(GeneralStep):
    """rows.h"""

    symbol = "f32_rows"
    struct = "rows_step"
    header = "rows.h"
    in_: Operand
    in_row: Space
    out_row: Space
    in_strides: tuple[int, ...]
    out_strides: tuple[int, ...]
    function: Symbol
    n: int
    m: int
    in_dense: bool
    out_dense: bool
    parameters: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class MatMulStep(Step):
    """matmul.h"""

    symbol = "f32_matmul"
    struct = "matmul_step"
    header = "matmul.h"
    batch: Space
    out: Operand
    left: Operand
    right: Operand
    m: int
    k: int
    n: int
    out_row: int
    left_row: int
    left_step: int
    right_row: int


@dataclass(frozen=True, kw_only=True)
class IndexedStep(GeneralStep):
    """gather.h; the base of the two."""

    struct = "gather_step"
    header = "gather.h"
    in_: Operand
    indices: Operand
    count: int
    index_stride: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    reduction: int = 0
    integers: bool = False
    """What a reduction computes with."""


@dataclass(frozen=True, kw_only=True)
class GatherStep(IndexedStep):
    """gather.h"""

    symbol = "f32_gather"


@dataclass(frozen=True, kw_only=True)
class ScatterStep(IndexedStep):
    """gather.h"""

    symbol = "f32_scatter"


@dataclass(frozen=True, kw_only=True)
class WindowPoolStep(GeneralStep):
    """window_pool.h"""

    symbol = "f32_window_pool"
    struct = "window_pool_step"
    header = "window_pool.h"
    in_: Operand
    kind: int
    p: int
    column_major: bool
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    dilation: tuple[int, ...]
    pad: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class InterpolateStep(GeneralStep):
    """interpolate.h"""

    symbol = "f32_interpolate"
    struct = "interpolate_step"
    header = "interpolate.h"
    in_: Operand
    axis: int
    taps: int
    places: int
    weights: int


@dataclass(frozen=True, kw_only=True)
class RecurrentStep(Step):
    """recurrent.h"""

    symbol = "f32_recurrent"
    struct = "recurrent_step"
    header = "recurrent.h"
    product: LinearStep
    candidate: LinearStep
    given: Tensor
    first_h: Tensor
    first_c: Tensor | None
    h: Tensor
    c: Tensor | None
    gates: Tensor
    out: Tensor
    kind: int
    steps: int
    items: int
    hidden: int
    reverse: bool
    peepholes: int = NONE


@dataclass(frozen=True)
class ZeroHaloStep(Step):
    """strided.h"""

    symbol = "f32_zero_halo"
    struct = "zero_halo_step"
    header = "strided.h"
    map: Tensor
    images: int
