"""The valid models that are mutated: small networks that together have most operators, and types, of the import."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunemap.compiler import compile_with_fallback
from tests.networks import OnnxBuilder, residual_network

COMPILER = "gcc" if which("gcc") else None
"""It is quicker than the default one where there is no cache."""
DATA = "weights.data"
"""The second file of a model with external weights."""


@cache
def seed_models() -> dict[str, bytes]:
    """Return the models by name, serialized."""
    makers = (residual_network, transformer, detection, upsampling, sequence_1d, recurrent, branches, plain, function)
    models = {make.__name__: make() for make in makers}
    return {name: model.SerializeToString() for name, model in models.items()}


def write_external(model: onnx.ModelProto, path: Path) -> None:
    """Write a model with its larger weights in a second file."""
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    onnx.save(kept, str(path), save_as_external_data=True, location=DATA, size_threshold=16)


def transformer() -> onnx.ModelProto:
    """Attention over 6 tokens of 8 features, shapes computed, layer norm, gelu: (2, 6, 8) → (2, 6, 8)."""
    b = OnnxBuilder()
    batch = b.node("Gather", b.node("Shape", "x"), b.constant(np.int64(0)), axis=0)
    shape = b.node("Concat", b.node("Unsqueeze", batch, _ints(b, 0)), _ints(b, 6, 2, 4), axis=0)
    q, k, v = (b.node("MatMul", "x", _floats(b, 8, 8)) for _ in "qkv")
    q, k, v = (b.node("Transpose", b.node("Reshape", each, shape), perm=[0, 2, 1, 3]) for each in (q, k, v))
    scores = b.node("Div", b.node("MatMul", q, b.node("Transpose", k, perm=[0, 1, 3, 2])), b.constant(np.float32(2)))
    y = b.node("Transpose", b.node("MatMul", b.node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    y = b.node("Add", b.node("Reshape", y, _ints(b, 2, 6, 8)), "x")
    y = b.node("LayerNormalization", y, _floats(b, 8), _floats(b, 8), axis=-1, epsilon=1e-5)
    y = b.node("Mul", y, b.node("Add", b.node("Erf", y), b.constant(np.float32(1))))
    y = b.node("Where", b.node("Greater", y, b.constant(np.float32(0))), y, b.node("Pow", y, b.constant(np.float32(2))))
    return b.model([2, 6, 8], y, 3)


def detection() -> onnx.ModelProto:
    """Boxes: sigmoid, top-k, gathers, scatter, casts: (1, 4, 6, 6) → (1, 1, 5) and more."""
    b = OnnxBuilder()
    y = b.node("Sigmoid", b.conv("x", (4, 4, 1, 1)))
    rows = b.node("Reshape", y, _ints(b, 1, 4, -1))
    best = b.node("ReduceMax", rows, _ints(b, 1), keepdims=0)
    values, places = "values", "places"
    b.nodes.append(helper.make_node("TopK", [best, _ints(b, 5)], [values, places], name="top", axis=1, largest=1))
    picked = b.node("GatherElements", best, places, axis=1)
    zeros = b.node("ConstantOfShape", _ints(b, 1, 8), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5]))
    spread = b.node("ScatterND", zeros, b.constant(np.int64([[[0, 1], [0, 3]]])), b.constant(np.float32([[1, 2]])))
    whole = b.node("Concat", picked, spread, b.node("Cast", places, to=TensorProto.FLOAT), axis=1)
    y = b.node("Clip", b.node("Slice", whole, _ints(b, 1), _ints(b, 100), _ints(b, 1), _ints(b, 2)), "", _one(b))
    b.nodes.append(helper.make_node("Split", [y, _ints(b, 2, 7)], ["left", "right"], name="cut", axis=1))
    b.node("ArgMax", "right", axis=1)
    return b.model([1, 4, 6, 6], "left", 2)


def upsampling() -> onnx.ModelProto:
    """Resize, transposed convolution, pads, shuffles, normalizations, pools: (1, 4, 5, 6) → (1, C, H, W)."""
    b = OnnxBuilder()
    y = b.node("Resize", "x", "", b.constant(np.float32([1, 1, 2, 2])), mode="linear")
    y = b.node("InstanceNormalization", y, _floats(b, 4), _floats(b, 4))
    y = b.node("ConvTranspose", y, _floats(b, 4, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
    y = b.node("Pad", y, _ints(b, 0, 0, 1, 1, 0, 0, 1, 1), b.constant(np.float32(0)), mode="reflect")
    y = b.node("SpaceToDepth", b.node("HardSwish", y), blocksize=2)
    y = b.node("DepthToSpace", b.node("LeakyRelu", y, alpha=0.1), blocksize=4, mode="CRD")
    y = b.node("Resize", y, "", "", _ints(b, 1, 1, 7, 9), mode="nearest", nearest_mode="floor")
    y = b.node("PRelu", b.node("Tile", y, _ints(b, 1, 2, 1, 1)), _floats(b, 2, 1, 1))
    y = b.node("AveragePool", y, kernel_shape=[2, 2], ceil_mode=1, strides=[2, 1])
    return b.model([1, 4, 5, 6], b.node("LpPool", y, kernel_shape=[2, 2], p=2), 4)


def sequence_1d() -> onnx.ModelProto:
    """One axis: convolution, pool, cumulative sum, reductions: (2, 3, 20) → (2, 1)."""
    b = OnnxBuilder()
    y = b.node("Conv", "x", _floats(b, 6, 3, 5), _floats(b, 6), pads=[2, 2], dilations=[1], group=1)
    y = b.node("MaxPool", b.node("Softplus", y), kernel_shape=[3], strides=[2])
    y = b.node("CumSum", y, b.constant(np.int64(2)))
    y = b.node("Expand", b.node("Mul", y, _floats(b, 1, 6, 1)), _ints(b, 2, 6, 1))
    y = b.node("ReduceL2", y, _ints(b, 1), keepdims=0)
    return b.model([2, 3, 20], b.node("LogSoftmax", b.node("Squeeze", y, name="s"), axis=1), 2)


def recurrent() -> onnx.ModelProto:
    """LSTM and GRU: (7, 2, 3) → (7, 1, 2, 5)."""
    b = OnnxBuilder()
    y = b.node("LSTM", "x", _floats(b, 1, 16, 3), _floats(b, 1, 16, 4), _floats(b, 1, 32), hidden_size=4)
    y = b.node("Squeeze", y, _ints(b, 1))
    y = b.node("GRU", y, _floats(b, 1, 15, 4), _floats(b, 1, 15, 5), hidden_size=5, linear_before_reset=1)
    return b.model([7, 2, 3], y, 4)


def branches() -> onnx.ModelProto:
    """An If and an Einsum, which are not compiled, between convolutions: (1, 3, 8, 8) → (1, 4, 6, 6)."""
    b = OnnxBuilder()
    x = b.conv("x", (4, 3, 3, 3), pads=[1, 1, 1, 1], name="first")
    outputs = [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 4, 8, 8])]
    inner = [helper.make_graph([helper.make_node(op, [x], ["inner"])], op, [], outputs) for op in ("Relu", "Abs")]
    large = b.node("Greater", b.node("ReduceMax", x, keepdims=0), b.constant(np.float32(0)))
    y = b.node("If", large, then_branch=inner[0], else_branch=inner[1], name="odd")
    y = b.node("Einsum", y, equation="nchw->ncwh")
    return b.model([1, 3, 8, 8], b.conv(y, (4, 4, 3, 3), name="second", scheme="punched:4x2"), 4)


def plain() -> onnx.ModelProto:
    """A single linear layer: (1, 4) → (1, 3)."""
    b = OnnxBuilder()
    return b.model([1, 4], b.node("Gemm", "x", _floats(b, 4, 3), _floats(b, 3), alpha=0.5), 2)


def function() -> onnx.ModelProto:
    """A model with a local function, a sparse weight, attributes of many kinds, an int64 input: (2, 3) → (2, 3)."""
    b = OnnxBuilder()
    y = b.node("Add", "x", b.node("Cast", b.node("Constant", value_ints=[1, 2, 3]), to=TensorProto.FLOAT))
    y = b.node("Twice", y, domain="local", name="called")
    model = b.model([2, 3], b.node("Add", y, "sparse"), 2)
    opsets = [helper.make_opsetid("", 18)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    values = numpy_helper.from_array(np.float32([1, 2]), "sparse")
    places = numpy_helper.from_array(np.int64([0, 4]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 3]))
    return model


def _floats(b: OnnxBuilder, *shape: int) -> str:
    return b.constant(b.rng.standard_normal(shape, np.float32))


def _ints(b: OnnxBuilder, *values: int) -> str:
    return b.constant(np.array(values, np.int64))


def _one(b: OnnxBuilder) -> str:
    return b.constant(np.float32(1))


@cache
def seed_programs() -> dict[str, bytes]:
    """Return ``.pmap`` files by name: a program, and one of segments."""
    files = {}
    with TemporaryDirectory() as folder:
        for name in ("plain", "branches"):
            model, path = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}.pmap"
            model.write_bytes(seed_models()[name])
            compile_with_fallback(model, cc=COMPILER, tune=None).save(path)
            files[name] = path.read_bytes()
    return files
