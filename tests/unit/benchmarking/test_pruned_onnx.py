from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from prunemap.cli.app import app
from prunemap.compiler.layers import identity_of, list_layers
from prunemap.compiler.onnx_file import read_onnx
from prunemap.compiler.onnx_prune import write_pruned
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import write_json
from prunemap.errors import UserError
from tests.networks import residual_network, save


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save(residual_network(), tmp_path / "dense.onnx")


def plan_of(model: Path, scheme: str, density: float) -> Plan:
    layers = [layer.spec for layer in list_layers(read_onnx(model))]
    entries = tuple(
        PlanLayer(
            name=layer.name,
            module=layer.module,
            kind=layer.kind,
            weight_shape=layer.weight_shape,
            scheme=SchemeSpec.parse(scheme),
            density=density,
            reason="test",
        )
        for layer in layers[1:]
    )
    return Plan(model=identity_of(model, layers), layers=entries)


def test_only_the_weights_that_the_plan_prunes_change(dense: Path, tmp_path: Path) -> None:
    plan = plan_of(dense, "unstructured", 0.25)
    done = write_pruned(dense, plan, tmp_path / "pruned.onnx")
    before, after = (list_layers(read_onnx(path)) for path in (dense, tmp_path / "pruned.onnx"))
    assert [layer.name for layer in done] == [layer.spec.name for layer in before[1:]]
    np.testing.assert_array_equal(after[0].weight, before[0].weight)
    for old, new, said in zip(before[1:], after[1:], done, strict=True):
        kept = new.weight != 0
        assert kept.mean() == pytest.approx(0.25, abs=1 / kept.size) and said.density == kept.mean()
        np.testing.assert_array_equal(new.weight[kept], old.weight[kept])
        assert np.abs(old.weight[kept]).min() >= np.abs(old.weight[~kept]).max(), "the largest are kept"
        assert said.energy == pytest.approx(np.square(new.weight).sum() / np.square(old.weight).sum(), rel=1e-5)
    models = [onnx.load(str(path)) for path in (dense, tmp_path / "pruned.onnx")]
    assert models[0].graph.node == models[1].graph.node and models[0].graph.input == models[1].graph.input


def test_plans_that_do_not_fit_leave_nothing_behind(dense: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pattern"):
        write_pruned(dense, plan_of(dense, "pattern", 0.9), tmp_path / "pruned.onnx")
    assert not (tmp_path / "pruned.onnx").exists()


def test_from_the_command_line(dense: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    write_json(plan, plan_of(dense, "unstructured", 0.5))
    result = CliRunner().invoke(
        app, ["prune", str(dense), "--plan", str(plan), "-o", str(tmp_path / "p.onnx"), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["verified"]["outputs"][0]["max_relative_error"] < 1e-4
    assert all(abs(layer["density"] - 0.5) < 0.01 for layer in found["layers"])
