"""The whole flow on layers of every kind: measured, mapped, pruned, compiled, verified, timed by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.compiler import tune
from prunemap.devices import limits
from tests.command_line import run
from tests.networks import OnnxBuilder, save, weight


def network() -> onnx.ModelProto:
    """Conv 1-D, transposed conv 1-D, LSTM, GRU with two directions, products on tokens: (1, 8, 20) → (1, 40, 10)."""
    b = OnnxBuilder()
    x = b.node("Relu", b.conv("x", (16, 8, 3), pads=[1, 1], name="first"))
    x = b.node("Relu", b.conv(x, (16, 16, 3), pads=[2, 2], dilations=[2], name="along"))
    up = weight(b.rng, 16, 16, 4)
    x = b.node("ConvTranspose", x, b.constant(up), name="up", strides=[2], pads=[1, 1])
    x = b.node("Transpose", x, perm=[2, 0, 1])
    w, r = (b.constant(weight(b.rng, 64, 16)[None]) for _ in range(2))
    x = b.node("Squeeze", b.node("LSTM", x, w, r, name="lstm", hidden_size=16), b.constant(np.array([1])))
    w, r = (b.constant(np.stack([weight(b.rng, 48, 16) for _ in range(2)])) for _ in range(2))
    how = {"hidden_size": 16, "direction": "bidirectional", "linear_before_reset": 1}
    x = b.node("Transpose", b.node("GRU", x, w, r, name="gru", **how), perm=[2, 0, 1, 3])
    x = b.node("Reshape", x, b.constant(np.array([1, 40, 32])))
    x = b.node("Relu", b.node("MatMul", x, b.constant(weight(b.rng, 32, 48)), name="tokens"))
    return b.model([1, 8, 20], b.node("MatMul", x, b.constant(weight(b.rng, 48, 10)), name="last"), rank=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    save(network(), folder / "m.onnx")
    run("profile", folder / "m.onnx", "-o", folder / "l.json", "--schemes", "punched:4x2", "--densities", 0.1)
    return folder


def test_every_kind_is_measured(folder: Path) -> None:
    points = json.loads((folder / "l.json").read_text())["points"]
    dense = [point["setting"] for point in points if point["scheme"] == "dense"]
    assert [(each["kind"], each["size"]) for each in dense] == [
        *[("conv", [20])] * 2,
        ("conv_transpose", [20]),
        ("linear", [1, 40]),
        ("lstm", [40, 1]),
        ("linear", [1, 40]),
        ("gru", [40, 1]),
        *[("linear", [1, 40])] * 2,
    ]
    assert len(points) == len(dense) * 2
    assert all(point["median_us"] > 0 for point in points)


def test_every_kind_is_mapped_pruned_and_timed_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SIZES_BYTES", (1 << 14, 1 << 18))
    monkeypatch.setattr(limits, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(tune, "choose_tiles", lambda found, *_: {node: tiles[0] for node, tiles in found.items()})
    table = json.loads((folder / "l.json").read_text())
    for point in table["points"]:  # so that pruning pays whatever the noise of tiny layers
        point["median_us"] = 100 if point["scheme"] == "dense" else 10
    table["networks"] = []
    pruned_points = [point for point in table["points"] if point["scheme"] != "dense"]
    table["points"] += [point | {"scheme": "filter", "median_us": 9} for point in pruned_points]
    (folder / "even.json").write_text(json.dumps(table))
    plan, pruned = folder / "plan.json", folder / "pruned.onnx"
    run("map", folder / "m.onnx", "--latency", folder / "even.json", "--density", 0.3, "-o", plan)
    layers = {each["name"]: each for each in json.loads(plan.read_text())["layers"]}
    kept = {name for name, each in layers.items() if each["scheme"] == "dense"}
    assert kept == {"first", "last"}
    assert all(each["scheme"] != "filter" for each in layers.values() if each["kind"] in ("lstm", "gru"))

    run("prune", folder / "m.onnx", "--plan", plan, "-o", pruned)
    run("compile", pruned, "--plan", plan, "-o", folder / "m.pmap", "--no-tune")
    run("verify", folder / "m.pmap", pruned)
    found = json.loads(run("bench", folder / "m.pmap", "--quick", "--vs", "", "--per-layer", "--json"))
    timed = {each["name"]: each for each in found["layers"]}
    for name, each in layers.items():
        if name == "last":  # it reads what filters of the layer before it were
            continue
        assert timed[name]["density"] == pytest.approx(each["density"], abs=0.1), name
    of_lstm = [each["name"] for each in found["layers"] if each["layer"] == "lstm"]
    assert {"lstm", "lstm/recurrent"} < {*of_lstm}
