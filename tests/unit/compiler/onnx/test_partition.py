"""Partition: few segments, everything compiled that can be, the same values as the whole, nothing odd crosses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from prunemap.benchmarking import verify
from prunemap.compiler import compile_with_fallback, read_layers
from prunemap.compiler.layers import identity_of
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.partition import Cut, partition
from prunemap.core.artifact import TensorInfo
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE
from prunemap.errors import UserError
from prunemap.runtime import Pipeline, Program, random_inputs, start
from tests.networks import OnnxBuilder, residual_network, save

TURN = {"equation": "nchw->ncwh"}


def conv(b: OnnxBuilder, x: str, name: str, channels: int = 4, scheme: str = "dense") -> str:
    return b.conv(x, (4, channels, 3, 3), pads=[1, 1, 1, 1], name=name, scheme=scheme)


def middle() -> onnx.ModelProto:
    b = OnnxBuilder()
    y = b.node("Einsum", b.node("Relu", conv(b, "x", "first", 3, "punched:4x2")), name="odd", **TURN)
    return b.model([1, 3, 8, 6], conv(b, y, "second", scheme="punched:4x2"), 4)


def at_the_start() -> onnx.ModelProto:
    b = OnnxBuilder()
    return b.model([2, 3, 8, 6], conv(b, b.node("Einsum", "x", name="odd", **TURN), "second", 3), 4)


def at_the_end() -> onnx.ModelProto:
    b = OnnxBuilder()
    return b.model([1, 3, 6, 6], b.node("Det", conv(b, "x", "first", 3), name="odd"))


def two_branches() -> onnx.ModelProto:
    b = OnnxBuilder()
    x = conv(b, "x", "stem", 3)
    left = conv(b, b.node("Einsum", x, name="odd", **TURN), "left")
    right = conv(b, b.node("Einsum", b.node("Relu", x), name="odd too", **TURN), "right")
    return b.model([1, 3, 8, 8], b.node("Add", left, right, name="sum"), 4)


def in_a_row() -> onnx.ModelProto:
    b = OnnxBuilder()
    x = "x"
    for i in range(3):
        x = b.node("Einsum", conv(b, x, f"conv{i}", 3 if i == 0 else 4), name=f"odd{i}", **TURN)
    return b.model([1, 3, 8, 8], x, 4)


def everything() -> onnx.ModelProto:
    b = OnnxBuilder()
    return b.model([1, 3, 8, 8], b.node("Einsum", b.node("Einsum", "x", **TURN), **TURN), 4)


def shape_across_the_cut() -> onnx.ModelProto:
    """A size computed before the cut is read behind it: it is known, so it does not cross."""
    b = OnnxBuilder()
    x = conv(b, "x", "first", 3)
    batch = b.node("Slice", b.node("Shape", x), b.constant(np.array([0])), b.constant(np.array([1])))
    sizes = b.node("Concat", batch, b.constant(np.array([-1])), axis=0)
    y = b.node("Reshape", b.node("Relu", b.node("Einsum", x, name="odd", **TURN)), sizes)
    return b.model([2, 3, 4, 4], y)


def doubles() -> onnx.ModelProto:
    """Doubles in the middle, made and read by casts that must not be compiled."""
    b = OnnxBuilder()
    wide = b.node("Cast", conv(b, "x", "first", 3), name="widen", to=TensorProto.DOUBLE)
    y = b.node("Cast", b.node("Relu", wide, name="wide"), name="narrow", to=TensorProto.FLOAT)
    return b.model([1, 3, 4, 4], conv(b, y, "second"), 4)


def sequence() -> onnx.ModelProto:
    """A sequence is made early and read late, with a convolution between: no cut may split them."""
    b = OnnxBuilder()
    x = conv(b, "x", "first", 3)
    parts = b.node("SplitToSequence", x, b.constant(np.array([2, 2])), name="split", axis=1)
    half = b.node("SequenceAt", parts, b.constant(np.asarray(0)), name="half")
    y = b.conv(half, (4, 2, 3, 3), pads=[1, 1, 1, 1], name="between")
    more = b.node("SequenceInsert", parts, y, name="insert")
    whole = b.node("ConcatFromSequence", more, name="join", axis=1)
    y = b.node("Reshape", whole, b.constant(np.array([1, 8, 4, 4])), name="sized")
    return b.model([1, 3, 4, 4], conv(b, y, "last", 8), 4)


def inner_graph() -> onnx.ModelProto:
    """The branches of an If read tensors from around them, one of them computed, one a constant."""
    b = OnnxBuilder()
    x = conv(b, "x", "first", 3)
    b.node("Relu", x, name="around")
    big = b.node("Greater", b.node("ReduceMax", x, keepdims=0), b.constant(np.asarray(0, np.float32)))
    shift = b.constant(np.asarray(3, np.float32))
    out = helper.make_tensor_value_info("branch", TensorProto.FLOAT, [1, 4, 4, 4])
    branches = {
        key: helper.make_graph([helper.make_node(op, ["around_out", shift], ["branch"])], key, [], [out])
        for key, op in (("then_branch", "Add"), ("else_branch", "Mul"))
    }
    return b.model([1, 3, 4, 4], conv(b, b.node("If", big, name="odd", **branches), "second"), 4)


def empty() -> onnx.ModelProto:
    """No program holds a tensor without elements."""
    b = OnnxBuilder()
    x = conv(b, "x", "first", 3)
    none = b.node("Slice", x, *(b.constant(np.array([1])) for _ in range(3)))
    odd = b.node("Add", b.node("ReduceMean", x, b.constant(np.array([1])), name="mean"), none, name="odd")
    return b.model([1, 3, 4, 4], b.node("Concat", x, odd, axis=1, name="last"), 4)


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "middle": (middle, "first,relu_1 | odd* | second"),
    "start": (at_the_start, "odd* | second"),
    "end": (at_the_end, "first | odd*"),
    "branches": (two_branches, "stem,relu_3 | odd,odd too* | left,right,sum"),
    "row": (in_a_row, "conv0 | odd0* | conv1 | odd1* | conv2 | odd2*"),
    "everything": (everything, "einsum_0,einsum_1*"),
    "nothing": (residual_network, ""),
    "shape": (shape_across_the_cut, "first | odd* | relu_5,reshape_6"),
    "doubles": (doubles, "first | widen,wide,narrow* | second"),
    "sequence": (sequence, "first | split,half,between,insert,join,sized* | last"),
    "empty": (empty, "first,mean | odd* | last"),
    "inner graph": (inner_graph, "first,around,reducemax_2,greater_3 | odd* | second"),
}


def text(cuts: list[Cut]) -> str:
    parts = (",".join(node.name for node in cut.model.graph.node) + "*" * (not cut.compiled) for cut in cuts)
    return " | ".join(parts)


@pytest.mark.parametrize("name", NETWORKS)
def test_cut_where_it_must_be(name: str, tmp_path: Path) -> None:
    make, expected = NETWORKS[name]
    cuts = partition(read_onnx(save(make(), tmp_path / "m.onnx")))
    if expected:
        assert text(cuts) == expected
    else:
        assert [cut.compiled for cut in cuts] == [True]
    for cut in cuts:
        assert [value.name for value in cut.model.graph.input] == [info.name for info in cut.inputs]
        assert [value.name for value in cut.model.graph.output] == [info.name for info in cut.outputs]
        assert cut.compiled == (cut.why == ())
        onnx.checker.check_model(cut.model)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_segments_in_turn_compute_what_the_whole_does(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name][0]()
    cuts = partition(read_onnx(save(model, tmp_path / "m.onnx")))
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    known = {"x": np.random.default_rng(0).standard_normal(shape, np.float32)}
    wanted = ReferenceEvaluator(model).run(None, dict(known))
    for cut in cuts:
        names = [info.name for info in cut.outputs]
        feed = {info.name: known[info.name] for info in cut.inputs}
        known |= dict(zip(names, ReferenceEvaluator(cut.model).run(names, feed), strict=True))
        for info in cut.outputs:
            assert (known[info.name].shape, str(known[info.name].dtype)) == (info.shape, info.dtype)
    for value, output in zip(wanted, model.graph.output, strict=True):
        np.testing.assert_allclose(known[output.name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["branches", "doubles", "sequence", "empty", "inner graph"])
def test_compiled_with_a_fallback_it_computes_what_the_model_means(name: str, tmp_path: Path) -> None:
    path = save(NETWORKS[name][0](), tmp_path / "m.onnx")
    program = compile_with_fallback(path, tune=None)
    assert isinstance(program, Pipeline)
    with start(program) as engine:
        result = verify(engine, path)
    assert result.passed, result


def test_the_manifest_says_where_it_was_cut_and_what_crosses(tmp_path: Path) -> None:
    manifest = compile_with_fallback(save(two_branches(), tmp_path / "m.onnx"), tune=None).manifest
    first, odd, last = manifest.segments
    assert [each.engine for each in manifest.segments] == ["prunemap", "onnxruntime", "prunemap"]
    assert odd.why == tuple(f"{name} (Einsum): the operator is not supported" for name in ("odd", "odd too"))
    assert [(info.name, info.size_bytes) for info in odd.inputs] == [("stem_out", 1024), ("relu_3_out", 1024)]
    assert {info.name for info in first.outputs} == {"stem_out", "relu_3_out"}
    assert last.outputs == manifest.outputs == (TensorInfo("sum_out", (1, 4, 8, 8)),)
    assert [layer.node for layer in manifest.layers] == ["stem", "left", "right"]
    assert manifest.slots == (*first.slots, "1: onnxruntime", *last.slots)
    assert len(set(manifest.slots)) == len(manifest.slots)


def test_integers_of_all_kinds_cross(tmp_path: Path) -> None:
    """Places as int64 go from ours to the other engine and back; the result is bool."""
    b = OnnxBuilder()
    places = b.node("ArgMax", conv(b, "x", "first", 3), axis=1, keepdims=0, name="places")
    turned = b.node("Einsum", places, equation="nhw->nwh", name="odd")
    y = b.node("Equal", turned, b.constant(np.asarray(2)), name="equal")
    model = b.model([1, 3, 4, 4], y, 3)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.BOOL
    path = save(model, tmp_path / "m.onnx")
    program = compile_with_fallback(path, tune=None)
    assert [info.dtype for segment in program.manifest.segments for info in segment.inputs] == [
        "float32",
        "int64",
        "int64",
    ]
    with start(program) as engine:
        x = random_inputs(engine.inputs, 3)
        (found,) = engine.run(x)
    (wanted,) = ReferenceEvaluator(model).run(None, x)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, wanted)


def test_an_output_whose_size_only_a_run_tells(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 4, 4], b.node("NonZero", b.node("Relu", conv(b, "x", "first", 3)), name="odd"))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    path = save(model, tmp_path / "m.onnx")
    with start(compile_with_fallback(path, tune=None)) as engine:
        assert engine.outputs == (TensorInfo("odd_out", (4, -1), "int64"),)
        assert engine.outputs[0].size_bytes is None
        assert verify(engine, path).passed


def test_an_input_that_only_the_other_engine_takes(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = conv(b, b.node("Cast", "x", name="cast", to=TensorProto.FLOAT), "first", 3)
    model = b.model([1, 3, 4, 4], y, 4)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    path = save(model, tmp_path / "m.onnx")
    with start(compile_with_fallback(path, tune=None)) as engine:
        assert engine.inputs[0].dtype == "uint8"
        assert verify(engine, path).passed


def test_a_network_that_can_be_compiled_is_a_program(tmp_path: Path) -> None:
    assert isinstance(compile_with_fallback(save(residual_network(), tmp_path / "m.onnx"), tune=None), Program)


def test_a_plan_pins_the_layers_of_every_segment(tmp_path: Path) -> None:
    path = save(middle(), tmp_path / "m.onnx")
    with pytest.raises(UserError, match="odd"):
        read_layers(path)
    specs = {"first": (4, 3, 3, 3), "second": (4, 4, 3, 3)}
    entries = tuple(
        PlanLayer(name=name, kind="conv", weight_shape=shape, scheme=DENSE, density=1.0)
        for name, shape in specs.items()
    )
    plan = Plan(model=identity_of(path, []), layers=entries)
    layers = compile_with_fallback(path, plan=plan, tune=None).manifest.layers
    assert {layer.reason for layer in layers} == {"pinned dense by the plan"}


def test_what_cannot_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(middle(), tmp_path / "m.onnx")
    with pytest.raises(UserError, match="--fallback: got 'tvm', allowed are onnxruntime"):
        compile_with_fallback(path, "tvm")
    b = OnnxBuilder()
    model = b.model([1, 3, 4, 4], b.node("SplitToSequence", "x", name="odd"))
    model.graph.output[0].CopyFrom(
        helper.make_tensor_sequence_value_info(model.graph.output[0].name, TensorProto.FLOAT, None)
    )
    with pytest.raises(UserError, match="its output 'odd_out' is a sequence, which nothing here takes"):
        compile_with_fallback(save(model, tmp_path / "s.onnx"))

    def refuse(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("prunemap.runtime.segments.import_module", refuse)
    with pytest.raises(UserError, match="run in ONNX Runtime, which is not installed"):
        compile_with_fallback(path, tune=None)
