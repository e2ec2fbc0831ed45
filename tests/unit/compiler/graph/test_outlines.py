"""Outlines stand for whole arrays: what is done with them is what NumPy does with those."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prunemap.compiler.graph.general_meaning import GENERAL_MEANING
from prunemap.compiler.graph.ir import Remap, Shape
from prunemap.compiler.graph.outlines import fitted, joined, moved, moved_back, reshaped, shortened

SIZES = st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)


@st.composite
def outlines(draw: st.DrawFn) -> tuple[np.ndarray, Shape]:
    shape = tuple(draw(SIZES))
    sizes = [size if draw(st.booleans()) else 1 for size in shape]
    values = np.random.default_rng(draw(st.integers(0, 99))).choice([0.0, 1.0, np.nan], sizes)
    return values.astype(np.float32), shape


def whole(outline: np.ndarray, shape: Shape) -> np.ndarray:
    assert outline.ndim == len(shape)
    return np.broadcast_to(outline, shape)


@st.composite
def factorings(draw: st.DrawFn, size: int) -> Shape:
    """Draw a shape of so many elements."""
    found = []
    while size > 1:
        found.append(draw(st.sampled_from([n for n in range(2, size + 1) if size % n == 0])))
        size //= found[-1]
    for _ in range(draw(st.integers(0, 2))):
        found.insert(draw(st.integers(0, len(found))), 1)
    return tuple(found) or (1,)


@given(outlines(), st.data())
def test_reshaping(case: tuple[np.ndarray, Shape], data: st.DataObject) -> None:
    outline, shape = case
    new = data.draw(factorings(prod(shape)))
    found = reshaped(outline, shape, new)
    np.testing.assert_array_equal(whole(found, new), whole(outline, shape).reshape(new))
    assert found.shape == shortened(found).shape


@st.composite
def remaps(draw: st.DrawFn, shape: Shape) -> Remap:
    axes = tuple(draw(st.permutations(range(len(shape)))))
    tables = tuple(
        np.asarray(draw(st.lists(st.integers(-1, shape[axis] - 1), min_size=1, max_size=5)), np.int64) for axis in axes
    )
    return Remap(axes, tables, draw(st.sampled_from([0.0, 2.0])))


@given(outlines(), st.data())
def test_moving_and_back(case: tuple[np.ndarray, Shape], data: st.DataObject) -> None:
    outline, shape = case
    op = data.draw(remaps(shape))
    expected = GENERAL_MEANING[Remap](op, whole(outline, shape))
    np.testing.assert_array_equal(whole(moved(op, outline, shape), expected.shape), expected)
    used = np.random.default_rng(0).random(expected.shape) < 0.4
    sources = GENERAL_MEANING[Remap](
        Remap(op.axes, op.tables, -1.0), np.arange(prod(shape), dtype=np.float32).reshape(shape)
    )
    read = np.isin(np.arange(prod(shape)).reshape(shape), sources[used])
    np.testing.assert_array_equal(whole(moved_back(op, used, shape), shape), read)


@given(outlines(), st.integers(1, 3), st.data())
def test_joining(case: tuple[np.ndarray, Shape], count: int, data: st.DataObject) -> None:
    outline, shape = case
    axis = data.draw(st.integers(0, len(shape) - 1))
    parts = [outline, *(np.full((1,) * len(shape), np.float32(i)) for i in range(count))]
    found = joined(parts, [shape] * len(parts), axis)
    expected = np.concatenate([whole(part, shape) for part in parts], axis)
    np.testing.assert_array_equal(whole(found, expected.shape), expected)


def test_what_is_broadcast_is_used_where_any_of_its_copies_is() -> None:
    used = np.zeros((2, 3, 4), bool)
    used[1, 2, 0] = True
    assert fitted(used, (3, 1)).tolist() == [[False], [False], [True]]
    assert fitted(used, ()).tolist() is True
