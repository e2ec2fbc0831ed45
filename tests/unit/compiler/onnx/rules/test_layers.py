"""ONNX layers and products: what they compute, and that the node with the weights has the layer's name."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunemap.compiler import read_layers
from prunemap.compiler.compile import compile_model
from prunemap.compiler.graph.interpret import interpret
from prunemap.compiler.graph.ir import AnyArray, Conv, Graph, Linear, MatMul
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.compiler.passes import optimise
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.errors import UnsupportedError
from prunemap.schemes import make_mask
from tests.networks import OnnxBuilder, save
from tests.one_node import check_node, graph_of, node_model

RNG = np.random.default_rng(0)


def floats(*shape: int) -> AnyArray:
    return RNG.standard_normal(shape, np.float32)


def layer_of(graph: Graph) -> Conv | Linear:
    """Return the op that plans and reports find by the node's name."""
    (op,) = (node.op for node in graph.nodes if node.name == "tested")
    assert isinstance(op, Conv | Linear)
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    return op


PRODUCTS = [((5,), (5, 3)), ((2, 5), (5, 3)), ((4, 2, 5), (5, 3)), ((2, 4, 2, 5), (5, 3)), ((1, 1, 1, 5), (5, 3))]


@pytest.mark.parametrize(("left", "right"), PRODUCTS, ids=str)
def test_a_product_with_a_matrix_is_a_linear_layer(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    weight = floats(*right)
    op = layer_of(check_node("MatMul", floats(*left), weight))
    np.testing.assert_array_equal(op.weight, weight.T)


OTHER_PRODUCTS = [
    ((5,), (5,)),
    ((4, 5), (5,)),
    ((3, 4, 5), (5,)),
    ((5,), (2, 5, 3)),
    ((2, 4, 5), (2, 5, 3)),
    ((3, 1, 4, 5), (2, 5, 3)),
    ((4, 5), (3, 2, 5, 3)),
]


@pytest.mark.parametrize("computed", [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize(("left", "right"), OTHER_PRODUCTS, ids=str)
def test_other_products(left: tuple[int, ...], right: tuple[int, ...], computed: tuple[int, ...]) -> None:
    graph = check_node("MatMul", floats(*left), floats(*right), computed=computed)
    assert any(isinstance(node.op, MatMul) for node in graph.nodes)


@pytest.mark.parametrize("computed", [(0,), (1,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("c", [None, (), (3,), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize(("a", "b"), list(product((0, 1), (0, 1))), ids=str)
def test_gemm(a: int, b: int, c: tuple[int, ...] | None, computed: tuple[int, ...]) -> None:
    left, right = floats(*((5, 2) if a else (2, 5))), floats(*((3, 5) if b else (5, 3)))
    inputs = [left, right, *([] if c is None else [floats(*c)])]
    computed = tuple(place for place in computed if place < len(inputs))
    check_node("Gemm", *inputs, computed=computed, transA=a, transB=b, alpha=0.5, beta=2.0)


def test_the_weights_of_a_transposed_gemm_have_its_name() -> None:
    weight = floats(5, 3)
    np.testing.assert_array_equal(layer_of(check_node("Gemm", floats(5, 2), weight, transA=1)).weight, weight.T)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 9), (6, 4, 3), {}),
    ((1, 4, 9), (6, 2, 3), {"group": 2, "strides": [2], "pads": [2, 1], "dilations": [2]}),
    ((1, 4, 9), (8, 1, 3), {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2]}),
    ((1, 4, 9), (6, 4, 4), {"auto_pad": "SAME_LOWER"}),
    ((1, 4, 9, 8), (6, 4, 3, 2), {"pads": [1, 0, 2, 1]}),
    ((2, 3, 5, 6, 7), (4, 3, 3, 2, 3), {}),
    ((1, 4, 5, 6, 7), (6, 2, 3, 3, 1), {"group": 2, "strides": [2, 1, 2], "pads": [1, 0, 2, 2, 1, 0]}),
    ((1, 2, 7, 6, 7), (3, 2, 2, 3, 3), {"dilations": [3, 2, 1], "auto_pad": "SAME_UPPER"}),
]


@pytest.mark.parametrize("computed", [(0,), (0, 2)], ids=str)
@pytest.mark.parametrize(("x", "kernel", "how"), CONVS, ids=lambda each: re.sub(r"\W+", "_", str(each)))
def test_convolutions(
    x: tuple[int, ...], kernel: tuple[int, ...], how: dict[str, Any], computed: tuple[int, ...]
) -> None:
    weight, bias = floats(*kernel), floats(kernel[0])
    graph = check_node("Conv", floats(*x), weight, bias, computed=computed, atol=1e-4, **how)
    np.testing.assert_array_equal(layer_of(graph).weight.reshape(kernel), weight)


def spread(x: AnyArray, weight: AnyArray, bias: AnyArray, how: dict[str, list[int]], groups: int) -> AnyArray:
    """Return the transposed convolution as it is defined: every input adds its kernel to the output."""
    kernel, outputs = weight.shape[2:], weight.shape[1]
    strides, dilations, count = how["strides"], how["dilations"], len(kernel)
    full = [
        s * (n - 1) + extra + d * (k - 1) + 1
        for s, n, extra, d, k in zip(strides, x.shape[2:], how["output_padding"], dilations, kernel, strict=True)
    ]
    y = np.zeros((len(x), groups, outputs, *full), np.float32)
    by_group = x.reshape(len(x), groups, -1, *x.shape[2:])
    weights = weight.reshape(groups, -1, outputs, *kernel)
    for place, tap in product(np.ndindex(*x.shape[2:]), np.ndindex(*kernel)):
        at = [i * s + k * d for i, s, k, d in zip(place, strides, tap, dilations, strict=True)]
        y[(..., *at)] += np.einsum("ngi,gio->ngo", by_group[(..., *place)], weights[(..., *tap)])
    pads = how["pads"]
    inside = tuple(slice(pads[i], full[i] - pads[i + count]) for i in range(count))
    whole = y.reshape(len(x), groups * outputs, *full) + bias.reshape(-1, *(1,) * count)
    return np.asarray(whole[(slice(None), slice(None), *inside)])


def each(axes: int, low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=axes, max_size=axes)


transposed_convolutions = st.integers(1, 3).flatmap(
    lambda axes: st.fixed_dictionaries(
        {
            "size": each(axes, 1, 4),
            "kernel": each(axes, 1, 4),
            "strides": each(axes, 1, 3),
            "dilations": each(axes, 1, 3),
            "pads": each(2 * axes, 0, 2),
            "output_padding": each(axes, 0, 2),
        }
    )
)


@settings(max_examples=60)
@given(given=transposed_convolutions, groups=st.integers(1, 2), outputs=st.integers(1, 2))
def test_transposed_convolutions(given: dict[str, list[int]], groups: int, outputs: int) -> None:
    how = {name: values for name, values in given.items() if name not in ("size", "kernel")}
    x, weight = floats(2, 2 * groups, *given["size"]), floats(2 * groups, outputs, *given["kernel"])
    weight *= RNG.random(weight.shape) < 0.7
    bias = floats(groups * outputs)
    expected = spread(x, weight, bias, how, groups)
    model, fed = node_model("ConvTranspose", x, weight, bias, group=groups, **how)
    if expected.size == 0:
        with pytest.raises(UnsupportedError, match="its output would have size"):
            graph_of(model, [x])
        return
    graph = graph_of(model, [x])
    for each_graph in (graph, optimise(graph)):
        np.testing.assert_allclose(interpret(each_graph, fed)[0], expected, atol=1e-4)
    assert np.count_nonzero(layer_of(graph).weight) == np.count_nonzero(weight), "pruned weights stay zeros"


SIZES: list[dict[str, Any]] = [
    {"output_shape": [8, 9]},
    {"output_shape": [13, 14], "strides": [3, 3]},
    {"output_shape": [7, 8], "auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER", "dilations": [2, 1]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("how", SIZES, ids=str)
def test_the_size_of_a_transposed_convolution_may_be_given(how: dict[str, Any]) -> None:
    """Padding is what is too much; of an odd number one more is at the end, or with SAME_LOWER at the beginning."""
    how = {"strides": [2, 2], "dilations": [1, 1], **how}
    x, weight, bias = floats(1, 2, 4, 4), floats(2, 3, 3, 3), floats(3)
    model, fed = node_model("ConvTranspose", x, weight, bias, **how)
    (have,) = interpret(graph_of(model, [x]), fed)
    whole = {"pads": [0] * 4, "output_padding": [4, 4], "strides": how["strides"], "dilations": how["dilations"]}
    spare = spread(x, weight, bias, whole, 1)
    full = [size - 4 for size in spare.shape[2:]]
    same = "auto_pad" in how and how["auto_pad"] != "VALID"
    out = how.get("output_shape", [4 * s for s in how["strides"]] if same else full)
    padding = [max(0, f - o) for f, o in zip(full, out, strict=True)]
    begin = [p // 2 if how.get("auto_pad") == "SAME_UPPER" else p - p // 2 for p in padding]
    want = spare[:, :, begin[0] : begin[0] + out[0], begin[1] : begin[1] + out[1]]
    np.testing.assert_allclose(have, want, atol=1e-5)


def test_a_computed_bias_of_a_transposed_convolution() -> None:
    check_node("ConvTranspose", floats(1, 2, 4, 5), floats(2, 3, 3, 3), floats(3), computed=(0, 2), strides=[2, 2])


REFUSED: list[tuple[str, list[AnyArray], dict[str, Any], str]] = [
    ("Conv", [floats(1, 3, 8, 8), floats(4, 3, 3, 3)], {"computed": (0, 1)}, "its weight is computed"),
    ("Conv", [floats(1, 3, 8), floats(4, 2, 3)], {}, "3 input channels do not fit weight"),
    ("Conv", [floats(1, 2, 3, 3, 3, 3), floats(2, 2, 1, 1, 1, 1)], {}, "one, two or three axes"),
    ("ConvTranspose", [floats(1, 3, 8, 8), floats(3, 4, 3, 3)], {"computed": (0, 1)}, "its weight is computed"),
    ("ConvTranspose", [floats(1, 3, 8, 8), floats(4, 4, 3, 3)], {}, "3 input channels do not fit weight"),
    ("ConvTranspose", [floats(1, 3, 8, 8), floats(3, 4, 3, 3), floats(5)], {}, "bias has shape"),
    ("ConvTranspose", [floats(1, 3, 8), floats(3, 4, 1)], {"strides": [2], "auto_pad": "SAME_UPPER"}, "smaller than"),
]


@pytest.mark.parametrize(("op", "inputs", "how", "why"), REFUSED, ids=lambda each: re.sub(r"\W+", "_", str(each))[:30])
def test_what_is_refused(op: str, inputs: list[AnyArray], how: dict[str, Any], why: str) -> None:
    model, _ = node_model(op, *inputs, **how)
    with pytest.raises(UnsupportedError, match=why):
        graph_of(model, [inputs[0]])


def network(path: Path, scheme: SchemeSpec, density: float) -> Path:
    """Write conv 1-D, transposed conv, batch norm, product on tokens, all layers pruned: (1, 8, 10) → (1, 10, 20)."""
    b = OnnxBuilder()

    def pruned(*shape: int) -> AnyArray:
        values = floats(*shape)
        return values * make_mask(values, scheme, density)

    x = b.node("Conv", "x", b.constant(pruned(16, 8, 3)), name="along", pads=[1, 1])
    up = np.ascontiguousarray(pruned(8, 16, 4).swapaxes(0, 1))
    x = b.batch_norm(b.node("ConvTranspose", x, b.constant(up), name="up", strides=[2], pads=[1, 1]), 8)
    x = b.node("MatMul", b.node("Transpose", x, perm=[0, 2, 1]), b.constant(pruned(12, 8).T.copy()), name="tokens")
    return save(b.model([1, 8, 10], x, 3), path)


def test_layers_have_the_shapes_that_plans_name(tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", SchemeSpec("dense"), 1.0)
    specs = {layer.spec.name: layer.spec for layer in list_layers(read_onnx(path))}
    assert {name: (spec.kind, spec.weight_shape, spec.macs) for name, spec in specs.items()} == {
        "along": ("conv", (16, 8, 3), 16 * 8 * 3 * 10),
        "up": ("conv_transpose", (8, 16, 4), 16 * 8 * 4 * 10),
        "tokens": ("linear", (12, 8), 12 * 8 * 20),
    }
    assert {name: str(spec.setting) for name, spec in specs.items()} == {
        "along": "conv 3/1 8→16 at 10",
        "up": "conv_transpose 4/2 16→8 at 10",
        "tokens": "linear 8→12 at 20",
    }
    for spec in specs.values():
        assert spec.setting is not None
        assert (spec.setting.macs, spec.setting.weight_shape) == (spec.macs, spec.weight_shape)
    for layer in read_layers(path):
        assert layer.weight.shape == layer.spec.weight_shape
        raw = next(each for each in list_layers(read_onnx(path)) if each.spec.name == layer.spec.name)
        np.testing.assert_array_equal(layer.weight, raw.weight)


def test_a_plan_pins_them(tmp_path: Path) -> None:
    scheme = SchemeSpec("punched", (4, 4))
    path = network(tmp_path / "m.onnx", scheme, 0.25)
    specs = [layer.spec for layer in list_layers(read_onnx(path))]
    plan = Plan(
        layers=tuple(
            PlanLayer(name=spec.name, kind=spec.kind, weight_shape=spec.weight_shape, scheme=scheme, density=0.25)
            for spec in specs
        )
    )
    chosen = {each.node: each for each in compile_model(path, plan=plan, tune=None).manifest.layers}
    assert {*chosen} == {"along", "up", "tokens"}
    for each_choice in chosen.values():
        assert each_choice.scheme == "punched:4x4"
        assert not each_choice.reason, "the zeros are used"
    up = chosen["up"]  # without the filters that the tokens have no weights for
    assert up.stored_weights == up.density * 8 * 16 * 4, "blocks of filters stay blocks of filters of a phase"


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_a_matrix_that_the_file_transposes_is_a_layer_everywhere(op: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    b, values = OnnxBuilder(), rng.standard_normal((16, 32), np.float32)
    how = {"transB": 1} if op == "Gemm" else {}
    stored = values.T.copy() if op == "Gemm" else values
    turned = b.node("Identity", b.node("Transpose", b.constant(stored)))
    path = save(b.model([1, 32], b.node(op, "x", turned, name="turned", **how)), tmp_path / "m.onnx")
    (layer,) = list_layers(read_onnx(path))
    assert layer.spec.name == "turned" and layer.spec.setting is not None
    np.testing.assert_array_equal(layer.weight, values)
    scheme = SchemeSpec("punched", (4, 4))
    entry = PlanLayer(name="turned", kind="linear", weight_shape=(16, 32), scheme=scheme, density=0.25)
    write_pruned(path, Plan(layers=(entry,)), tmp_path / "p.onnx")
    (choice,) = compile_model(tmp_path / "p.onnx", tune=None).manifest.layers
    assert choice.node == "turned" and choice.density == 0.25 and choice.stored_weights < 16 * 32


def test_constant_factors_that_run_dense_are_told(tmp_path: Path) -> None:
    b = OnnxBuilder()
    sparse = np.zeros((2, 5, 5), np.float32)
    sparse[:, 0] = 1
    y = b.node("MatMul", b.node("MatMul", "x", b.constant(sparse), name="batched"), "x", name="computed")
    y = b.node("MatMul", b.constant(sparse[0]), y, name="left")
    path = save(b.model([2, 5, 5], y, 3), tmp_path / "m.onnx")
    choices = compile_model(path, tune=None).manifest.layers
    assert [(each.node.split("#")[0], each.kernel, each.density) for each in choices] == [
        ("batched", "f32_matmul", 0.2),
        ("left", "f32_matmul", 0.2),
    ]
    assert choices[0].reason == "a constant second factor of 3 axes is no weight of a linear layer: it runs dense"
    assert choices[1].reason == "a constant first factor of 2 axes is no weight of a linear layer: it runs dense"
