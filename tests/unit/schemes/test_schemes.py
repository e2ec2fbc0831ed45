"""Every scheme, on any legal shape and density: what a mask promises, and that views lose nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from prunemap.schemes import SCHEMES, Mask, make_mask, scheme_of, why_illegal
from prunemap.schemes.pattern import pattern_table
from prunemap.schemes.scheme import keep_best

GROUP_SCHEMES = ("unstructured", "filter", "column", "punched")


@dataclass(frozen=True)
class Case:
    """A weight and what is asked of it."""

    weight: np.ndarray
    spec: SchemeSpec
    density: float

    @property
    def mask(self) -> Mask:
        return make_mask(self.weight, self.spec, self.density)


def shapes(kernels: Iterable[tuple[int, ...]]) -> st.SearchStrategy[tuple[int, ...]]:
    sizes = st.tuples(st.integers(1, 20), st.integers(1, 14))
    return st.tuples(sizes, st.sampled_from(list(kernels))).map(lambda pair: (*pair[0], *pair[1]))


KERNELS = {"pattern": [(3, 3)], "block": [(), (1, 1), (1,)]}
ANY_KERNEL = [(), (1, 1), (3, 3), (1, 7), (5,)]


@st.composite
def cases(draw: st.DrawFn, names: Iterable[str] = SCHEMES) -> Case:
    scheme = SCHEMES[draw(st.sampled_from(list(names)))]
    shape = draw(shapes(KERNELS.get(scheme.name, ANY_KERNEL)))
    block = draw(st.tuples(st.integers(1, 9), st.integers(1, 9))) if scheme.blocked else None
    density = draw(st.floats(0.01, scheme.max_density))
    weight = np.random.default_rng(draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    return Case(weight, SchemeSpec(scheme.name, block), density)


@given(cases())
def test_a_view_loses_nothing(case: Case) -> None:
    view = scheme_of(case.spec, case.weight.shape).view(case.weight.shape, case.spec)
    assert np.array_equal(view.restore(view.apply(case.weight), case.weight.shape), case.weight)
    real = view.apply(np.ones(case.weight.shape, dtype=int))
    assert real.sum() == case.weight.size
    assert real.shape == (*view.groups, *view.members)


@given(cases(GROUP_SCHEMES))
def test_density_is_exact_to_one_group(case: Case) -> None:
    """No mask of whole groups, taken in this order, comes closer: the next or the last group would be farther off."""
    sizes = group_sizes(case)
    kept = int(case.mask.sum())
    wanted = case.density * case.weight.size
    assert kept >= sizes.min()
    assert abs(kept - wanted) <= max(sizes.max() / 2, sizes.max() - wanted) + 1e-6


@given(cases(GROUP_SCHEMES))
def test_groups_live_or_die_whole(case: Case) -> None:
    view = scheme_of(case.spec, case.weight.shape).view(case.weight.shape, case.spec)
    real = view.apply(np.ones(case.weight.shape, dtype=int)).sum(axis=(-2, -1))
    alive = view.apply(case.mask.astype(int)).sum(axis=(-2, -1))
    assert set(np.unique(alive[alive > 0] - real[alive > 0])) <= {0}


@given(cases(GROUP_SCHEMES))
def test_the_groups_kept_are_the_strongest(case: Case) -> None:
    """Whole blocks only: a smaller last block is compared by its means."""
    view = scheme_of(case.spec, case.weight.shape).view(case.weight.shape, case.spec)
    rms = np.sqrt((view.apply(case.weight) ** 2).mean(axis=-2)).mean(axis=-1)
    full = view.apply(np.ones(case.weight.shape, dtype=int)).all(axis=(-2, -1))
    alive = view.apply(case.mask.astype(int)).any(axis=(-2, -1))
    kept, pruned = rms[alive & full], rms[~alive & full]
    if kept.size and pruned.size:
        assert kept.min() >= pruned.max() - 1e-6


@given(cases())
def test_a_mask_is_a_writable_array_that_keeps_something(case: Case) -> None:
    mask = case.mask
    assert mask.any()
    assert mask.flags.writeable
    assert mask.dtype == bool
    assert mask.shape == case.weight.shape


# Not block: what is left of a segment weighs less than the segment did, so the greedy order differs the second time.
@given(cases([name for name in SCHEMES if name != "block"]))
def test_pruning_again_changes_nothing(case: Case) -> None:
    pruned = case.weight * case.mask
    assert np.array_equal(pruned * make_mask(pruned, case.spec, case.density), pruned)


@given(cases(["pattern"]))
def test_a_kernel_is_empty_or_has_a_pattern(case: Case) -> None:
    kernels = case.mask.reshape(*case.weight.shape[:2], 9)
    allowed = {tuple(row) for row in np.vstack([pattern_table(), np.zeros((1, 9), bool)])}
    assert {tuple(kernel) for row in kernels for kernel in row} <= allowed
    per_filter = kernels.any(-1).sum(1)
    assert len(set(per_filter)) == 1
    assert abs(per_filter[0] - case.density * 9 / 4 * kernels.shape[1]) <= max(0.5, 1 - case.density * 9 / 4) + 1e-6


@given(cases(["block"]))
def test_what_is_left_of_a_block_is_dense(case: Case) -> None:
    """Every kept weight's row and column segments are alive, so the mask of a block is rows × columns."""
    rows, cols = case.spec.block or (1, 1)
    matrix = case.mask.reshape(case.weight.shape[:2])
    for top in range(0, matrix.shape[0], rows):
        for left in range(0, matrix.shape[1], cols):
            block = matrix[top : top + rows, left : left + cols]
            assert np.array_equal(block, np.outer(block.any(1), block.any(0)))


@given(cases(["block"]))
def test_block_density_is_exact_to_one_segment(case: Case) -> None:
    rows, cols = case.spec.block or (1, 1)
    longest = max(min(rows, case.weight.shape[0]), min(cols, case.weight.shape[1]))
    # Before the last segment dies at most all of one block is left, so a small density may be unreachable.
    wanted = case.density * case.weight.size
    assert abs(case.mask.sum() - wanted) <= max(longest, 1)


def group_sizes(case: Case) -> np.ndarray:
    view = scheme_of(case.spec, case.weight.shape).view(case.weight.shape, case.spec)
    return view.apply(np.ones(case.weight.shape, dtype=int)).sum(axis=(-2, -1))


@given(cases(["unstructured"]))
def test_unstructured_is_punched_1x1(case: Case) -> None:
    assert np.array_equal(case.mask, make_mask(case.weight, SchemeSpec("punched", (1, 1)), case.density))


def test_punched_prunes_one_position_of_all_kernels_of_a_block() -> None:
    weight = np.ones((4, 2, 3, 3), np.float32)
    weight[:, :, 1, 2] = 3
    mask = make_mask(weight, SchemeSpec.parse("punched:4x2"), 1 / 9)
    assert mask[:, :, 1, 2].all()
    assert mask.sum() == 8


def test_a_smaller_last_block_is_compared_by_its_mean() -> None:
    mask = make_mask(np.array([[1.0, 1.0, 1.5]]), SchemeSpec.parse("punched:1x2"), 1 / 3)
    assert mask.tolist() == [[False, False, True]]


@pytest.mark.parametrize("number", range(8))
def test_a_kernel_gets_the_pattern_that_keeps_most(number: int) -> None:
    pattern = pattern_table()[number].reshape(3, 3)
    weight = np.where(pattern, 2.0, 1.0).reshape(1, 1, 3, 3)
    assert np.array_equal(make_mask(weight, SchemeSpec("pattern"), 4 / 9)[0, 0], pattern)


def test_filter_and_column_are_rows_and_columns() -> None:
    weight = np.array([[1, 9, 1], [1, 9, 1], [9, 9, 9]], np.float32)
    assert make_mask(weight, SchemeSpec("filter"), 1 / 3).tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert make_mask(weight, SchemeSpec("column"), 1 / 3).tolist() == [[False, True, False]] * 3


def test_dense_keeps_everything() -> None:
    assert make_mask(np.zeros((3, 4)), SchemeSpec("dense"), 0.1).all()


def test_a_layer_of_zeros_keeps_one_group() -> None:
    for spec in ("unstructured", "filter", "column", "pattern", "punched:4x4"):
        assert make_mask(np.zeros((4, 4, 3, 3), np.float32), SchemeSpec.parse(spec), 0.01).any()
    assert make_mask(np.zeros((4, 4), np.float32), SchemeSpec.parse("block:2x2"), 0.01).any()


@given(
    groups=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=30),
    equal=st.booleans(),
    density=st.floats(0.01, 1),
)
def test_the_best_groups_are_kept_and_of_equal_ones_the_first(
    groups: list[tuple[int, int]], equal: bool, density: float
) -> None:
    scores, sizes = np.array(groups).T
    sizes = np.full_like(sizes, 2) if equal else sizes
    kept = keep_best(scores.astype(float), sizes, density)
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    assert np.flatnonzero(kept).tolist() == sorted(order[: kept.sum()])
    misses = np.abs(np.cumsum(sizes[order]) - density * sizes.sum())
    assert misses[kept.sum() - 1] == misses.min()


@pytest.mark.parametrize(
    ("spec", "shape", "density", "why"),
    [
        ("chessboard", (4, 4), 0.5, "is unknown, allowed are dense, unstructured"),
        ("punched", (4, 4), 0.5, "needs a block size, such as punched:8x4"),
        ("filter:2x2", (4, 4), 0.5, "takes no block size, write filter"),
        ("pattern", (4, 4, 5, 5), 0.2, "pattern is for 3x3 kernels"),
        ("pattern", (4, 4, 3, 3), 0.5, "at most 0.444, got 0.5"),
        ("block:2x2", (4, 4, 3, 3), 0.5, "for larger kernels use punched"),
        ("filter", (4, 4), 0.0, r"density 0 is outside \(0, 1\]"),
        ("filter", (4, 4), 1.5, r"density 1\.5 is outside \(0, 1\]"),
    ],
)
def test_illegal_requests_say_why(spec: str, shape: tuple[int, ...], density: float, why: str) -> None:
    with pytest.raises(UserError, match=why):
        make_mask(np.ones(shape, np.float32), SchemeSpec.parse(spec), density)
    assert why_illegal(SchemeSpec.parse(spec), shape, density) is not None
