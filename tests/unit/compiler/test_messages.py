"""What the import says of values and shapes that it cannot use, where no other test asks for the message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunemap.compiler import fallback
from prunemap.compiler.graph.ir import MAX_ELEMENTS
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.importer import import_graph
from prunemap.errors import UserError
from tests.networks import OnnxBuilder, save

Make = Callable[[OnnxBuilder], str]


def hidden(b: OnnxBuilder, *sizes: int) -> str:
    """Sizes that are known only once constants are computed: ONNX's inference does not."""
    return b.node("Abs", b.constant(np.array(sizes)))


def hidden_number(b: OnnxBuilder, value: int) -> str:
    return b.node("Abs", b.constant(np.asarray(value)))


def nothing(b: OnnxBuilder) -> str:
    b.nodes.append(helper.make_node("Split", ["x"], ["", ""], name="bad", axis=1, num_outputs=2))
    return b.node("Relu", "x")


def large(b: OnnxBuilder) -> str:
    row, column = b.node("Expand", "x", hidden(b, 2**15, 4)), b.node("Expand", "x", hidden(b, 2**15, 4))
    return b.node("MatMul", row, b.node("Transpose", column), name="bad")


MESSAGES: dict[str, tuple[Make, str]] = {
    "no outputs": (nothing, "'bad' makes nothing"),
    "large constant": (
        lambda b: b.node("Add", "x", b.node("ConstantOfShape", hidden(b, 2**40, 4), name="bad")),
        f"bad (ConstantOfShape): its constant value would have more than {2**26} elements",
    ),
    "large range": (
        lambda b: b.node("Add", "x", b.node("Range", *(hidden_number(b, value) for value in (0, 2**40, 1)))),
        "its constant value would have more than",
    ),
    "large padding": (
        lambda b: b.node("Add", "x", b.node("Pad", b.constant(np.float32([1])), hidden(b, 0, 2**40))),
        "its constant value would have more than",
    ),
    "large padding of several axes": (
        lambda b: b.node("Add", "x", b.node("Pad", b.constant(np.float32([[1]])), hidden(b, 2**14, 2**14, 0, 0))),
        "its constant value would have more than",
    ),
    "large padding of one axis of several": (
        lambda b: b.node("Pad", b.constant(np.ones((1, 2**13), np.float32)), hidden(b, 0, 2**14), "", hidden(b, 0)),
        "its constant value would have more than",
    ),
    "large one-hot": (
        lambda b: b.node("OneHot", b.constant(np.array([1])), hidden(b, 2**40), b.constant(np.float32([0, 1]))),
        "its constant value would have more than",
    ),
    "constants that do not fit": (
        lambda b: b.node("Add", "x", b.node("Gather", b.constant(np.ones(3, np.float32)), hidden(b, 7), name="bad")),
        "bad (Gather): its constant inputs do not fit (IndexError: ",
    ),
    "large result": (large, f"shape: node 'bad' gives [32768, 32768], more than {MAX_ELEMENTS} elements"),
    "constant of doubles": (
        lambda b: b.node("Add", "x", b.constant(np.float64([1, 2, 3, 4])), name="bad"),
        "its input 1 is float64; float32, int32, int64 and bool are supported",
    ),
    "large integers": (
        lambda b: b.node("Add", b.node("Cast", "x", to=TensorProto.INT64), b.constant(np.array([2**40])), name="bad"),
        "its input 1 has integers that need more than 32 bits",
    ),
    "weight of doubles": (
        lambda b: b.node("MatMul", "x", b.constant(np.ones((4, 4))), name="bad"),
        "bad (MatMul): its second factor is float64, only float32 is supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str, tmp_path: Path) -> None:
    make, message = MESSAGES[name]
    b = OnnxBuilder()
    model = b.model([1, 4], make(b))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as error:
        import_graph(read_onnx(tmp_path / "m.onnx"))
    assert message in str(error.value)


def test_an_output_that_is_a_constant_of_another_type(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 4], b.node("Relu", "x"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3), "fixed"))
    model.graph.output.append(helper.make_tensor_value_info("fixed", TensorProto.DOUBLE, [3]))
    with pytest.raises(UserError, match=r"fixed \(output\): its input 0 is float64"):
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


def test_outputs_of_another_type_than_their_node_makes(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 4], b.node("Relu", "x"))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UserError, match="types of outputs:\n  - 'relu_0_out' is said to be INT64, its node makes f32"):
        import_graph(read_onnx(save(model, tmp_path / "m.onnx")))


def test_weights_in_a_file_that_is_not_there(tmp_path: Path) -> None:
    b = OnnxBuilder()
    model = b.model([1, 4], b.node("MatMul", "x", b.constant(np.ones((4, 4), np.float32))))
    onnx.save(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    with pytest.raises(UserError, match=r"there is no such file: .*m\.data"):
        read_onnx(tmp_path / "m.onnx")


def test_a_segment_that_no_file_can_hold() -> None:
    def too_large() -> bytes:
        raise ValueError("exceeds 2 GiB")

    with pytest.raises(UserError, match=r"a segment of ONNX Runtime is too large \(exceeds 2 GiB\)"):
        fallback._as_bytes(cast(onnx.ModelProto, SimpleNamespace(SerializeToString=too_large)))
