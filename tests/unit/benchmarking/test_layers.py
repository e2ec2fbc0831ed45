from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.benchmarking import Effort, bench, bench_model, open_subject, opened_subject
from prunemap.benchmarking.layers import layer_results
from prunemap.compiler.cost import NodeCost
from prunemap.core.artifact import KernelChoice, Manifest
from prunemap.devices import Limits, limits
from prunemap.errors import UserError
from tests.networks import residual_network, save

SHORT = Effort(rounds=3, seconds=0.01)
LIMITS = Limits(threads=1, peak_flops=100e9, sizes_bytes=(1 << 14, 1 << 20), bandwidths=(100e9, 100e9))


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIZES_BYTES", (1 << 14, 1 << 18))
    monkeypatch.setattr(limits, "ROUND_SECONDS", 1e-4)


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save(residual_network(scheme="dense"), tmp_path / "dense.onnx")


def manifest(*choices: KernelChoice, slots: tuple[str, ...], detect: bool = True) -> Manifest:
    return Manifest(
        prunemap="1", target="x86-64-v3", compiler="cc", abi=1, inputs=(), outputs=(), slots=slots, layers=choices,
        source_path="", source_sha256="", arena_bytes=0, detect=detect,
    )  # fmt: skip


def choice(stored: int, density: float = 1.0, scheme: str = "dense", reason: str = "") -> KernelChoice:
    return KernelChoice("a", "f32_conv_8x3_i16", scheme, density, stored, reason)


def cost(kept: int) -> NodeCost:
    return NodeCost("a", "Conv", weights=100, kept_weights=kept, macs=500_000, size_bytes=1000)


def test_a_slot_is_held_against_the_limit_of_its_layer() -> None:
    pool = NodeCost("pool", "MaxPool", size_bytes=200_000)
    program = manifest(choice(30, 0.25, "punched:8x4"), slots=("a", "pool", "unknown"))
    layer, other, unknown = layer_results(
        program, {"a": cost(25), "pool": pool}, LIMITS, {"a": 20.0, "pool": 8.0, "unknown": 1.0}
    )
    assert (layer.name, layer.kernel, layer.structure) == ("a", "f32_conv_8x3_i16", "punched:8x4")
    assert (layer.density, layer.macs_kept, layer.median_us, layer.reason) == (0.25, 500_000, 20.0, "")
    assert layer.limit_share == pytest.approx(0.5)  # 1 MFLOP at 100 GFLOP/s take 10 µs
    assert (other.kernel, other.structure, other.density, other.reason) == ("MaxPool", "", None, "")
    assert other.limit_share == pytest.approx(0.25)
    assert unknown.median_us == 1.0 and unknown.limit_share is None


def test_every_step_of_a_layer_says_whose_it_is_and_a_recurrence_has_the_limit_of_its_steps() -> None:
    slots = ("rnn/in", "rnn", "rnn/recurrent", "rnn#8", "rnn/Transpose", "input x")
    layers = tuple(KernelChoice(node, "f32_linear_8x1_i8", "dense", 1.0, 9, "") for node in ("rnn", "rnn/recurrent"))
    recurrent = NodeCost("rnn/recurrent", "Recurrent", size_bytes=1 << 20, passes=64)
    limits = LIMITS.model_copy(update={"bandwidths": (100e9, 10e9)})
    found = layer_results(
        manifest(*layers, slots=slots), {"rnn/recurrent": recurrent}, limits, dict.fromkeys(slots, 20.0)
    )
    assert [each.layer for each in found] == ["rnn", "rnn", "rnn", "rnn", "", ""]
    assert found[2].limit_share == pytest.approx((1 << 20) / 100e9 / 20e-6)


def test_slots_are_timed_in_the_run_of_the_network(tmp_path: Path) -> None:
    subject = open_subject(save(residual_network(), tmp_path / "m.onnx"), tune=False)
    result = bench(subject, ["onnxruntime"], effort=SHORT, per_layer=True)
    assert tuple(layer.name for layer in result.layers) == subject.program.manifest.slots
    assert [each.engine for each in result.results] == ["prunemap", "onnxruntime"] and set(result.ratios) == {
        "onnxruntime"
    }
    assert all(layer.median_us >= 0 and layer.limit_share is not None for layer in result.layers)
    found = {layer.name: layer for layer in result.layers}
    assert found["block.a"].structure == "punched:4x2" and found["block.a"].reason == ""
    assert found["stem"].reason == found["fc"].reason == "no zeros" and found["depthwise"].reason
    assert result.limits is not None and result.limits.sizes_bytes == limits.SIZES_BYTES
    assert bench(subject, [], effort=SHORT).layers == ()


def test_fake_sparsity_is_verified_and_the_others_run_the_dense_original(
    dense: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = []
    monkeypatch.setattr("prunemap.benchmarking.engines.compile_model", lambda model, **options: loaded.append(model))
    monkeypatch.setattr("prunemap.benchmarking.engines.start", lambda *_: (_ for _ in ()).throw(UserError("stop")))
    with opened_subject(dense, sparsity="punched:4x2@0.25", tune=False) as subject:
        sparse = subject.onnx
        assert sparse != dense and subject.given == dense and sparse.exists()
        stored = {layer.node: layer for layer in subject.program.manifest.layers}
        assert 0.2 < stored["block.a"].density < 0.3 and stored["stem"].density == 1
        with pytest.raises(UserError, match="stop"):
            bench(subject, ["dense"], effort=SHORT)
    assert not sparse.exists()


def test_fake_sparsity_is_in_the_result_with_the_name_of_the_original(dense: Path) -> None:
    before = onnx.load(str(dense))
    result = bench_model(dense, vs=["onnxruntime", "dense"], sparsity="block:4x2@0.25", effort=SHORT, tune=False)
    assert result.model == str(dense) and result.max_relative_error < 1e-4
    assert {str(layer.scheme) for layer in result.faked} == {"dense", "punched:4x2", "block:4x2"}
    assert onnx.load(str(dense)) == before
    assert np.isfinite(list(result.ratios.values())).all()


def test_fake_sparsity_takes_a_dense_onnx_model_only(dense: Path, tmp_path: Path) -> None:
    pmap = tmp_path / "m.pmap"
    pmap.write_bytes(b"")
    for model, options in ((pmap, {}), (dense, {"reference": dense})):
        with pytest.raises(UserError, match=r"--sparsity: it takes a dense ONNX model, no \.pmap"):
            bench_model(model, sparsity="punched:4x2@0.25", **options)
    with pytest.raises(UserError, match="--sparsity: got 'punched'"):
        bench_model(dense, sparsity="punched")
    with pytest.raises(UserError, match="model: no such file"):
        bench_model(tmp_path / "none.onnx", sparsity="punched:4x2@0.25")
