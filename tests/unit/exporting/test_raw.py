"""Raw files, and inputs that need not be stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prunemap.core.artifact import TensorInfo
from prunemap.errors import UserError
from prunemap.exporting import probe_inputs, read_raw, write_raw

INFOS = (TensorInfo("x", (2, 3)), TensorInfo("i", (4,), "int64"), TensorInfo("b", (), "bool"))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    values = {"x": np.arange(6, dtype=np.float32).reshape(2, 3) / 7, "i": np.array([-1, 2, 3, 4]), "b": np.array(True)}
    write_raw(tmp_path / "f", INFOS, values)
    assert (tmp_path / "f").stat().st_size == 4 * 11
    for info, got in zip(INFOS, read_raw(tmp_path / "f", INFOS), strict=True):
        assert got.dtype == info.dtype
        np.testing.assert_array_equal(got, values[info.name])
    with pytest.raises(UserError, match="44 bytes, not those of x"):
        read_raw(tmp_path / "f", INFOS[:1])


def test_probe_inputs_are_spread_and_differ() -> None:
    found = probe_inputs((TensorInfo("x", (100, 100)), TensorInfo("y", (100, 100)), TensorInfo("i", (1000,), "int32")))
    assert -1 <= found["x"].min() < -0.99 and 0.99 < found["x"].max() < 1 and abs(found["x"].mean()) < 0.02
    assert abs(np.corrcoef(found["x"].ravel(), found["y"].ravel())[0, 1]) < 0.05
    assert set(found["i"].tolist()) == {0, 1}
    assert found["x"].dtype == np.float32 and found["i"].dtype == np.int32
