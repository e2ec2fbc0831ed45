"""ONNX files as people have them: what is taken in means the same, what is not is said in full."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from prunemap.compiler import inspect_model, read_layers
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.errors import UnsupportedError, UserError
from tests.networks import OnnxBuilder, residual_network, save


def check_against_reference(model: onnx.ModelProto, path: Path, x_shape: tuple[int, ...]) -> None:
    onnx.checker.check_model(model)
    x = np.random.default_rng(1).standard_normal(x_shape, np.float32)
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    got = interpret(import_graph(read_onnx(save(model, path), {"x": x_shape})), {"x": x})
    for want, have in zip(expected, got, strict=True):
        np.testing.assert_allclose(have, want, atol=1e-4)


def test_residual_network_means_the_same(tmp_path: Path) -> None:
    check_against_reference(residual_network(), tmp_path / "m.onnx", (1, 3, 16, 12))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(auto_pad: str, tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.conv("x", (4, 3, 4, 3), strides=[2, 2], auto_pad=auto_pad)
    check_against_reference(b.model([1, 3, 9, 10], y, 4), tmp_path / "m.onnx", (1, 3, 9, 10))


@pytest.mark.parametrize("attributes", [{"transB": 1}, {}, {"alpha": 0.5, "beta": 2.0}], ids=str)
def test_gemm(attributes: dict[str, float], tmp_path: Path) -> None:
    b = OnnxBuilder()
    shape = (5, 7) if attributes.get("transB") else (7, 5)
    weights, bias = (b.constant(b.rng.standard_normal(s, np.float32)) for s in (shape, (5,)))
    y = b.node("Gemm", "x", weights, bias, **attributes)
    check_against_reference(b.model([2, 7], y), tmp_path / "m.onnx", (2, 7))


def test_matmul_with_bias_and_scale(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("MatMul", "x", b.constant(b.rng.standard_normal((7, 5), np.float32)))
    y = b.node("Mul", b.node("Add", b.constant(b.rng.standard_normal(5, np.float32)), y), b.constant(np.float32([2])))
    check_against_reference(b.model([2, 7], y), tmp_path / "m.onnx", (2, 7))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("MaxPool", {"ceil_mode": 1}),
        ("MaxPool", {"pads": [1, 0, 1, 1]}),
        ("AveragePool", {"pads": [1, 1, 1, 1]}),
        ("AveragePool", {"pads": [1, 1, 1, 1], "count_include_pad": 1}),
    ],
    ids=str,
)
def test_pools(op: str, attributes: dict[str, object], tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node(op, "x", kernel_shape=[3, 3], strides=[2, 2], **attributes)
    check_against_reference(b.model([1, 3, 8, 10], y, 4), tmp_path / "m.onnx", (1, 3, 8, 10))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_mean_over_the_map(keepdims: int, tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("ReduceMean", "x", b.constant(np.int64([-1, -2])), keepdims=keepdims)
    check_against_reference(b.model([1, 3, 8, 10], y, 4 if keepdims else 2), tmp_path / "m.onnx", (1, 3, 8, 10))


def test_a_symbolic_batch_means_one(tmp_path: Path) -> None:
    path = save(residual_network(batch="N"), tmp_path / "m.onnx")
    assert import_graph(read_onnx(path)).shapes["x"] == (1, 3, 16, 12)
    assert import_graph(read_onnx(path, {"x": (4, 3, 16, 12)})).shapes["x"] == (4, 3, 16, 12)


def symbolic_network() -> onnx.ModelProto:
    b = OnnxBuilder()
    return b.model(["N", 3, "H", "W"], b.conv("x", (4, 3, 3, 3)), 4)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "input 'x' is ?x3x?x?: give its size, such as --shape x=1x3x224x224"),
        ({"x": (1, 4, 8, 8)}, "4 input channels do not fit weight"),
        ({"x": (1, 3, 8)}, "--shape x=1x3x8 does not fit"),
        ({"x": (1, 3, 0, 8)}, "--shape x=1x3x0x8: allowed are whole numbers from 1 to 536870912"),
        ({"x": (1, 3, -2, 8)}, "--shape x=1x3x-2x8: allowed are"),
        ({"x": (1, 3, 2.5, 8)}, "--shape x=1x3x2.5x8: allowed are"),
        ({"x": (True, 3, 8, 8)}, "--shape x=Truex3x8x8: allowed are"),
        ({"x": (1, 3, 10**20, 8)}, "--shape x=1x3x100000000000000000000x8: allowed are"),
        ({"y": (1, 3, 8, 8)}, "--shape names input 'y', the model has x"),
        ({"x": (1, 3, 2, 2)}, "gives an empty result"),
    ],
    ids=str,
)
def test_shapes_that_do_not_do(shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path) -> None:
    path = save(symbolic_network(), tmp_path / "m.onnx")
    with pytest.raises(UserError) as error:
        import_graph(read_onnx(path, shapes))
    assert message in str(error.value)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    good = save(residual_network(), tmp_path / "m.onnx").read_bytes()
    for name, content in {"text": b"hello, not a model", "empty": b"", "cut": good[: len(good) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"model: .* ONNX"):
            read_onnx(tmp_path / name)
    with pytest.raises(UserError, match="no such file"):
        read_onnx(tmp_path / "missing.onnx")


def test_every_unsupported_node_is_listed(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.node("Bernoulli", b.conv("x", (4, 3, 3, 3), name="first"), name="chance")
    x = b.node("Relu", x, name="fine")
    x = b.node("RandomNormalLike", x, name="noise")
    path = save(b.model([1, 3, 8, 8], x, 4), tmp_path / "m.onnx")
    with pytest.raises(UnsupportedError) as error:
        import_graph(read_onnx(path))
    assert "chance (Bernoulli)" in str(error.value) and "noise (RandomNormalLike)" in str(error.value)
    assert "fine" not in str(error.value)
    inspection = inspect_model(path)
    assert [layer.name for layer in inspection.layers] == ["first"]
    assert [each.name for each in inspection.unsupported] == ["chance", "noise"]


def test_nodes_that_no_output_needs_may_be_anything(tmp_path: Path) -> None:
    b = OnnxBuilder()
    places = b.node("NonZero", "x", name="odd")
    b.node("Cast", places, name="behind", to=TensorProto.FLOAT)
    path = save(b.model([1, 3, 8, 8], b.node("Relu", "x", name="act"), 4), tmp_path / "m.onnx")
    assert inspect_model(path).unsupported == ()
    assert [node.name for node in import_graph(read_onnx(path)).nodes] == ["act"]


def test_a_fixed_size_may_be_changed(tmp_path: Path) -> None:
    b = OnnxBuilder()
    path = save(b.model([10, 3, 8, 8], b.conv("x", (4, 3, 3, 3)), 4), tmp_path / "m.onnx")
    graph = import_graph(read_onnx(path, {"x": (1, 3, 20, 12)}))
    assert graph.shapes[graph.outputs[0]][2:] in ((20, 12), (18, 10))


def test_inputs_of_other_types_are_unsupported(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 8, 8], b.node("Relu", "x"), 4)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(UnsupportedError, match="it is DOUBLE; FLOAT, INT32"):
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


def bad_network(
    op: str, *weights: np.ndarray, x: tuple[int, ...] = (1, 4, 8, 8), **attributes: object
) -> onnx.ModelProto:
    b = OnnxBuilder()
    y = b.node(op, "x", *(b.constant(each) for each in weights), name="bad", **attributes)
    return b.model(list(x), y, len(x))


ONES = {n: np.ones(n, np.float32) for n in (3, 4, 7)}
KERNEL = np.ones((8, 4, 3, 3), np.float32)
BAD_NETWORKS = {
    "channels": (bad_network("Conv", KERNEL[:, :3]), "4 input channels do not fit weight"),
    "groups": (bad_network("Conv", KERNEL, group=3), "in 3 groups"),
    "bias": (bad_network("Conv", KERNEL, ONES[7]), "bias has shape (7,)"),
    "features": (bad_network("Gemm", np.ones((4, 8), np.float32), x=(1, 5)), "does not fit weight"),
    "scale": (bad_network("BatchNormalization", *(ONES[3],) * 4), "scale (3,) for 4 channels"),
    "training": (bad_network("BatchNormalization", *(ONES[4],) * 4, training_mode=1), "only inference"),
    "pool of a vector": (bad_network("MaxPool", x=(1, 5), kernel_shape=[2, 2]), "has 2 axes"),
    "mean of a vector": (bad_network("GlobalAveragePool", x=(1, 5)), "has an input of rank 2"),
    "stride": (bad_network("Conv", KERNEL, strides=[0, 1]), "strides (0, 1)"),
    "stride of SAME": (bad_network("Conv", KERNEL, strides=[0, 1], auto_pad="SAME_UPPER"), "strides (0, 1)"),
    "pads": (bad_network("Conv", KERNEL, pads=[-1, 0, 0, 0]), "pads (-1, 0, 0, 0)"),
    "bound of NaN": (bad_network("Clip", np.float32(np.nan)), "not one number"),
    "bound of two": (bad_network("Clip", np.zeros(2, np.float32)), "not one number"),
}


@pytest.mark.parametrize("name", BAD_NETWORKS)
def test_networks_that_do_not_fit_together(name: str, tmp_path: Path) -> None:
    model, message = BAD_NETWORKS[name]
    with pytest.raises(UserError) as error:
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))
    assert message in str(error.value)


@pytest.mark.parametrize("rank", [3, 4])
def test_outputs_that_nobody_computes(rank: int, tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 8, 8][:rank], b.node("Dropout", "x"), rank)
    model.opset_import[0].version = 11  # engines do not agree what the mask is
    model.graph.node[0].output.append("mask")
    import_graph(read_onnx(save(model, tmp_path / "m.onnx")))
    model.graph.output.append(onnx.helper.make_tensor_value_info("mask", TensorProto.BOOL, [None] * rank))
    with pytest.raises(UnsupportedError, match="mask"):
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


def test_an_output_that_is_a_constant(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 8, 8], b.node("Relu", "x"), 4)
    model.graph.initializer.append(onnx.numpy_helper.from_array(ONES[3], "fixed"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("fixed", TensorProto.FLOAT, [3]))
    graph = import_graph(read_onnx(save(model, tmp_path / "m.onnx")))
    _, fixed = interpret(graph, {"x": np.zeros((1, 3, 8, 8), np.float32)})
    np.testing.assert_array_equal(fixed, ONES[3])


def test_names_must_tell_nodes_apart(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 8, 8], b.conv(b.conv("x", (3, 3, 3, 3), name="a"), (3, 3, 3, 3), name="b"), 4)
    model.graph.node[1].name = "a"
    with pytest.raises(UserError, match="2 nodes are called 'a'"):
        read_onnx(save(model, tmp_path / "m.onnx"))


def test_nodes_without_names_whose_first_output_is_left_out(tmp_path: Path) -> None:
    b = OnnxBuilder()
    for last in ("h1", "h2"):
        weights = [b.constant(b.rng.standard_normal((1, 9, size), np.float32)) for size in (4, 3)]
        b.nodes.append(onnx.helper.make_node("GRU", ["x", *weights], ["", last], hidden_size=3))
    model = b.model([5, 2, 4], b.node("Add", "h1", "h2"), 3)
    assert [layer.spec.name for layer in list_layers(model)][::2] == ["h1", "h2"]
    check_against_reference(model, tmp_path / "m.onnx", (5, 2, 4))


def test_a_constant_of_words_does_no_harm(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 3, 8, 8], b.node("Relu", "x"), 4)
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["note"], value_string="words"))
    assert len(import_graph(read_onnx(save(model, tmp_path / "m.onnx"))).nodes) == 1


def test_layers_are_listed_in_graph_order_with_folded_weights(tmp_path: Path) -> None:
    path = save(residual_network(), tmp_path / "m.onnx")
    layers = read_layers(path)
    assert [(layer.spec.name, layer.spec.kind) for layer in layers] == [
        ("stem", "conv"),
        ("block.a", "conv"),
        ("block.b", "conv"),
        ("depthwise", "depthwise"),
        ("down", "conv"),
        ("fc", "linear"),
    ]
    raw = {layer.spec.name: layer.weight for layer in list_layers(read_onnx(path))}
    ratio = layers[0].weight / raw["stem"]
    assert not np.allclose(ratio, 1), "batch norm is not folded"
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=1e-5)
    assert layers[4].spec.macs == 12 * 8 * 9 * 4 * 3
    assert layers[4].spec.setting is not None and layers[4].spec.setting.macs == layers[4].spec.macs


def test_module_names_come_from_the_metadata(tmp_path: Path) -> None:
    model = residual_network()
    model.graph.node[0].metadata_props.add(key="prunemap.module", value="features.0")
    path = save(model, tmp_path / "m.onnx")
    assert [layer.spec.module for layer in read_layers(path)][:2] == ["features.0", ""]


def test_a_reshape_for_another_batch_is_told_once(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("Reshape", b.conv("x", (4, 3, 3, 3)), b.constant(np.array([1, 144])))
    model = save(b.model(["N", 3, 8, 8], y, 2), tmp_path / "m.onnx")
    with pytest.raises(UserError) as caught:
        import_graph(read_onnx(model, {"x": (5, 3, 8, 8)}))
    assert str(caught.value).count("a reshape of [5, 4, 6, 6] to [1, 144]") == 1
    assert "720 values are not 144; the file may be for another batch" in str(caught.value)
