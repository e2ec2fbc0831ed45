"""From an ONNX file to a program that agrees with it, and from bad input to a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from prunemap.compiler import LayerCase, compile_layers, compile_model, identity_of, read_layers, tile_variants
from prunemap.compiler.build import find_compiler
from prunemap.compiler.graph.ir import Conv, Node
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.lowering.lower import lower
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.passes import optimise
from prunemap.core.layer import LayerSetting
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.runtime import Engine
from prunemap.targets import X86_64_V4, resolve_target
from tests.networks import OnnxBuilder, residual_network, save, weight


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(residual_network(), tmp_path / "m.onnx")


def plan_for(path: Path, scheme: str, **changes: object) -> Plan:
    specs = [layer.spec for layer in read_layers(path)]
    spec = next(s for s in specs if s.name == "block.a")
    values = {"name": spec.name, "kind": spec.kind, "weight_shape": spec.weight_shape, "density": 0.3, **changes}
    layer = PlanLayer(scheme=SchemeSpec.parse(scheme), **values)
    return Plan(model=identity_of(path, specs), layers=(layer,))


@pytest.mark.parametrize("detect", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_program_agrees_with_the_model(path: Path, detect: bool, batch: int) -> None:
    x = np.random.default_rng(0).standard_normal((batch, 3, 16, 12), np.float32)
    model = save(residual_network(batch="N"), path)
    program = compile_model(model, shapes={"x": x.shape}, detect=detect, tune=None)
    with Engine(program) as engine:
        (got,) = engine.run(x)
    (want,) = ReferenceEvaluator(str(model)).run(None, {"x": x})
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_structure_is_found_and_a_plan_pins_it(path: Path) -> None:
    def layer(program, name="block.a"):
        return next(each for each in program.manifest.layers if each.node == name)

    found, dense = layer(compile_model(path, tune=None)), layer(compile_model(path, detect=False, tune=None))
    assert found.scheme == "punched:4x2" and found.kernel.startswith("f32_conv_4x")
    assert dense.scheme == "dense" and dense.stored_weights >= 8 * 72 > found.stored_weights
    pinned = layer(compile_model(path, plan=plan_for(path, "unstructured"), tune=None))
    assert pinned.scheme == "unstructured" and pinned.kernel.startswith(("f32_conv_1x", "f32_conv_masked"))
    assert pinned.stored_weights == found.density * 8 * 72
    pinned = layer(compile_model(path, plan=plan_for(path, "dense"), tune=None))
    assert pinned.stored_weights >= 8 * 72 and pinned.reason == "pinned dense by the plan"
    assert layer(compile_model(path, tune=None), "stem").reason == "no zeros"
    assert found.reason == "" and dense.reason == "structure detection is off"


def test_a_layer_whose_zeros_do_not_pay_can_run_dense_and_says_so() -> None:
    rng = np.random.default_rng(0)
    conv = LayerSetting(kind="conv", in_channels=64, out_channels=64, kernel=(3, 3), pads=(1, 1, 1, 1), size=(16, 16))
    linear = LayerSetting(kind="linear", in_channels=8, out_channels=64)
    many, sparse = (
        LayerCase(conv, weight(rng, 64, 64, 3, 3, scheme="unstructured", density=density)) for density in (0.9, 0.1)
    )
    dense = next(each for each in tile_variants([many])[0] if each.tile is not None and each.tile.dense)
    assert not any(each.tile is not None and each.tile.dense for each in tile_variants([sparse])[0])
    few = np.ones((64, 8), np.float32)
    few[::9, 0] = 0
    found = compile_layers([dense, sparse, LayerCase(linear, few)]).manifest.layers
    assert [each.reason for each in found] == [
        "its zeros do not pay: dense is faster",
        "",
        "no tile fits the zeros: all weights are stored",
    ]
    assert found[0].stored_weights >= many.weight.size > found[1].stored_weights


def test_a_linear_layer_pinned_dense_stores_its_zeros(tmp_path: Path) -> None:
    builder = OnnxBuilder()
    values = weight(builder.rng, 16, 40, scheme="unstructured", density=0.2)
    y = builder.node("Gemm", "x", builder.constant(values), builder.constant(np.zeros(16, np.float32)), transB=1)
    path = save(builder.model([1, 40], y), tmp_path / "m.onnx")
    specs = [layer.spec for layer in read_layers(path)]
    entry = PlanLayer(name=specs[0].name, kind="linear", weight_shape=(16, 40), scheme=DENSE, density=1.0)
    plan = Plan(model=identity_of(path, specs), layers=(entry,))
    (layer,) = compile_model(path, plan=plan, tune=None).manifest.layers
    assert layer.stored_weights >= 16 * 40 and layer.reason == "pinned dense by the plan"


def test_tiles_that_tuning_has_chosen_are_taken_without_looking_for_others(path: Path) -> None:
    graph = optimise(import_graph(read_onnx(path)))
    free = lower(graph, X86_64_V4)
    tiles = {node: found[-1] for node, found in free.candidates.items()}
    chosen = lower(graph, X86_64_V4, tiles=tiles)
    assert chosen.candidates == {} and chosen.tiles != free.tiles


def test_a_matrix_too_wide_for_mask_runs_gets_none() -> None:
    values = np.random.default_rng(0).standard_normal((4, 7300, 3, 3), np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.8] = 0
    op = Conv(values, np.zeros(4, np.float32), pads=(1, 1, 1, 1))
    graph = make_graph({"x": (1, 7300, 2, 2)}, ["y"], [Node("n", op, ("x",), "y")])
    assert not any(tile.masked for tile in lower(graph, X86_64_V4).candidates["n"])
    thin = Conv(values[:, :7200], op.bias, pads=op.pads)
    graph = make_graph({"x": (1, 7200, 2, 2)}, ["y"], [Node("n", thin, ("x",), "y")])
    assert any(tile.masked for tile in lower(graph, X86_64_V4).candidates["n"])


@pytest.mark.parametrize(
    ("scheme", "changes", "message"),
    [
        ("punched:4x2", {"name": "other", "weight_shape": (9, 9, 3, 3)}, "layer 'other'"),
        ("punched:4x2", {"weight_shape": (9, 9, 3, 3)}, "has weight shape [8, 8, 3, 3], plan says [9, 9, 3, 3]"),
        ("block:4x4", {}, "block is for linear layers and 1x1 convolutions"),
        ("pattern", {"density": 0.9}, "allows a density of at most 0.444, got 0.9"),
        ("magic", {}, "scheme 'magic' is unknown"),
        ("punched", {}, "needs a block size"),
    ],
)
def test_plans_that_do_not_fit(path: Path, scheme: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        compile_model(path, plan=plan_for(path, scheme, **changes))
    assert message in str(error.value)


def test_no_compiler(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--cc: no compiler 'no-such-cc' found"):
        compile_model(path, cc="no-such-cc")
    with pytest.raises(UserError, match=r"--cc: got \"gcc '-m64\", allowed is a command .* \(No closing quotation\)"):
        compile_model(path, cc="gcc '-m64")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install ziglang"):
        find_compiler()


def test_an_unknown_target_lists_those_there_are(path: Path) -> None:
    with pytest.raises(UserError, match="got 'vax', allowed are native, x86-64-v4"):
        compile_model(path, target="vax")


def test_a_1x1_layer_on_its_own_has_the_pitch_that_it_has_in_a_network() -> None:
    setting = LayerSetting(kind="conv", in_channels=4, out_channels=4, size=(16, 16))
    case = LayerCase(setting, np.ones((4, 4, 1, 1), np.float32))
    node = Node("case0", Conv(case.weight, np.zeros(4, np.float32)), ("x0",), "y0")
    alone = lower(make_graph({"x0": (1, 4, 16, 16)}, ["y0"], [node]), resolve_target("native"))
    assert compile_layers([case]).manifest.arena_bytes > 4 * alone.arena_floats
    (variants,) = tile_variants([case])
    assert len(variants) == len({each.tile for each in variants}) > 1


def test_layers_on_their_own_share_inputs_and_have_their_slots() -> None:
    rng = np.random.default_rng(0)
    setting = LayerSetting(
        kind="conv", in_channels=8, out_channels=8, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), size=(9, 9)
    )
    linear = LayerSetting(kind="linear", in_channels=20, out_channels=30)
    cases = [
        LayerCase(setting, weight(rng, 8, 8, 3, 3)),
        LayerCase(linear, weight(rng, 30, 20, scheme="punched:8x4")),
        LayerCase(setting, weight(rng, 8, 8, 3, 3, scheme="pattern")),
    ]
    with Engine(compile_layers(cases)) as engine:
        assert [info.name for info in engine.inputs] == ["x0", "x1"]
        assert engine.slots[:3] == ("case0", "case1", "case2")
        x = {"x0": np.ones((1, 8, 9, 9), np.float32), "x1": np.ones((1, 20), np.float32)}
        seconds = engine.time_slots(x, 5)
        assert seconds.shape == (5, len(engine.slots)) and (seconds[:, :3] > 0).all()
        np.testing.assert_allclose(engine.run(x)[1], cases[1].weight.sum(1)[None], atol=1e-5)
