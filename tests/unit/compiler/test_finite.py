"""Weights that are NaN or infinite are named by inspect, and not compiled or pruned; infinite masks and bounds are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from prunemap.compiler import compile_model, compile_with_fallback, inspect_model, read_specs
from prunemap.compiler.fake_sparsity import with_fake_sparsity
from prunemap.compiler.finite import check_finite
from prunemap.compiler.layers import identity_of
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.inspection import NotFinite
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UserError
from prunemap.report import inspection_tables
from prunemap.runtime import Engine
from tests.networks import OnnxBuilder, residual_network, save


def with_values(model: onnx.ModelProto, name: str, **values: float) -> onnx.ModelProto:
    """Put values into an initializer, at the places that their names end in."""
    tensor = next(each for each in model.graph.initializer if each.name == name)
    array = numpy_helper.to_array(tensor).copy()
    for place, value in values.items():
        array.flat[int(place[1:])] = value
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return model


def test_all_of_them_are_named(tmp_path: Path) -> None:
    model = with_values(residual_network(), "w0", _0=np.nan, _5=np.inf, _6=-np.inf)  # the weight of stem
    fc = next(node for node in model.graph.node if node.name == "fc")
    path = save(with_values(model, fc.input[2], _1=np.nan), tmp_path / "m.onnx")
    for compiled in (compile_model, compile_with_fallback):
        with pytest.raises(UserError) as error:
            compiled(path, tune=None)
        assert "these weights are NaN or infinite" in str(error.value)
        assert "w0 of stem: 1 NaN, 2 infinite, of 216" in str(error.value)
        assert f"{fc.input[2]} of fc: 1 NaN, 0 infinite, of 10" in str(error.value)
    inspection = inspect_model(path)
    assert inspection.not_finite[0] == NotFinite(tensor="w0", node="stem", nan=1, infinite=2, size=216)
    assert [each.node for each in inspection.not_finite] == ["stem", "fc"]
    assert len(inspection.layers) == 6 and not inspection.unsupported
    titles = [str(table.title).strip() for table in inspection_tables(inspection)]
    assert "weights that are no numbers: it cannot be compiled" in titles


def test_they_are_not_pruned_either(tmp_path: Path) -> None:
    path = save(with_values(residual_network(), "w0", _0=np.nan), tmp_path / "m.onnx")
    layers = read_specs(path)
    plan = Plan(model=identity_of(path, layers), layers=(PlanLayer.of(layers[0], SchemeSpec("filter"), 0.5),))
    with pytest.raises(UserError, match="w0 of stem: 1 NaN"):
        write_pruned(path, plan, tmp_path / "pruned.onnx")
    with pytest.raises(UserError, match="w0 of stem: 1 NaN"):
        with_fake_sparsity(path, SchemeSpec("filter"), 0.5, tmp_path / "pruned.onnx")
    assert not (tmp_path / "pruned.onnx").exists()


def test_weights_that_overflow_when_folded(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("Mul", b.conv("x", (4, 3, 3, 3), name="conv"), b.constant(np.full((4, 1, 1), 3e38, np.float32)))
    model = with_values(b.model([1, 3, 8, 8], y, 4), "w0", _0=1e9)
    with pytest.raises(UserError, match=r"overflow when the nodes around their layer are folded into them:\n  - conv"):
        compile_model(save(model, tmp_path / "m.onnx"), tune=None)


@pytest.mark.parametrize("layer", [False, True])
def test_infinite_constants_that_are_no_weights_are_meant(layer: bool, tmp_path: Path) -> None:
    b = OnnxBuilder()
    mask = b.constant(np.float32([0, -np.inf, 0, -np.inf]))
    y = b.node("MatMul", "x", b.constant(np.ones((4, 4), np.float32))) if layer else "x"
    path = save(b.model([1, 4], b.node("Softmax", b.node("Add", y, mask), axis=1)), tmp_path / "m.onnx")
    assert not inspect_model(path).not_finite
    with Engine(compile_model(path, tune=None)) as engine:
        np.testing.assert_allclose(engine.run(np.zeros((1, 4), np.float32))[0], [[0.5, 0, 0.5, 0]])


def test_large_finite_weights_whose_sum_overflows_are_fine(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("MatMul", "x", b.constant(np.full((4, 3), 3e38, np.float32)))
    check_finite(read_onnx(save(b.model([1, 4], y), tmp_path / "m.onnx")))
