"""Engines that flush denormals must not leave the caller's thread doing so."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prunemap.benchmarking import Effort, bench_model
from tests.networks import residual_network, save


def denormals_live() -> bool:
    return bool(np.float32(1e-40) * np.float32(1) != 0)


def test_a_bench_leaves_the_float_mode_alone(tmp_path: Path) -> None:
    assert denormals_live()
    bench_model(save(residual_network(), tmp_path / "m.onnx"), vs=["onnxruntime"], effort=Effort(2, 0.01), tune=False)
    assert denormals_live()
