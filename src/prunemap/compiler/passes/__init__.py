"""PIPELINE: the passes in the order they run. Each leaves the interpreter's output unchanged."""

from __future__ import annotations

import numpy as np

from prunemap.compiler.graph.ir import Graph
from prunemap.compiler.graph.verify import verify_graph
from prunemap.compiler.passes import (
    drop_dead_channels,
    drop_identity,
    drop_unused,
    elementwise_on_pixels,
    fold_affine,
    fold_pads,
    fold_vectors,
    fuse_add,
    fuse_clamp,
    fuse_elementwise,
    join_remaps,
    tokens_to_pixels,
    vectors_to_linear,
)
from prunemap.compiler.passes.types import Pass
from prunemap.core.table import by_name

PIPELINE: tuple[Pass, ...] = (
    Pass("drop_identity", drop_identity.run),
    Pass("drop_unused", drop_unused.run),
    Pass("fold_pads", fold_pads.run),
    Pass("fold_affine", fold_affine.run),
    Pass("fold_vectors", fold_vectors.run),
    Pass("fuse_add", fuse_add.run),
    Pass("fuse_clamp", fuse_clamp.run),
    Pass("fuse_elementwise", fuse_elementwise.run),
    Pass("join_remaps", join_remaps.run),
    Pass("vectors_to_linear", vectors_to_linear.run),
    Pass("tokens_to_pixels", tokens_to_pixels.run),
    Pass("elementwise_on_pixels", elementwise_on_pixels.run),
    Pass("drop_dead_channels", drop_dead_channels.run),
)
by_name(PIPELINE)  # no name twice


def optimise(graph: Graph) -> Graph:
    """Run the passes of ``PIPELINE`` in order, checking the graph after each."""
    for each in PIPELINE:
        with np.errstate(all="ignore"):  # weights that are not finite are the compiler's to refuse
            graph = verify_graph(each.run(graph), after=f"pass {each.name}")
    return graph
