"""The steps of a linear layer."""

from __future__ import annotations

import numpy as np

from prunemap.compiler.formats import pack, smallest_index
from prunemap.compiler.ir import Linear, Node
from prunemap.compiler.lowering import Lowering
from prunemap.compiler.program import LinearStep, Step, Tensor, linear_tile
from prunemap.compiler.select import linear_candidates


def linear_steps(low: Lowering, node: Node, source: Tensor, residual: Tensor | None = None) -> list[Step]:
    """Return the step of a linear layer."""
    op = node.op
    assert isinstance(op, Linear)
    kept = low.kept(op.weight)
    packed = pack(op.weight, kept, low.pick(node, linear_candidates(kept)).grouping)
    indices = smallest_index(packed.columns.astype(np.int64) * low.layout(source.name).plane)
    kernel = low.tile(linear_tile(packed.height, indices.dtype))
    low.choose(node, kernel.name, op.weight, packed.weights.size)
    stored = low.packed_fields(packed, indices, op.bias, op.clamp)
    return [LinearStep(in_=source, out=Tensor(node.output), residual=residual, kernel=kernel, **stored)]
