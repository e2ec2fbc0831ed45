"""Which layers are added together, and which read whose filters, through activations, pools and depthwise layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.benchmarking.table_check import shares_run
from prunemap.compiler import read_specs, read_wiring
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.wiring import ChannelSource
from tests.networks import OnnxBuilder, residual_network, save


def test_a_residual_block(tmp_path: Path) -> None:
    assert read_wiring(save(residual_network(), tmp_path / "m.onnx")).coupled == (frozenset({"stem", "block.b"}),)


def test_a_chain_of_blocks_is_one_set(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv("x", (4, 3, 1, 1), name="stem")
    for i in range(3):
        y = b.conv(b.conv(x, (8, 4, 1, 1), name=f"{i}.a"), (4, 8, 1, 1), name=f"{i}.b")
        x = b.node("Relu", b.node("Add", x, y))
    path = save(b.model([1, 3, 4, 4], x, 4), tmp_path / "m.onnx")
    assert read_wiring(path).coupled == (frozenset({"stem", "0.b", "1.b", "2.b"}),)


def test_two_stages_are_two_sets(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv("x", (4, 3, 1, 1), name="stem")
    x = b.node("Add", x, b.conv(x, (4, 4, 1, 1), name="a"))
    x = b.conv(x, (6, 4, 1, 1), name="between")
    x = b.node("Add", x, b.conv(x, (6, 6, 1, 1), name="b"))
    path = save(b.model([1, 3, 4, 4], x, 4), tmp_path / "m.onnx")
    assert read_wiring(path).coupled == (frozenset({"stem", "a"}), frozenset({"between", "b"}))


def of(*layers: str, part: float = 1.0) -> tuple[ChannelSource, ...]:
    return (ChannelSource(frozenset(layers), part),)


def test_who_reads_whose_filters(tmp_path: Path) -> None:
    """A depthwise layer passes on what it reads, a flattened map its channels."""
    assert read_wiring(save(residual_network(), tmp_path / "m.onnx")).sources == {
        "block.a": of("stem"),
        "block.b": of("block.a"),
        "depthwise": of("stem", "block.b"),
        "down": of("stem", "block.b"),
        "fc": of("down"),
    }


def test_a_concat_is_read_in_parts(tmp_path: Path) -> None:
    b = OnnxBuilder()
    parts = ("x", b.conv("x", (4, 2, 1, 1), name="a"), b.conv("x", (10, 2, 1, 1), name="b"))
    y = b.conv(b.node("Concat", *parts, axis=1), (5, 16, 1, 1), name="reader")
    sources = read_wiring(save(b.model([1, 2, 4, 4], y, 4), tmp_path / "m.onnx")).sources
    assert sources == {"reader": (*of("a", part=0.25), *of("b", part=0.625))}


def test_what_mixes_channels_is_no_filter_of_a_layer_before_it(tmp_path: Path) -> None:
    """A filter that is zero leaves no zero behind a softmax over the channels."""
    b = OnnxBuilder()
    y = b.conv(b.node("Softmax", b.conv("x", (4, 2, 1, 1), name="a"), axis=1), (5, 4, 1, 1), name="reader")
    assert read_wiring(save(b.model([1, 2, 4, 4], y, 4), tmp_path / "m.onnx")).sources == {}


@pytest.mark.parametrize("kept", [{"down": 0.5}, {"stem": 0.5, "block.b": 0.5}, {"block.a": 0.25, "down": 0.75}])
def test_so_much_of_the_layers_is_run_where_filters_are_pruned(tmp_path: Path, kept: dict[str, float]) -> None:
    model, pruned = save(residual_network(scheme="dense"), tmp_path / "m.onnx"), tmp_path / "pruned.onnx"
    layers = [spec for spec in read_specs(model) if spec.name in kept]
    entries = [PlanLayer.of(layer, SchemeSpec("filter"), kept[layer.name]) for layer in layers]
    write_pruned(model, Plan(layers=tuple(entries)), pruned)
    run = {name: share for name, share in shares_run(pruned).items() if share < 1}
    assert read_wiring(model).inputs_left(kept) == pytest.approx(run)


def test_a_channel_of_a_sum_is_left_while_one_of_its_layers_has_it(tmp_path: Path) -> None:
    wiring = read_wiring(save(residual_network(), tmp_path / "m.onnx"))
    assert wiring.inputs_left({"stem": 0.25, "block.b": 0.5}) == {"block.a": 0.25, "depthwise": 0.5, "down": 0.5}
    assert wiring.inputs_left({"stem": 0.25}, ["down", "fc"]) == {}
    assert wiring.readers["stem"] == ("block.a", "depthwise", "down")
