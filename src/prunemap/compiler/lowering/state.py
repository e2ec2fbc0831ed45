"""What the lowering of a graph gathers, and what its rules may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunemap.compiler.formats import Grouping, MaskBundles, MaskRuns, PickLists, RowGroups, SmallIndex, group_rows
from prunemap.compiler.graph.ir import Array, Conv, Graph, Node, Range
from prunemap.compiler.lowering.concat import root_of
from prunemap.compiler.lowering.layout import Layout, Layouts, phases_name, position_offsets
from prunemap.compiler.lowering.program import NONE, Blob, Symbol, Tile
from prunemap.compiler.lowering.select import Candidate, TileChoice
from prunemap.compiler.lowering.strides import Strides, strides_of
from prunemap.compiler.structure import structure_of
from prunemap.core.artifact import KernelChoice
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.target import Target


@dataclass
class Lowering:
    """What the lowering of a graph has gathered so far."""

    graph: Graph
    target: Target
    layouts: Layouts
    schemes: Mapping[str, SchemeSpec]
    """Pinned by a plan, by node name."""
    detect: bool
    wanted: Mapping[str, TileChoice]
    """Tiles chosen by tuning, by node name; the others are the model's."""
    blob: Blob = field(default_factory=Blob)
    tiles: dict[Tile, None] = field(default_factory=dict)
    choices: list[KernelChoice] = field(default_factory=list)
    candidates: dict[str, tuple[TileChoice, ...]] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    """Where the tensors that are constant lie in the blob, in bytes."""
    views: dict[str, str] = field(default_factory=dict)
    """Tensors that are another name and shape of one that lies in memory."""
    state: dict[str, int] = field(default_factory=dict)
    """Tensors beside those of the graph, and how many items they hold."""
    scratch: int = 0
    """Floats of scratch per thread that some step needs."""

    def layout(self, tensor: str) -> Layout:
        """Layout of a tensor, or of the phases of a conv."""
        return self.layouts.tensors[tensor]

    def strides(self, tensor: str) -> Strides:
        """Floats from one element to the next along every axis of a tensor of the graph."""
        whole, _ = root_of(tensor, self.layouts.parts)  # a part's images are as far apart as those of the whole
        return strides_of(self.layout(tensor), self.graph.shapes[tensor], self.layout(whole).image)

    def is_dense(self, tensor: str) -> bool:
        """Whether a tensor is one row-major run of its elements where all its images are stored."""
        layout = self.layout(tensor)
        return layout.is_row or (layout.plane == 1 and tensor not in self.layouts.parts)

    def root(self, tensor: str) -> tuple[str, int]:
        """Return the tensor that another one is a view or a part of, or itself, and from which channel on."""
        while tensor in self.views:
            tensor = self.views[tensor]
        return root_of(tensor, self.layouts.parts)

    def images(self, tensor: str) -> int:
        """How many images a tensor holds; one that is a row counts as one."""
        if self.layout(tensor).is_row or tensor not in self.graph.shapes:
            return self.state.get(tensor, 1)
        return self.graph.shapes[tensor][0]

    def ask_scratch(self, floats: int) -> None:
        """Ask for so much scratch per thread, and slack for whole vectors."""
        self.scratch = max(self.scratch, floats + 4 * self.target.lanes)

    def tile(self, tile: Tile) -> Symbol:
        """Ask for a tile to be compiled."""
        self.tiles[tile] = None
        return Symbol(tile.symbol)

    def mask(self, out: Layout) -> int:
        """Bits that keep the columns of the rows and clear those between them; NONE where there are none between."""
        if not out.has_halo:
            return NONE
        place = np.arange(out.interior)
        kept = (place % out.pitch < out.size[1]) & (place < out.size[0] * out.pitch)
        return self.blob.add(np.where(kept, -1, 0).astype(np.int32))

    def scheme_of(self, node: Node, weight: Array) -> SchemeSpec:
        """The structure that the layer runs by."""
        if not self.detect:
            return DENSE
        return self.schemes.get(node.name) or structure_of(weight)

    def pick(
        self, node: Node, kept: NDArray[np.bool_], candidates: Callable[[], list[Candidate]], blocks: int = 1
    ) -> tuple[TileChoice, Grouping, NDArray[np.bool_]]:
        """Return the tile that tuning wants, else the first candidate, with its row groups and what it stores.

        Args:
            kept: which weights must be stored, (O, columns).
            candidates: lists the tiles that could run the node; not asked where tuning has chosen.
            blocks: see :func:`group_rows`.
        """
        wanted = self.wanted.get(node.name)
        if wanted is None:
            found = candidates()
            self.candidates[node.name] = tuple(each.choice for each in found)
            wanted = found[0].choice
        stored = np.ones_like(kept) if wanted.dense else kept
        return wanted, group_rows(stored, wanted.filters, blocks), stored

    def kept(self, node: Node, weight: Array) -> NDArray[np.bool_]:
        """Which weights must be stored, (O, columns): those that are not zero, all where zeros are not to be used."""
        matrix = weight.reshape(len(weight), -1)
        uses_zeros = self.detect and self.schemes.get(node.name) != DENSE
        return matrix != 0 if uses_zeros else np.ones(matrix.shape, bool)

    def choose(self, node: Node, kernel: str, weight: Array, stored: int, reason: str = "") -> None:
        """Note what runs a node, and why densely if it does."""
        scheme, density = str(self.scheme_of(node, weight)), float(np.count_nonzero(weight) / weight.size)
        if density == 1:
            reason = "no zeros"
        elif not self.detect:
            reason = "structure detection is off"
        elif self.schemes.get(node.name) == DENSE:
            reason = "pinned dense by the plan"
        elif not reason and stored >= weight.size:
            reason = "no tile fits the zeros: all weights are stored"
        self.choices.append(KernelChoice(node.name, kernel, scheme, density, stored, reason))

    def positions(self, node: Node) -> NDArray[np.int64]:
        """The offset of every kernel position, in the input or in its phases."""
        op = node.op
        assert isinstance(op, Conv)
        phases = self.layouts.phases.get(node.output)
        layout = self.layout(node.inputs[0] if phases is None else phases_name(node.output))
        return np.asarray(position_offsets(op, layout, phases), np.int64)

    def packed_fields(
        self, packed: RowGroups | MaskRuns | MaskBundles | PickLists, indices: SmallIndex, bias: Array, clamp: Range
    ) -> dict[str, Any]:
        """The fields that conv and linear steps share."""
        return {
            "groups": len(packed.rows),
            "rows": self.blob.add(packed.rows),
            "starts": self.blob.add(packed.starts),
            "indices": self.blob.add(indices),
            "weights": self.blob.add(packed.weights),
            "bias": self.blob.add(np.where(packed.rows >= 0, bias[packed.rows], 0).astype(np.float32)),
            "low": clamp.low,
            "high": clamp.high,
        }
