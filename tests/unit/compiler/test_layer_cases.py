"""Single layers on their own: what they mean, which slots are theirs, that they run as in a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from prunemap.compiler import (
    LayerCase,
    case_slots,
    compile_embedded,
    compile_layers,
    compile_model,
    interpret_layers,
    read_specs,
    tile_variants,
)
from prunemap.compiler.graph.node_names import onnx_name
from prunemap.core.layer import LayerSetting
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.latency import Probe
from prunemap.latency.time_cases import prepare_cases
from prunemap.runtime import Engine, random_inputs
from prunemap.schemes import legal_schemes

SETTINGS = [
    LayerSetting(kind="conv", in_channels=3, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1), size=(6, 7)),
    LayerSetting(
        kind="conv", in_channels=4, out_channels=6, kernel=(3, 2), stride=(2, 1), pads=(0, 1, 2, 0), size=(9, 8)
    ),
    LayerSetting(kind="conv", in_channels=4, out_channels=6, kernel=(3, 3), dilation=(2, 2), groups=2, size=(9, 9)),
    LayerSetting(
        kind="depthwise", in_channels=4, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1), groups=4, size=(5, 5)
    ),
    LayerSetting(
        kind="conv", in_channels=8, out_channels=8, kernel=(5,), stride=(2,), pads=(2, 1), dilation=(1,), size=(19,)
    ),
    LayerSetting(
        kind="conv",
        in_channels=2,
        out_channels=4,
        kernel=(3, 3, 3),
        stride=(1, 2, 1),
        pads=(1, 1, 0, 1, 1, 0),
        dilation=(1, 1, 1),
        size=(4, 6, 7),
    ),
    LayerSetting(
        kind="conv_transpose",
        in_channels=8,
        out_channels=4,
        kernel=(4, 4),
        stride=(2, 2),
        pads=(1, 1, 1, 1),
        size=(5, 7),
    ),
    LayerSetting(kind="conv_transpose", in_channels=8, out_channels=4, kernel=(2, 2), stride=(2, 2), size=(5, 7)),
    LayerSetting(
        kind="conv_transpose",
        in_channels=4,
        out_channels=6,
        kernel=(3, 3),
        stride=(2, 2),
        pads=(1, 1, 0, -1),
        groups=2,
        size=(4, 5),
    ),
    LayerSetting(
        kind="conv_transpose",
        in_channels=4,
        out_channels=6,
        kernel=(3,),
        stride=(3,),
        pads=(1, 1),
        dilation=(2,),
        size=(6,),
    ),
    LayerSetting(kind="linear", in_channels=12, out_channels=5),
    LayerSetting(kind="linear", in_channels=12, out_channels=24, size=(1, 20)),
    LayerSetting(kind="lstm", in_channels=8, out_channels=32, size=(5, 2)),
    LayerSetting(kind="gru", in_channels=8, out_channels=24, size=(5, 1)),
    LayerSetting(kind="gru", in_channels=8, out_channels=24, size=(5, 2), reset_after=False),
]
SPARSE = SchemeSpec.parse("punched:4x2")


def case_of(setting: LayerSetting, density: float = 0.4) -> LayerCase:
    scheme = SchemeSpec("dense") if setting.kind == "depthwise" else SPARSE
    return LayerCase(setting, Probe(setting, scheme, density).weight())


def in_onnx(case: LayerCase, x: np.ndarray) -> np.ndarray:
    """What ONNX's reference evaluator makes of a layer; a recurrence gets its sums through an identity."""
    setting, weight = case.setting, case.weight
    window: dict[str, Any] = {"strides": setting.stride, "dilations": setting.dilation}
    if setting.kind == "linear":
        return evaluated(x, [weight], "Gemm", transB=1)
    if setting.is_recurrent:
        before = {} if setting.kind == "lstm" else {"linear_before_reset": int(setting.reset_after)}
        weights = [np.eye(len(weight), dtype=np.float32)[None], weight[None]]
        return evaluated(x, weights, setting.kind.upper(), hidden_size=setting.in_channels, **before)
    if setting.kind != "conv_transpose":
        return evaluated(x, [weight], "Conv", pads=setting.pads, group=setting.groups, **window)
    pads, ends = np.maximum(setting.pads, 0), setting.pads[len(setting.size) :]
    window |= {"pads": pads.tolist(), "output_padding": np.maximum(-np.array(ends), 0).tolist()}
    parts = zip(np.split(x, setting.groups, 1), np.split(weight, setting.groups), strict=True)  # it knows no groups
    return np.concatenate([evaluated(x, [w.swapaxes(0, 1)], "ConvTranspose", **window) for x, w in parts], 1)


def evaluated(x: np.ndarray, weights: Sequence[np.ndarray], kind: str, **attributes: Any) -> np.ndarray:
    names = [f"w{i}" for i in range(len(weights))]
    node = helper.make_node(kind, ["x", *names], ["y"], **attributes)
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.ascontiguousarray(w), n) for w, n in zip(weights, names, strict=True)]
    (y,) = ReferenceEvaluator(helper.make_model(helper.make_graph([node], "layer", [info], [result], stored))).run(
        None, {"x": x}
    )
    return np.asarray(y)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_layer_means_what_onnx_says(setting: LayerSetting) -> None:
    case = case_of(setting)
    x = np.random.default_rng(0).standard_normal(setting.in_shape, dtype=np.float32)
    (found,) = interpret_layers([case], {"x0": x})
    assert found.shape == setting.out_shape
    np.testing.assert_allclose(found, in_onnx(case, x).reshape(setting.out_shape), atol=1e-5)


def test_layers_of_all_kinds_are_checked_and_timed() -> None:
    """Raises where an output is not what the interpreter says."""
    times = prepare_cases([case_of(setting) for setting in SETTINGS]).time(timed_seconds=0.001)
    assert times.seconds.shape[1] == len(SETTINGS)
    assert (times.seconds > 0).all()
    kernels = dict(zip(map(str, SETTINGS), times.kernels, strict=True))
    assert kernels["lstm of 8, 5 steps, batch 2"].startswith("f32_linear")
    assert kernels["conv_transpose 2x2/2 8→4 at 5x7"].startswith("f32_conv")


def test_every_scheme_runs_on_every_kind() -> None:
    blocks = ("punched:4x2", "punched:3x5", "block:4x2", "block:3x5")  # that do not divide, too
    schemes = [SchemeSpec.parse(name) for name in ("unstructured", "filter", "column", "pattern", *blocks)]
    cases = [
        LayerCase(setting, Probe(setting, scheme, 0.4).weight())
        for setting in SETTINGS
        for scheme in legal_schemes(setting.weight_shape, schemes)
    ]
    assert {case.setting for case in cases} == set(SETTINGS) and len(cases) > 5 * len(SETTINGS)
    inputs = {
        f"x{i}": np.random.default_rng(i).standard_normal(setting.in_shape, dtype=np.float32)
        for i, setting in enumerate(SETTINGS)
    }
    with Engine(compile_layers(cases)) as engine:
        outputs = engine.run(inputs)
    for case, want, got in zip(cases, interpret_layers(cases, inputs), outputs, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5, err_msg=str(case.setting))


def test_slots_belong_to_the_layer_that_became_them() -> None:
    tokens = LayerSetting(kind="linear", in_channels=32, out_channels=24, size=(1, 20))
    lstm = LayerSetting(kind="lstm", in_channels=8, out_channels=32, size=(5, 2))
    up = SETTINGS[6]
    program = compile_layers([case_of(tokens), case_of(lstm), case_of(up), case_of(tokens, 1.0)])
    slots = program.manifest.slots
    found = {case: [slots[i] for i in places] for case, places in case_slots(slots).items()}
    assert found[0] == ["case0/in", "case0", "case0/out"], "sparse tokens are pixels: both transposes count"
    assert found[1] == ["case1/recurrent", "case1#3"]
    assert found[2] == ["case2", "case2#1", "case2#2", "case2#4"], (
        "the phases of a transposed convolution are put apart"
    )
    assert found[3] == ["case3"]
    assert [name for name in slots if not name.startswith("case")] == [
        *(f"input x{i}" for i in range(3)),
        *(f"output y{i}" for i in range(4)),
    ]


def test_a_layer_alone_takes_the_steps_that_it_takes_in_a_network(tmp_path: Path) -> None:
    weight = case_of(SETTINGS[11]).weight
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 20, c]) for n, c in (("x", 12), ("y", 24)))
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "tokens")
    graph = helper.make_graph([node], "tokens", [x], [y], [numpy_helper.from_array(weight.T.copy(), "w")])
    path = tmp_path / "tokens.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
    (spec,) = read_specs(path)
    assert spec.setting == SETTINGS[11]
    network = compile_model(path, tune=None).manifest
    alone = compile_layers([LayerCase(spec.setting, weight)]).manifest
    assert [slot.replace("tokens", "case0") for slot in network.slots][:3] == list(alone.slots[:3])
    assert [layer.kernel for layer in network.layers] == [layer.kernel for layer in alone.layers]


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("conv", "conv"),
        ("net.2/Relu", "net.2/Relu"),
        ("up#3", "up"),
        ("q/in", "q"),
        ("rnn/LSTM/reverse/recurrent", "rnn/LSTM"),
        ("rnn/LSTM/reverse/out", "rnn/LSTM"),
        ("rnn/LSTM=last state", "rnn/LSTM"),
        ("input x", "input x"),
    ],
)
def test_nodes_are_named_after_the_onnx_node(node: str, layer: str) -> None:
    assert onnx_name(node) == layer


@pytest.mark.parametrize("setting", [*SETTINGS[:1], *SETTINGS[6:7], *SETTINGS[10:13]], ids=str)
def test_an_embedded_layer_runs_as_alone_and_says_how_far_it_is_off(setting: LayerSetting) -> None:
    """Nothing of what stands around it moves into its step, and every tile is compared."""
    cases = [case_of(setting, density) for density in (0.4, 0.7)]
    variants = tile_variants(cases)
    program = compile_embedded(variants)
    inputs = random_inputs(program.manifest.inputs)
    rights = interpret_layers(cases, {"x0": np.maximum(inputs["x0"], 0)})
    inputs |= {f"right{i}": right.copy() for i, right in enumerate(rights)}
    count = sum(map(len, variants))
    alone = compile_layers([case for of_case in variants for case in of_case]).manifest
    assert [each.kernel for each in program.manifest.layers] == [each.kernel for each in alone.layers]
    own = {k: len(slots) for k, slots in case_slots(program.manifest.slots).items()}
    assert own == {k: len(slots) for k, slots in case_slots(alone.slots).items()}
    with Engine(program) as engine:
        right = [float(error.max()) for error in engine.run(inputs)[:count]]
        assert max(right) < 1e-5
        inputs["right1"].flat[-1] += 0.5
        off = [float(error.max()) for error in engine.run(inputs)[:count]]
        assert off[: len(variants[0])] == right[: len(variants[0])]
        assert off[len(variants[0]) :] == pytest.approx([0.5] * len(variants[1]), abs=1e-5)
        inputs["right0"].flat[0] = np.nan
        off = [float(error.max()) for error in engine.run(inputs)[:count]]
        assert np.isnan(off[: len(variants[0])]).all()
