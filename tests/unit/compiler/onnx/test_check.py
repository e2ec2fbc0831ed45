"""ONNX files that pass ONNX's own checker, or break its inference, and still cannot be used: said, and quickly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunemap.compiler import compile_model, inspect_model
from prunemap.compiler.graph.ir import MAX_ELEMENTS
from prunemap.compiler.onnx.file import OLDEST_OPSET, read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.compiler.onnx.partition import partition
from prunemap.errors import UserError
from tests.networks import OnnxBuilder, residual_network, save

Change = Callable[[onnx.ModelProto], object]


def network() -> onnx.ModelProto:
    b = OnnxBuilder()
    y = b.node("Relu", b.conv("x", (4, 3, 3, 3), pads=[1, 1, 1, 1], name="conv"), name="relu")
    return b.model([1, 3, 8, 8], y, 4)


def weight(model: onnx.ModelProto) -> TensorProto:
    return model.graph.initializer[0]


def one_node(op: str, *inputs: str, outputs: int = 1, rank: int = 2, **attributes: object) -> Change:
    """Replace the network by one node that reads x and constants ``i64``, ``f32``."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.node[:], model.graph.initializer[:]
        names = [f"y{i}" for i in range(outputs)]
        model.graph.node.append(helper.make_node(op, inputs, names, name="bad", **attributes))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y0", TensorProto.FLOAT, [None] * rank))

    return change


def nested(depth: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "inner", [], [])
        for level in range(depth):
            graph = helper.make_graph(
                [helper.make_node("If", ["x"], [f"y{level}"], then_branch=graph)], "inner", [], []
            )
        model.graph.node[1].attribute.append(helper.make_attribute("then_branch", graph))

    return change


def functions(count: int, calls: int, last: str = "Relu") -> Change:
    """Functions, each of which calls the next one several times."""

    def change(model: onnx.ModelProto) -> None:
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        for i in range(count):
            kind, domain = (f"F{i + 1}", "own") if i + 1 < count else (last, "own" if last.startswith("F") else "")
            body = [helper.make_node(kind, ["a"], [f"b{c}"], domain=domain) for c in range(calls)]
            model.functions.append(helper.make_function("own", f"F{i}", ["a"], ["b0"], body, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node[1].op_type, model.graph.node[1].domain = "F0", "own"

    return change


def two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.add().CopyFrom(model.graph.output[0])


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.add().CopyFrom(model.graph.input[0])


def size_of_input(size: int) -> Change:
    return lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[2], "dim_value", size)


def claim(*shape: int, name: str = "conv_out") -> Change:
    return lambda model: model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def without_shape(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def sequence_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def long_weight(model: onnx.ModelProto) -> None:
    weight(model).raw_data += b"\0" * 4


def text_weight(model: onnx.ModelProto) -> None:
    texts = TensorProto(name="w1", data_type=TensorProto.STRING, dims=[4], string_data=[b"a"] * 4)
    model.graph.initializer[1].CopyFrom(texts)


def long_constant(model: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.ones(3, np.float32))
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], name="fixed", value=value))
    model.graph.node[0].attribute[0].t.raw_data += b"\0" * 4


def names_nowhere(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[1] = ""


REFUSED: dict[str, tuple[Change, str]] = {
    "weight cut off": (lambda m: setattr(weight(m), "raw_data", b"\0" * 7), "is not a valid ONNX model"),
    "weight of more values": (long_weight, "stored values are damaged:|'w0' of shape 4x3x3x3: cannot reshape"),
    "weight of negative size": (lambda m: weight(m).dims.__setitem__(0, -4), "is not a valid ONNX model"),
    "constant of more values": (long_constant, "'value of fixed' of shape 3: cannot reshape"),
    "constant without a value": (one_node("Constant"), "bad (Constant): has 0 values"),
    "weight of texts": (text_weight, "conv (Conv): the shape of its input 'w1' is not known"),
    "input left out": (names_nowhere, "is not a valid ONNX model"),
    "input left out among many": (one_node("Sum", "x", "", "x"), "bad (Sum): its input 1 is missing"),
    "node that makes nothing": (one_node("Relu", "x", outputs=0), "ONNX model|bad"),
    "two outputs of one name": (two_outputs, "names of inputs and outputs:|2 outputs are called 'relu_out'"),
    "two inputs of one name": (two_inputs, "x"),
    "input of endless size": (size_of_input(2**40), f"more than {MAX_ELEMENTS} elements:|'x' is 1x3x{2**40}x8"),
    "tensor of endless size": (claim(1, 4, 2**31 - 1, 8), f"'conv_out' is 1x4x{2**31 - 1}x8"),
    "weight said to be of another rank": (claim(4, name="w0"), "shapes do not fit each other ([ShapeInferenceError]"),
    "input without a shape": (without_shape, "is not a valid ONNX model"),
    "input that is no tensor": (sequence_input, "input 'x' has none in the model; only tensors of a known rank"),
    "input of negative size": (size_of_input(-1), "input 'x' is 1x3x?x8: give its size"),
    "graphs in graphs": (nested(24), "nested graphs and functions stand for more than"),
    "functions of functions": (functions(30, 2), "nested graphs and functions stand for more than"),
    "functions that call themselves": (functions(2, 1, last="F0"), "nested more than 64 deep, or call themselves"),
    "functions that are deep": (functions(70, 1), "nested more than 64 deep"),
    "equation that is none": (one_node("Einsum", "x", equation="*/ int x;"), "(Einsum) has the equation '*/ int x;'"),
    "more parts than said": (
        one_node("Split", "x", outputs=3, axis=2, num_outputs=2, rank=4),
        "node 'bad' (Split) has 3 outputs, and 2 for num_outputs",
    ),
    "axis that no tensor has": (one_node("LogSoftmax", "x", axis=2**31), "node 'bad' (LogSoftmax) has axis beyond 64"),
    "axes that no tensor has": (one_node("ReduceSum", "x", "", axes=[0, 2**40]), "model"),
    "versions that are none": (lambda m: setattr(m.opset_import[0], "version", 2**40), "is not a valid ONNX model"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_be_used(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    model = network()
    change(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        import_graph(read_onnx(tmp_path / "m.onnx"))
    for part in message.split("|"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("old", "message"),
    [
        (b"test", "its name b'te\\xff\\xfe' is not UTF-8"),
        (b"conv", "its output b'co\\xff\\xfe_out' is not UTF-8"),
        (b"relu_out", "its output b're\\xff\\xfe_out' is not UTF-8"),
    ],
)
def test_names_that_are_no_text(old: bytes, message: str, tmp_path: Path) -> None:
    data = network().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data.replace(old, old[:2] + b"\xff\xfe" + old[4:]))
    with pytest.raises(UserError) as error:
        read_onnx(tmp_path / "m.onnx")
    assert message in str(error.value)


def test_negative_sizes_mean_unknown(tmp_path: Path) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = -1
    graph = import_graph(read_onnx(save(model, tmp_path / "m.onnx")))
    assert graph.shapes["x"] == (1, 3, 8, 8)


def test_other_versions_of_the_operators(tmp_path: Path) -> None:
    model = network()
    model.opset_import[0].version = OLDEST_OPSET - 1
    with pytest.raises(UserError, match=r"m\.onnx is of ONNX opset 8, allowed are 9 to 28"):
        read_onnx(save(model, tmp_path / "m.onnx"))


def test_nesting_that_networks_have_is_fine(tmp_path: Path) -> None:
    model = network()
    functions(40, 1)(model)
    with pytest.raises(UserError, match="of the domain 'own'"):  # it is read; calling functions is not taken in
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


def test_unknown_types_of_inputs_are_named(tmp_path: Path) -> None:
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("more", 77, [1]))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="of the unknown type 77"):
        import_graph(read_onnx(path))
    with pytest.raises(UserError, match="of the unknown type 77"):
        partition(read_onnx(path))


def test_windows_that_do_not_fit_are_no_obstacle_to_inspection(tmp_path: Path) -> None:
    model = residual_network()
    next(each for each in model.graph.node[0].attribute if each.name == "pads").ints.append(1)
    inspection = inspect_model(save(model, tmp_path / "m.onnx"))
    assert inspection.layers[0].name == "stem"
    assert "for 2 axes" in inspection.unsupported[0].why


def test_a_result_that_is_too_large(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.node("MatMul", b.node("Reshape", "x", b.constant(np.array([-1, 1]))), "row")
    model = b.model([2**15 + 1], y)
    model.graph.input.append(helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 2**15]))
    with pytest.raises(UserError, match=f"more than {MAX_ELEMENTS} elements"):
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


@pytest.mark.parametrize("size", [0, 50])
def test_weights_in_a_second_file_that_was_cut(size: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(network(), str(path), save_as_external_data=True, location="m.data", size_threshold=16)
    (tmp_path / "m.data").write_bytes((tmp_path / "m.data").read_bytes()[:size])
    with pytest.raises(UserError, match="model: "):
        read_onnx(path)


def test_padding_of_endless_size(tmp_path: Path) -> None:
    b = OnnxBuilder()
    y = b.conv("x", (4, 3, 3, 3), pads=[2**19] * 4, dilations=[2**19, 2**19])
    with pytest.raises(UserError, match=r"'x' would need \d+ elements with the padding around"):
        compile_model(save(b.model([1, 3, 8, 8], y, 4), tmp_path / "m.onnx"), tune=None)
