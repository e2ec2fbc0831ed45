from __future__ import annotations

from pathlib import Path

import numpy as np

from prunemap.compiler import compile_model
from prunemap.compiler.cost import costs_of, read_costs
from prunemap.compiler.graph.ir import Add, Conv, Linear, MatMul, MaxPool, Node, Recurrent, Reshape, RowOp
from prunemap.compiler.graph.shapes import make_graph
from prunemap.compiler.passes import optimise
from tests.networks import residual_network, save


def test_every_slot_of_a_compiled_network_has_its_cost(tmp_path: Path) -> None:
    path = save(residual_network(), tmp_path / "m.onnx")
    program = compile_model(path, tune=None)
    costs = read_costs(path)
    assert set(program.manifest.slots) <= set(costs)
    for layer in program.manifest.layers:
        cost = costs[layer.node]
        assert cost.kept_weights == round(layer.density * cost.weights) and cost.macs > 0
    assert costs["input x"].size_bytes == 2 * 4 * 3 * 16 * 12


def test_costs_count_the_batch_the_output_size_and_the_residual() -> None:
    w = np.zeros((6, 4, 3, 3), np.float32)
    w[:, :2] = 1  # half is kept
    conv = Conv(w, np.zeros(6, np.float32), stride=(2, 2), pads=(1, 1, 1, 1))
    same = Conv(w[:, :, 1:2, 1:2][:, :4], np.zeros(6, np.float32))
    graph = make_graph(
        {"x": (2, 4, 8, 8)},
        ["z"],
        [
            Node("strided", conv, ("x",), "a"),
            Node("pool", MaxPool((2, 2), (2, 2)), ("x",), "b"),
            Node("mix", same, ("b",), "c"),
            Node("sum", Add(), ("a", "c"), "z"),
        ],
    )
    costs = costs_of(graph)
    assert (costs["strided"].weights, costs["strided"].kept_weights) == (216, 108)
    assert costs["strided"].macs == 108 * 2 * 16
    assert costs["strided"].size_bytes == 4 * (2 * 4 * 64 + 2 * 6 * 16 + 108)
    assert costs["pool"].macs == 0 and costs["pool"].size_bytes == 4 * (2 * 4 * 64 + 2 * 4 * 16)
    assert costs["pool"].operation == "MaxPool"
    fused = costs_of(optimise(graph))
    added = sum(fused[name].size_bytes - costs[name].size_bytes for name in ("strided", "mix"))
    assert added == 4 * 2 * 6 * 16  # the layer that the sum was moved into reads the residual


def test_linear_layers_cost_what_their_weights_are() -> None:
    w = np.eye(5, 7, dtype=np.float32)
    graph = make_graph({"x": (3, 7)}, ["y"], [Node("fc", Linear(w, np.zeros(5, np.float32)), ("x",), "y")])
    assert costs_of(graph)["fc"].macs == 5 * 3
    assert costs_of(graph)["fc"].size_bytes == 4 * (21 + 15 + 5)


def test_costs_of_general_ops() -> None:
    weight = np.zeros((20, 5), np.float32)
    weight[:8] = 1
    nodes = [
        Node("time", Recurrent("lstm", weight, np.zeros(20, np.float32)), ("x", "h", "c"), "states"),
        Node("product", MatMul(), ("a", "b"), "y"),
        Node("all", RowOp("sum", (0,)), ("v",), "sum"),
        Node("number", Reshape(()), ("sum",), "n"),
    ]
    inputs = {"x": (7, 3, 20), "h": (3, 5), "c": (3, 5), "a": (2, 4, 6), "b": (6, 9), "v": (11,)}
    costs = costs_of(make_graph(inputs, ["states", "y", "n"], nodes))
    assert costs["time"].kept_weights == 40 and costs["time"].macs == 7 * 3 * 40
    assert costs["time"].passes == 7, "its weights are read in every step"
    assert costs["time"].size_bytes == 4 * (7 * 3 * (20 + 10) + 2 * 15 + 7 * 40)
    assert costs["product"].passes == 1 and costs["product"].macs == 2 * 4 * 9 * 6
    assert costs["all"].macs == 0 and costs["number"].size_bytes == 4 * 2
