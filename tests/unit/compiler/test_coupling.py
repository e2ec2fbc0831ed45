"""Layers that are added together are found, through activations and depthwise layers, and no others."""

from __future__ import annotations

from pathlib import Path

from prunemap.compiler import coupled_layers
from tests.networks import OnnxBuilder, residual_network, save


def test_a_residual_block(tmp_path: Path) -> None:
    assert coupled_layers(save(residual_network(), tmp_path / "m.onnx")) == [frozenset({"stem", "block.b"})]


def test_a_chain_of_blocks_is_one_set(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv("x", (4, 3, 1, 1), name="stem")
    for i in range(3):
        y = b.conv(b.conv(x, (8, 4, 1, 1), name=f"{i}.a"), (4, 8, 1, 1), name=f"{i}.b")
        x = b.node("Relu", b.node("Add", x, y))
    path = save(b.model([1, 3, 4, 4], x, 4), tmp_path / "m.onnx")
    assert coupled_layers(path) == [frozenset({"stem", "0.b", "1.b", "2.b"})]


def test_two_stages_are_two_sets(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv("x", (4, 3, 1, 1), name="stem")
    x = b.node("Add", x, b.conv(x, (4, 4, 1, 1), name="a"))
    x = b.conv(x, (6, 4, 1, 1), name="between")
    x = b.node("Add", x, b.conv(x, (6, 6, 1, 1), name="b"))
    path = save(b.model([1, 3, 4, 4], x, 4), tmp_path / "m.onnx")
    assert coupled_layers(path) == [frozenset({"stem", "a"}), frozenset({"between", "b"})]
