from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from prunemap.compiler.fake_sparsity import with_fake_sparsity
from prunemap.compiler.layers import list_layers
from prunemap.compiler.onnx.file import read_onnx
from prunemap.compiler.onnx.stored_weight import StoredWeight
from prunemap.core.scheme_spec import SchemeSpec


@pytest.mark.parametrize(
    ("stored", "shape"),
    [
        (StoredWeight("w"), (6, 4, 3, 3)),
        (StoredWeight("w", "transposed"), (6, 4)),
        (StoredWeight("w", "transposed"), (2, 6, 4)),
        (StoredWeight("w", "inputs first", groups=2), (6, 4, 3, 2)),
        (StoredWeight("w", part=1), (2, 6, 4)),
    ],
)
def test_what_is_read_is_written_to_its_place(stored: StoredWeight, shape: tuple[int, ...]) -> None:
    whole = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    weight = stored.read(whole)
    np.testing.assert_array_equal(stored.write(whole, weight), whole)
    doubled = stored.write(whole, 2 * weight)
    np.testing.assert_array_equal(stored.read(doubled), 2 * weight)
    if stored.part is not None:
        np.testing.assert_array_equal(doubled[0], whole[0])


def test_recurrent_and_transposed_layers_are_pruned_in_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.standard_normal((2, 32, 6)),
        "r": rng.standard_normal((2, 32, 8)),
        "t": rng.standard_normal((4, 3, 2)),
    }
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h"], name="lstm", hidden_size=8, direction="bidirectional"),
        helper.make_node("ConvTranspose", ["m", "t"], ["y"], name="up"),
    ]
    inputs = [value("x", TensorProto.FLOAT, [5, 1, 6]), value("m", TensorProto.FLOAT, [1, 4, 7])]
    outputs = [value("h", TensorProto.FLOAT, [5, 2, 1, 8]), value("y", TensorProto.FLOAT, [1, 3, 8])]
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "dense.onnx")
    faked = with_fake_sparsity(tmp_path / "dense.onnx", SchemeSpec("unstructured"), 0.25, tmp_path / "sparse.onnx")
    names = ["lstm", "lstm/recurrent", "lstm/reverse", "lstm/reverse/recurrent", "up"]
    assert [(layer.name, layer.density) for layer in faked] == [(name, 0.25) for name in names]
    for layer in list_layers(read_onnx(tmp_path / "sparse.onnx")):
        assert np.count_nonzero(layer.weight) == 0.25 * layer.weight.size, layer.spec.name
