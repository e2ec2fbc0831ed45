from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from prunemap.benchmarking import verify
from prunemap.benchmarking.pruned_onnx import prune_onnx
from prunemap.cli.app import app
from prunemap.compiler import compile_model
from prunemap.compiler.graph.ir import Conv
from prunemap.compiler.layers import identity_of, list_layers
from prunemap.compiler.onnx.file import constants_of, read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.compiler.passes import optimise
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import write_json
from prunemap.errors import UserError
from prunemap.runtime import Engine
from tests.networks import OnnxBuilder, residual_network, save


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save(residual_network(), tmp_path / "dense.onnx")


def plan_of(model: Path, scheme: str, density: float) -> Plan:
    layers = [layer.spec for layer in list_layers(read_onnx(model))]
    entries = tuple(PlanLayer.of(layer, SchemeSpec.parse(scheme), density, "test") for layer in layers[1:])
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


def test_a_shared_weight_is_pruned_once_and_said_to_be_what_it_is(tmp_path: Path) -> None:
    b = OnnxBuilder()
    shared = b.constant(b.rng.standard_normal((8, 8), np.float32))
    x = b.node("MatMul", "x", b.constant(b.rng.standard_normal((6, 8), np.float32)))
    y = b.node("Gemm", b.node("MatMul", x, shared, name="a"), shared, name="b", transB=1)
    path = save(b.model([2, 6], y), tmp_path / "m.onnx")
    plan = plan_of(path, "column", 0.25)
    other = plan.layers[1].model_copy(update={"density": 0.1})
    done = write_pruned(path, plan.model_copy(update={"layers": (plan.layers[0], other)}), tmp_path / "p.onnx")
    weights = {layer.spec.name: layer.weight for layer in list_layers(read_onnx(tmp_path / "p.onnx"))}
    assert [(layer.name, layer.density) for layer in done] == [("a", 0.25), ("b", 0.25)]
    assert (weights["a"] != 0).any(0).sum() == 2
    np.testing.assert_array_equal(weights["a"], weights["b"].T)


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


def test_a_layer_that_would_lose_every_weight_keeps_a_group(dense: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="one group is kept of: .*fc"):
        write_pruned(dense, plan_of(dense, "column", 1e-4), tmp_path / "pruned.onnx")


def test_open_sizes_are_given(tmp_path: Path) -> None:
    b = OnnxBuilder()
    dense = save(b.model([1, 3, "H", "W"], b.conv("x", (8, 3, 3, 3), name="first")), tmp_path / "dense.onnx")
    layers = [layer.spec for layer in list_layers(read_onnx(dense, {"x": (1, 3, 8, 8)}))]
    write_json(tmp_path / "plan.json", Plan(layers=(PlanLayer.of(layers[0], SchemeSpec("unstructured"), 0.5),)))
    command = ["prune", dense, "--plan", tmp_path / "plan.json", "-o", tmp_path / "p.onnx"]
    assert CliRunner().invoke(app, [*map(str, command)]).exit_code == 2
    result = CliRunner().invoke(app, [*map(str, command), "--shape", "x=1x3x8x8"])
    assert result.exit_code == 0, result.output


def test_a_program_that_is_off_is_exit_code_1(dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.benchmarking.pruned_onnx.verify", partial(verify, tolerance=0.0))
    write_json(tmp_path / "plan.json", plan_of(dense, "unstructured", 0.5))
    command = ["prune", dense, "--plan", tmp_path / "plan.json", "-o", tmp_path / "p.onnx"]
    assert CliRunner().invoke(app, [*map(str, command)]).exit_code == 1


def filter_plan(model: Path, density: float) -> Plan:
    plan = plan_of(model, "filter", density)
    return plan.model_copy(update={"layers": tuple(e for e in plan.layers if e.name not in ("depthwise", "fc"))})


def test_filters_go_with_their_biases_and_in_step_through_sums(dense: Path, tmp_path: Path) -> None:
    plan = filter_plan(dense, 0.5)
    stem = list_layers(read_onnx(dense))[0].spec
    entry = plan.layers[0].model_copy(update={"name": stem.name, "weight_shape": stem.weight_shape, "kind": stem.kind})
    plan = plan.model_copy(update={"layers": (entry, *plan.layers)})
    write_pruned(dense, plan, tmp_path / "pruned.onnx")
    layers = {layer.spec.name: layer.weight for layer in list_layers(read_onnx(tmp_path / "pruned.onnx"))}
    alive = {name: weight.reshape(len(weight), -1).any(1) for name, weight in layers.items()}
    np.testing.assert_array_equal(alive["stem"], alive["block.b"])
    assert alive["stem"].sum() == 4 and (alive["block.a"] != alive["block.b"]).any()
    constants = constants_of(read_onnx(tmp_path / "pruned.onnx"))
    nodes = {node.name: node for node in onnx.load(str(tmp_path / "pruned.onnx")).graph.node}
    for name in ("stem", "block.a", "block.b", "down"):
        np.testing.assert_array_equal(constants[nodes[name].input[2]] != 0, alive[name])
    np.testing.assert_array_equal(constants[nodes["depthwise"].input[2]] != 0, alive["stem"])
    norms = [node for node in nodes.values() if node.op_type == "BatchNormalization"]
    for norm, name in zip(norms, ("stem", "block.a", "block.b"), strict=True):
        for place in (1, 2):
            np.testing.assert_array_equal(constants[norm.input[place]] != 0, alive[name])


def test_what_other_nodes_read_too_stays(dense: Path, tmp_path: Path) -> None:
    model = onnx.load(str(dense))
    nodes = {node.name: node for node in model.graph.node}
    nodes["block.b"].input[2] = nodes["block.a"].input[2]
    onnx.save(model, str(dense))
    write_pruned(dense, filter_plan(dense, 0.5), tmp_path / "pruned.onnx")
    assert constants_of(read_onnx(tmp_path / "pruned.onnx"))[nodes["block.a"].input[2]].all()


def test_pruned_filters_leave_the_compiled_program(tmp_path: Path) -> None:
    dense = save(residual_network(scheme="dense"), tmp_path / "dense.onnx")
    write_pruned(dense, filter_plan(dense, 0.5), tmp_path / "pruned.onnx")
    graph = optimise(import_graph(read_onnx(tmp_path / "pruned.onnx")))
    left = {node.name: np.count_nonzero(node.op.weight) for node in graph.nodes if isinstance(node.op, Conv)}
    assert left["block.b"] == 4 * 4 * 9, "filters are gone, and what read them"
    with Engine(compile_model(tmp_path / "pruned.onnx", tune=None)) as engine:
        assert verify(engine, tmp_path / "pruned.onnx").passed


def test_filters_of_a_network_that_cannot_be_taken_in_are_chosen_alone(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.node("Det", b.conv("x", (8, 3, 3, 3), name="first"))
    model = b.model([1, 3, 6, 6], x)
    dense = save(model, tmp_path / "dense.onnx")
    layers = [layer.spec for layer in list_layers(read_onnx(dense))]
    plan = Plan(layers=tuple(PlanLayer.of(layer, SchemeSpec("filter"), 0.5) for layer in layers))
    with pytest.warns(UserWarning, match="every layer chooses its own filters, and biases stay.*Det"):
        (done,) = write_pruned(dense, plan, tmp_path / "pruned.onnx")
    assert done.density == 0.5
    with pytest.warns(UserWarning, match="every layer chooses its own filters"):
        assert prune_onnx(dense, plan, tmp_path / "pruned.onnx").verified is None, "it cannot be compiled"
