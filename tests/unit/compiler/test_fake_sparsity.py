from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from prunemap.compiler import structure_of
from prunemap.compiler.fake_sparsity import parse_sparsity, with_fake_sparsity
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx import weights as onnx_weights
from prunemap.compiler.onnx.file import read_onnx
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from tests.networks import OnnxBuilder, residual_network, save, weight

PUNCHED, COLUMN = SchemeSpec("punched", (4, 2)), SchemeSpec("column")


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save(residual_network(scheme="dense"), tmp_path / "dense.onnx")


def weights_of(path: Path) -> dict[str, np.ndarray]:
    return {layer.spec.name: layer.weight for layer in list_layers(read_onnx(path))}


def test_convs_but_the_first_and_depthwise_and_linear_layers_are_pruned(dense: Path, tmp_path: Path) -> None:
    faked = with_fake_sparsity(dense, PUNCHED, 0.25, tmp_path / "sparse.onnx")
    before, after = weights_of(dense), weights_of(tmp_path / "sparse.onnx")
    assert [layer.name for layer in faked] == list(before)
    for layer in faked:
        kept = after[layer.name] != 0
        assert layer.density == pytest.approx(kept.mean())
        scale = np.sqrt(np.square(before[layer.name]).sum() / np.square(before[layer.name][kept]).sum())
        np.testing.assert_allclose(after[layer.name], before[layer.name] * kept * scale, rtol=1e-5)
        if layer.name in ("stem", "depthwise"):
            assert kept.all() and str(layer.scheme) == "dense" and layer.reason
        else:
            assert 0.15 < kept.mean() < 0.35 and layer.scheme == PUNCHED and not layer.reason
            assert str(structure_of(after[layer.name])).startswith("punched")


def test_nothing_but_the_weights_changes(dense: Path, tmp_path: Path) -> None:
    with_fake_sparsity(dense, PUNCHED, 0.25, tmp_path / "sparse.onnx")
    before, after = onnx.load(str(dense)), onnx.load(str(tmp_path / "sparse.onnx"))
    pruned = [i for i, t in enumerate(before.graph.initializer) if t != after.graph.initializer[i]]
    assert len(pruned) == 4  # block.a, block.b, down, fc
    for i in pruned:
        after.graph.initializer[i].CopyFrom(before.graph.initializer[i])
    assert after == before


@pytest.mark.parametrize("op", ["Gemm", "Gemm transposed", "MatMul"])
def test_a_matrix_is_pruned_as_outputs_by_inputs_however_the_file_has_it(op: str, tmp_path: Path) -> None:
    b, w = OnnxBuilder(), weight(np.random.default_rng(3), 16, 24)  # (O, I)
    stored = b.constant(w if op == "Gemm transposed" else np.ascontiguousarray(w.T))
    y = b.node(op.split(maxsplit=1)[0], "x", stored, name="fc", **({"transB": 1} if "transposed" in op else {}))
    path = save(b.model([1, 24], y), tmp_path / "m.onnx")
    with_fake_sparsity(path, SchemeSpec("filter"), 0.25, tmp_path / "sparse.onnx")
    kept = weights_of(tmp_path / "sparse.onnx")["fc"] != 0
    assert kept.shape == (16, 24) and kept.any(1).sum() == 4 and kept.all(1).sum() == 4


@pytest.mark.parametrize(("spec", "instead"), [("block:4x2", "punched:4x2"), ("pattern", "unstructured")])
def test_a_layer_that_cannot_have_the_scheme_gets_the_next_best_and_a_reason(
    dense: Path, tmp_path: Path, spec: str, instead: str
) -> None:
    faked = with_fake_sparsity(dense, *parse_sparsity(f"{spec}@0.25"), tmp_path / "sparse.onnx")
    found = {layer.name: (str(layer.scheme), bool(layer.reason)) for layer in faked}
    on_3x3, on_linear = (instead, spec) if spec.startswith("block") else (spec, instead)
    assert found["block.a"] == (on_3x3, on_3x3 == instead)
    assert found["fc"] == (on_linear, on_linear == instead)


def test_symbolic_sizes_stay_symbolic_and_shapes_are_taken(tmp_path: Path) -> None:
    path = save(residual_network(batch="N", scheme="dense"), tmp_path / "m.onnx")
    with_fake_sparsity(path, PUNCHED, 0.25, tmp_path / "sparse.onnx", {"x": (2, 3, 16, 12)})
    (value,) = onnx.load(str(tmp_path / "sparse.onnx")).graph.input
    assert value.type.tensor_type.shape.dim[0].dim_param == "N"


def test_weights_beside_the_file_are_read_and_written(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = tmp_path / "split.onnx"
    onnx.save(onnx.load(str(dense)), str(split), save_as_external_data=True, location="w", size_threshold=0)
    with_fake_sparsity(split, PUNCHED, 0.25, tmp_path / "whole.onnx")
    monkeypatch.setattr(onnx_weights, "MAX_FILE_BYTES", 100)
    for _ in range(2):  # the second time over the files of the first
        with_fake_sparsity(split, PUNCHED, 0.25, tmp_path / "large.onnx")
    size = (tmp_path / "large.onnx.data").stat().st_size
    whole, large = weights_of(tmp_path / "whole.onnx"), weights_of(tmp_path / "large.onnx")
    assert all(np.array_equal(whole[name], large[name]) for name in whole)
    assert size < 1.5 * (tmp_path / "whole.onnx").stat().st_size


def test_two_files_are_there_whole_or_as_they_were(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_weights, "MAX_FILE_BYTES", 100)
    with_fake_sparsity(dense, PUNCHED, 0.25, tmp_path / "large.onnx")
    before = weights_of(tmp_path / "large.onnx")
    real = onnx.save

    def on_a_full_disk(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(onnx, "save", on_a_full_disk)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        with_fake_sparsity(dense, PUNCHED, 0.5, tmp_path / "large.onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"dense.onnx", "large.onnx", "large.onnx.data"}
    after = weights_of(tmp_path / "large.onnx")
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_weight_that_is_missing_beside_the_file_is_an_error(dense: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.onnx"
    onnx.save(onnx.load(str(dense)), str(split), save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    with pytest.raises(UserError, match=r"split\.onnx"):
        with_fake_sparsity(split, PUNCHED, 0.25, tmp_path / "sparse.onnx")
    assert not (tmp_path / "sparse.onnx").exists()


def test_activations_keep_their_size(tmp_path: Path) -> None:
    b, x = OnnxBuilder(), "x"
    for _ in range(12):
        w, no_bias = b.constant(weight(b.rng, 16, 16, 3, 3)), b.constant(np.zeros(16, np.float32))
        x = b.node("Conv", x, w, no_bias, pads=[1, 1, 1, 1])
    path = save(b.model([1, 16, 16, 16], x, rank=4), tmp_path / "m.onnx")
    with_fake_sparsity(path, SchemeSpec("unstructured"), 0.05, tmp_path / "sparse.onnx")
    inputs = {"x": b.rng.standard_normal((1, 16, 16, 16), np.float32)}
    before, after = (ReferenceEvaluator(str(each)).run(None, inputs)[0] for each in (path, tmp_path / "sparse.onnx"))
    assert 0.2 < after.std() / before.std() < 5  # without scaling: 0.005


def test_constants_are_weights_too_and_a_shared_one_is_pruned_once(tmp_path: Path) -> None:
    b = OnnxBuilder()
    w = numpy_helper.from_array(weight(b.rng, 8, 8, 3, 3), "shared")
    b.nodes.append(onnx.helper.make_node("Constant", [], ["shared"], value=w))
    x = b.conv("x", (8, 3, 3, 3), pads=[1, 1, 1, 1])
    for name in ("a", "b"):
        x = b.node("Conv", x, "shared", name=name, pads=[1, 1, 1, 1])
    path = save(b.model([1, 3, 8, 8], x, rank=4), tmp_path / "m.onnx")
    with_fake_sparsity(path, SchemeSpec("unstructured"), 0.5, tmp_path / "sparse.onnx")
    after = weights_of(tmp_path / "sparse.onnx")
    assert (after["a"] != 0).mean() == (after["b"] != 0).mean() == 0.5


def test_a_weight_that_layers_read_in_both_orders_is_pruned_for_the_first(tmp_path: Path) -> None:
    b = OnnxBuilder()
    shared = b.constant(weight(b.rng, 8, 8))
    y = b.node("Gemm", b.node("MatMul", "x", shared, name="a"), shared, name="b", transB=1)
    faked = with_fake_sparsity(save(b.model([2, 8], y), tmp_path / "m.onnx"), COLUMN, 0.25, tmp_path / "sparse.onnx")
    after = weights_of(tmp_path / "sparse.onnx")
    assert [layer.density for layer in faked] == [0.25, 0.25]
    assert str(structure_of(after["a"])) == "column"
    np.testing.assert_array_equal(after["a"], after["b"].T)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("punched:8x4", "allowed is SCHEME@DENSITY"), ("punched:8@0.1", "allowed is SCHEME@DENSITY"),
        ("punched:8x4@ten", "got 'punched:8x4@ten'"), ("punched@0.1", "needs a block size, such as punched:8x4"),
        ("punched:8x4@0", r"density 0 is outside \(0, 1\]"), ("pattern@0.5", "at most 0.444"),
        ("nm@0.5", "'nm' is unknown, allowed are dense, unstructured"), ("dense@1", "dense prunes nothing"),
        ("filter:4x4@0.5", "takes no block size"), ("punched:8x4@nan", "outside"),
    ],
)  # fmt: skip
def test_bad_specs_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^--sparsity: .*{message}"):
        parse_sparsity(text)


def test_good_specs_are_parsed() -> None:
    assert parse_sparsity("block:16x4@0.25") == (SchemeSpec("block", (16, 4)), 0.25)
    assert parse_sparsity("pattern@0.4")[0] == SchemeSpec("pattern")
