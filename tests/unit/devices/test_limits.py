from __future__ import annotations

import numpy as np
import pytest

from prunemap.devices import limits
from prunemap.devices.limits import Limits, measure_limits
from prunemap.errors import UserError
from prunemap.targets import resolve_target

KNOWN = Limits(threads=1, peak_flops=100e9, sizes_bytes=(1 << 14, 1 << 16, 1 << 20), bandwidths=(200e9, 100e9, 20e9))


def test_bandwidth_is_interpolated_over_the_logarithm_of_the_size() -> None:
    assert KNOWN.bandwidth(1 << 16) == pytest.approx(100e9)
    assert KNOWN.bandwidth(1 << 15) == pytest.approx(150e9)
    assert KNOWN.bandwidth(1 << 18) == pytest.approx(60e9)
    assert KNOWN.bandwidth(0) == KNOWN.bandwidth(100) == pytest.approx(200e9)
    assert KNOWN.bandwidth(1 << 30) == pytest.approx(20e9)


def test_the_limit_of_a_layer_is_the_larger_of_computing_and_moving() -> None:
    assert KNOWN.limit_us(macs=5_000_000, size_bytes=1 << 16) == pytest.approx(100)  # 10 MFLOP at 100 GFLOP/s
    assert KNOWN.limit_us(macs=1000, size_bytes=1 << 20) == pytest.approx((1 << 20) / 20e9 * 1e6)
    assert KNOWN.limit_us(macs=0, size_bytes=0) == 0
    steps = KNOWN.limit_us(macs=0, size_bytes=1 << 20, passes=16)
    assert steps == pytest.approx((1 << 20) / 100e9 * 1e6), "the working set is that of one step"


@pytest.mark.parametrize("threads", [1, 2])
def test_this_machine_can_be_measured(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(limits, "SIZES_BYTES", (1 << 14, 1 << 18))
    monkeypatch.setattr(limits, "check_threads", lambda threads: None)
    found = measure_limits(resolve_target("native"), threads)
    assert found.threads == threads and found.sizes_bytes == (1 << 14, 1 << 18)
    assert found.peak_flops > 1e8 and len(found.bandwidths) == 2 and min(found.bandwidths) > 1e7
    assert Limits.model_validate_json(found.to_json()) == found


def test_the_peak_counts_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_peak_flops", lambda library: 1e9)
    monkeypatch.setattr(limits, "_bandwidth", lambda library, size, threads: 1e9)
    monkeypatch.setattr(limits, "_load", lambda target, cc: None)
    monkeypatch.setattr(limits, "check_threads", lambda threads: None)
    assert measure_limits(resolve_target("native"), 3).peak_flops == 3e9


def test_the_copy_copies_so_many_floats_and_no_more() -> None:
    library, floats = limits._load(resolve_target("native"), None), 5 * limits._CHUNK_FLOATS
    source, target = np.arange(floats + 1, dtype=np.float32), np.full(floats + 1, -1, np.float32)
    library.limits_time_copy(target.ctypes.data, source.ctypes.data, floats, 2)
    np.testing.assert_array_equal(target[:-1], source[:-1])
    assert target[-1] == -1


def test_the_two_sides_lie_apart_at_cache_lines() -> None:
    for floats in (64, 4096):
        source, target = limits._two_sides(floats)
        first, second = source.ctypes.data, target.ctypes.data
        assert len(source) == len(target) == floats and first % 64 == second % 64 == 0
        assert second >= first + source.nbytes and (second - first) % 4096


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(UserError, match="threads: got 0"):
        measure_limits(resolve_target("native"), 0)
    with pytest.raises(UserError, match="--cc"):
        measure_limits(resolve_target("native"), cc="no-such-compiler")
