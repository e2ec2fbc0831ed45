"""Layouts, phases and the arena: what the kernels' addresses rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.compiler.graph.ir import Conv, Node, Reshape
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.lowering.layout import assign_layouts, phases_name, planar_layout
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.lowering.memory import Life, place
from prunemap.errors import InternalError, UserError
from prunemap.targets import X86_64_V4

small = st.integers(0, 3)


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20), st.tuples(small, small, small, small), small)
def test_every_padded_element_lies_in_its_plane(channels: int, h: int, w: int, halo: tuple, extra: int) -> None:
    top, left, bottom, right = halo
    layout = planar_layout((2, channels, h, w), halo, w + max(left, right) + extra, lanes=16)
    places = {
        (y, x): layout.origin + y * layout.pitch + x for y in range(-top, h + bottom) for x in range(-left, w + right)
    }
    assert min(places.values()) >= 0 and max(places.values()) < layout.plane
    inside = [place for (y, x), place in places.items() if 0 <= y < h and 0 <= x < w]
    outside = {place for (y, x), place in places.items() if not (0 <= y < h and 0 <= x < w)}
    assert len(set(inside)) == h * w and not outside & set(inside), "a halo element is a real one"
    assert layout.origin + layout.interior <= layout.plane, "whole vectors leave the plane"
    assert layout.has_halo == bool(outside or extra), "a halo that no kernel zeroes"
    assert (layout.plane // 16) % 2 == 1, "planes fall into the same cache sets"


@given(st.integers(1, 2), st.integers(2, 20))
def test_a_halo_asked_for_behind_a_1x1_widens_the_rows_of_its_stage(stride: int, size: int) -> None:
    op = Conv(np.ones((3, 3, 1, 1), np.float32), np.zeros(3, np.float32), (stride, stride))
    graph = make_graph({"x": (1, 3, size, size)}, ["y"], [Node("n", op, ("x",), "y")])
    layouts = assign_layouts(graph, X86_64_V4, {"y": (0, 0, 0, 1)}).tensors
    source = layouts["x"] if stride == 1 else layouts[phases_name("y")]
    assert source.pitch == layouts["y"].pitch == graph.shapes["y"][3] + 1


@pytest.mark.parametrize("batch", [1, 2])
def test_offsets_that_need_more_than_32_bits_are_refused(batch: int) -> None:
    weight = np.zeros((1, 8192 // batch, 1, 3), np.float32)
    weight[0, [0, -1]] = 1
    op = Conv(weight, np.zeros(1, np.float32), pads=(0, 2**18, 0, 2**18))
    graph = make_graph({"x": (batch, weight.shape[1], 1, 1)}, ["y"], [Node("n", op, ("x",), "y")])
    with pytest.raises(UserError, match=r"'x' would need \d+ elements with the padding around it, at most 2147483647"):
        lower(graph, X86_64_V4)


lives = st.lists(
    st.tuples(st.integers(1, 500), st.integers(0, 9), st.integers(0, 5)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=12,
)


@given(lives)
def test_tensors_alive_together_do_not_overlap(spans: list[tuple[int, int, int]]) -> None:
    tensors = [Life(f"t{i}", *span) for i, span in enumerate(spans)]
    offsets, size = place(tensors)
    for i, a in enumerate(tensors):
        assert offsets[a.name] % 16 == 0 and offsets[a.name] + a.size <= size
        for b in tensors[:i]:
            apart = offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
            assert apart or not a.meets(b)


def test_the_arena_is_reused() -> None:
    chain = [Life(f"t{i}", 100, i, i + 1) for i in range(10)]
    assert place(chain)[1] <= 2 * 112


def test_a_map_becomes_another_map_only_through_a_row() -> None:
    conv = Conv(np.ones((4, 4, 3, 3), np.float32), np.zeros(4, np.float32), pads=(1, 1, 1, 1))
    nodes = [
        Node("a", conv, ("x",), "y"),
        Node("turn", Reshape((1, 4, 9, 4)), ("y",), "z"),
        Node("b", conv, ("z",), "w"),
    ]
    with pytest.raises(InternalError, match="'turn' reshapes a map to a map"):
        lower(make_graph({"x": (1, 4, 6, 6)}, ["w"], nodes), X86_64_V4)
