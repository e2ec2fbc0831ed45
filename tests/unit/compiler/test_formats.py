"""Packing: unpack(pack(w)) == w for any matrix, no filled-in zeros where the structure allows none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler.formats import RowGroups, count_steps, group_rows, pack, pack_bundles, pack_picks, pack_runs
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.schemes import make_mask
from tests.networks import weight


def pack_all(matrix: np.ndarray, height: int, blocks: int = 1, keep_zeros: bool = False) -> RowGroups:
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    return pack(matrix, kept, group_rows(kept, height, blocks))


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    rows, cols = draw(st.integers(1, 40)), draw(st.integers(1, 30))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    values = rng.standard_normal((rows, cols), np.float32)
    values[rng.random((rows, cols)) > draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))] = 0
    values[rng.random(rows) < draw(st.sampled_from([0.0, 0.5]))] = 0
    return values


@settings(max_examples=200, deadline=None)
@given(matrices(), st.sampled_from([1, 2, 4, 8, 16]), st.booleans())
def test_unpack_is_the_inverse_of_pack(matrix: np.ndarray, height: int, keep_zeros: bool) -> None:
    packed = pack_all(matrix, height, keep_zeros=keep_zeros)
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert sorted(row for row in packed.rows.ravel() if row >= 0) == list(range(len(matrix)))
    assert packed.starts[-1] == len(packed.columns) == len(packed.weights)


def test_rows_of_different_blocks_share_no_group() -> None:
    matrix = np.ones((12, 5), np.float32)
    packed = pack_all(matrix, 8, blocks=3)
    for rows in packed.rows:
        assert len({row // 4 for row in rows if row >= 0}) == 1
    np.testing.assert_array_equal(packed.unpack(), matrix)


@pytest.mark.parametrize("scheme", ["punched:8x4", "punched:8x1", "column", "filter"])
def test_structure_needs_no_filled_in_zeros(scheme: str) -> None:
    values = weight(np.random.default_rng(0), 64, 32, 3, 3, scheme=scheme, density=0.25)
    packed = pack_all(values.reshape(64, -1), 8)
    assert packed.weights.size == np.count_nonzero(values)


def test_alike_rows_meet_in_one_group_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((16, 12), np.float32) * make_mask(
        rng.standard_normal((16, 12), np.float32), SchemeSpec.parse("punched:8x4"), 0.5
    )
    shuffled = values[rng.permutation(16)]
    assert pack_all(shuffled, 8).weights.size == np.count_nonzero(values)


@settings(max_examples=200, deadline=None)
@given(matrices(), st.sampled_from([1, 2, 4]), st.booleans())
def test_mask_runs_store_each_kept_weight_once_and_unpack(matrix: np.ndarray, height: int, keep_zeros: bool) -> None:
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    grouping = group_rows(kept, height)
    packed = pack_runs(matrix, kept, grouping, np.tile(np.arange(matrix.shape[1]), (len(grouping.groups), 1)))
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert packed.weights.size == packed.weight_starts[-1] == np.count_nonzero(kept)
    assert packed.columns.size == packed.starts[-1] == packed.counts.sum()


@settings(max_examples=200, deadline=None)
@given(matrices(), st.sampled_from([8, 16]), st.booleans())
def test_mask_bundles_store_each_kept_weight_once_and_unpack(matrix: np.ndarray, height: int, keep_zeros: bool) -> None:
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    packed = pack_bundles(matrix, kept, group_rows(kept, height))
    np.testing.assert_array_equal(packed.unpack(), matrix)
    assert packed.weights.size - height == packed.weight_starts[-1] == np.count_nonzero(kept)


@settings(max_examples=100, deadline=None)
@given(matrices(), st.sampled_from([8, 16]), st.sampled_from([1, 3]))
def test_codes_of_mask_bundles_say_where_every_weight_goes(matrix: np.ndarray, height: int, pitch: int) -> None:
    packed = pack_bundles(matrix, matrix != 0, group_rows(matrix != 0, height))
    x = np.random.default_rng(0).standard_normal(matrix.shape[1] * pitch)
    y = np.zeros(len(matrix))
    codes, weights = packed.codes(pitch).tolist(), iter(packed.weights.tolist())
    for rows, start, end in zip(packed.rows, packed.starts[:-1], packed.starts[1:], strict=True):
        counts, place = codes[start : start + 3], start + 3
        for size, count in zip((4, 2, 1), counts, strict=True):
            for _ in range(count * (4 // size)):
                mask, columns = codes[place], codes[place + 1 : place + 1 + size]
                place += 1 + size
                for column in columns:
                    for row in (row for bit, row in enumerate(rows) if mask >> bit & 1):
                        y[row] += next(weights) * x[column]
        assert place == end
    np.testing.assert_allclose(y, matrix @ x[::pitch], atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(matrices(), st.sampled_from([8, 16]), st.booleans())
def test_pick_lists_unpack_and_their_codes_say_where_every_weight_goes(
    matrix: np.ndarray, height: int, keep_zeros: bool
) -> None:
    kept = np.ones(matrix.shape, bool) if keep_zeros else matrix != 0
    packed = pack_picks(matrix, kept, group_rows(kept, height))
    np.testing.assert_array_equal(packed.unpack(), matrix)
    x, y = np.random.default_rng(0).standard_normal(matrix.shape[1]), np.zeros(len(matrix))
    codes = packed.codes.reshape(-1, 2 + height).astype(int)
    for rows, start, end in zip(packed.rows, packed.starts[:-1], packed.starts[1:], strict=True):
        for code, weights in zip(codes[start:end], packed.weights[start:end], strict=True):
            columns = (code[0] + 256 * code[1]) * height + code[2:]
            assert code[2:].max() < 2 * height and columns.max() < matrix.shape[1]
            np.add.at(y, rows[rows >= 0], (weights * x[columns])[rows >= 0])
            assert not weights[rows < 0].any()
    np.testing.assert_allclose(y, matrix @ x, atol=1e-9)


def test_few_lanes_of_pick_lists_wait() -> None:
    rng = np.random.default_rng(0)
    kept = rng.random((64, 512)) < 0.1
    grouping = group_rows(kept, 16)
    packed = pack_picks(kept.astype(np.float32), kept, grouping)
    assert np.count_nonzero(packed.weights) > 0.58 * packed.weights.size
    assert count_steps(kept, grouping) == len(packed.weights)
    assert count_steps(kept, grouping, sample=2) == pytest.approx(len(packed.weights), rel=0.1)
