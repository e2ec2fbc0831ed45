"""What tells one network from another whose layers are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from prunemap.compiler import identify, read_layers, read_network, read_wiring
from tests.networks import residual_network, save


def network(
    path: Path, activation: str = "Relu", *, batch: int = 1, seed: int = 0, prefix: str = "", size: int = 8
) -> Path:
    """Save two convolutions with an activation between them."""
    rng, a, b = np.random.default_rng(seed), f"{prefix}a", f"{prefix}b"
    weights = [numpy_helper.from_array(rng.standard_normal((4, 4, 3, 3)).astype("f"), f"{n}.w") for n in (a, b)]
    nodes = [
        helper.make_node("Conv", ["x", f"{a}.w"], [a], a, pads=[1] * 4),
        helper.make_node(activation, [a], [f"{prefix}h"], f"{prefix}act"),
        helper.make_node("Conv", [f"{prefix}h", f"{b}.w"], [b], b, pads=[1] * 4),
    ]
    shape = [batch, 4, size, size]
    ends = [[helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape)] for n in ("x", b)]
    graph = helper.make_graph(nodes, "net", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_neither_weights_nor_names_tell_networks_apart(tmp_path: Path) -> None:
    plain = identify(network(tmp_path / "plain.onnx"))
    assert plain == identify(network(tmp_path / "other.onnx", seed=1, prefix="n.")) and plain.images == 1


@pytest.mark.parametrize("other", [{"activation": "Softplus"}, {"size": 9}, {"batch": 2}])
def test_operators_sizes_and_batch_do(tmp_path: Path, other: dict[str, object]) -> None:
    plain, changed = network(tmp_path / "plain.onnx"), network(tmp_path / "other.onnx", **other)  # type: ignore[arg-type]
    assert identify(plain).sha256 != identify(changed).sha256


def test_one_reading_gives_what_three_would(tmp_path: Path) -> None:
    model = save(residual_network(), tmp_path / "m.onnx")
    found, layers = read_network(model), read_layers(model)
    assert found.identity == identify(model) and found.wiring == read_wiring(model)
    assert [layer.spec for layer in found.layers] == [layer.spec for layer in layers]
    assert all(np.array_equal(one.weight, other.weight) for one, other in zip(found.layers, layers, strict=True))


def test_the_images_that_convolutions_take_at_once_are_counted(tmp_path: Path) -> None:
    assert identify(network(tmp_path / "four.onnx", batch=4)).images == 4
