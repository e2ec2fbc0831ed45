"""Networks in a latency table: layers inside them, and the glue."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from prunemap.compiler import read_specs
from prunemap.core.latency_table import LatencyPoint, LatencyTable, LayerTime, NetworkTimes, SlotTime
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.latency import NetworkSeconds, Predictor, measure_networks, network_times, profile_models
from prunemap.latency.predict import MOST_CONTEXT
from prunemap.latency.table_file import merge_networks
from tests.networks import residual_network, save
from tests.unit.latency.fake_timer import MACHINE, SETTINGS, FakeTimer

FIRST, SECOND = SETTINGS[:2]
FILTER = SchemeSpec("filter")


def spec(name: str, setting: LayerSetting | None) -> LayerSpec:
    return LayerSpec(name=name, kind="conv", weight_shape=(8, 8, 3, 3), macs=1, params=576, setting=setting)


def table_of(network: NetworkTimes, anchor_us: float | None = 100.0) -> LatencyTable:
    points = [
        LatencyPoint(
            setting=setting,
            scheme=scheme,
            density=density,
            median_us=40 * density,
            p10_us=1,
            p90_us=1,
            runs=9,
            anchor_us=anchor_us,
        )
        for setting in (FIRST, SECOND)
        for scheme, density in ((DENSE, 1.0), (FILTER, 0.5))
    ]
    return LatencyTable(machine=MACHINE, threads=1, points=tuple(points), networks=(network,))


def network_of(*times_us: float, anchor_us: float | None = 100.0) -> NetworkTimes:
    layers = zip((FIRST, SECOND, SECOND), times_us, strict=True)
    return NetworkTimes(
        name="net",
        layers=tuple(LayerTime(name=f"n{i}", setting=s, median_us=us) for i, (s, us) in enumerate(layers)),
        glue=(SlotTime(name="pool", median_us=3), SlotTime(name="input x", median_us=2)),
        anchor_us=anchor_us,
        runs=4,
    )


def test_slots_are_shared_out_among_layers_and_glue() -> None:
    slots = ("conv", "conv#2", "lstm", "lstm/recurrent", "pool", "input x", "output y")
    seconds = np.array([[1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64], [9, 9, 9, 9, 9, 99, 99]]) * 1e-6
    specs = [spec("conv", FIRST), spec("lstm", None), spec("lstm/recurrent", None)]
    found = network_times("net", specs, NetworkSeconds(slots, seconds, np.array([1e-4, 2e-4, 3e-4])))
    assert [layer.median_us for layer in found.layers] == pytest.approx([3, 4, 8])
    assert {slot.name: slot.median_us for slot in found.glue} == pytest.approx(
        {"pool": 16, "input x": 32, "output y": 64}
    )
    assert found.anchor_us == pytest.approx(200) and found.runs == 3


def test_a_step_is_not_of_a_layer_whose_name_only_begins_like_its_own() -> None:
    slots = ("1", "1/tokens", "10/tokens", "10=output", "12", "1x")
    seconds = np.array([[1, 2, 4, 8, 16, 32]]) * 1e-6
    found = network_times("net", [spec("1", FIRST), spec("12", FIRST)], NetworkSeconds(slots, seconds, np.ones(1)))
    assert [layer.median_us for layer in found.layers] == pytest.approx([3, 16])
    assert {slot.name: slot.median_us for slot in found.glue} == pytest.approx(
        {"10/tokens": 4, "10=output": 8, "1x": 32}
    )


def test_a_layer_takes_what_it_took_in_its_network_pruned_too() -> None:
    predictor = Predictor(table_of(network_of(40, 50, 58)), [FIRST, SECOND, SECOND])
    assert predictor.has_network and predictor.glue_us == 5
    assert predictor.dense_us(FIRST) == pytest.approx(40)
    assert predictor.dense_us(SECOND) == pytest.approx(54), "the mean of its two layers"
    assert predictor.latency_us(SECOND, FILTER, 0.5) == pytest.approx(20 * 54 / 40)


def test_a_pruned_layer_is_not_taken_to_differ_without_bound() -> None:
    predictor = Predictor(table_of(network_of(200, 4, 4)), [FIRST, SECOND, SECOND])
    assert predictor.dense_us(FIRST) == pytest.approx(200)
    assert predictor.latency_us(FIRST, FILTER, 0.5) == pytest.approx(20 * MOST_CONTEXT)
    assert predictor.latency_us(SECOND, FILTER, 0.5) == pytest.approx(20 / MOST_CONTEXT)


def test_a_network_that_was_timed_in_a_slower_minute_counts_at_the_speed_of_the_table() -> None:
    predictor = Predictor(table_of(network_of(80, 80, 80, anchor_us=200.0)), [FIRST, SECOND, SECOND])
    assert predictor.dense_us(FIRST) == pytest.approx(40) and predictor.glue_us == 2.5


@pytest.mark.parametrize("settings", [[], [FIRST, SECOND], [SECOND, FIRST, SECOND]])
def test_another_network_has_neither(settings: list[LayerSetting | None]) -> None:
    predictor = Predictor(table_of(network_of(80, 80, 80)), settings)
    assert not predictor.has_network and predictor.glue_us == 0
    assert predictor.dense_us(FIRST) == 40


def test_of_networks_with_the_same_layers_the_graph_tells_which_is_which() -> None:
    settings, table = [FIRST, SECOND, SECOND], table_of(network_of(40, 40, 40))
    one, other = (network_of(us, us, us).model_copy(update={"graph_sha256": sha}) for us, sha in ((50, "1"), (60, "2")))
    table = table.model_copy(update={"networks": (one, other)})
    assert Predictor(table, settings, graph_sha256="1").dense_us(FIRST) == pytest.approx(50)
    assert Predictor(table, settings, graph_sha256="2").dense_us(FIRST) == pytest.approx(60)
    assert Predictor(table, settings).dense_us(FIRST) == pytest.approx(60), "of unknown ones the latest"
    assert not Predictor(table, settings, graph_sha256="3").has_network
    before = table.model_copy(update={"networks": (network_of(70, 70, 70), one)})
    assert Predictor(before, settings, graph_sha256="2").dense_us(FIRST) == pytest.approx(70), "of a table of before"
    assert merge_networks((network_of(70, 70, 70), one), [other]) == (one, other)


def test_networks_with_other_activations_are_timed_each(tmp_path: Path) -> None:
    model, path = residual_network(scheme="dense"), tmp_path / "latency.json"
    files = [save(model, tmp_path / "relu.onnx")]
    for node in model.graph.node:
        node.op_type = "Softplus" if node.op_type == "Relu" else node.op_type
    files.append(save(model, tmp_path / "softplus.onnx"))
    timer = FakeTimer(network=NetworkSeconds(("pool",), np.full((3, 1), 7e-6), np.full(3, 1e-4)))
    assert [each.name for each in measure_networks(files, path, timer).networks] == ["relu", "softplus"]


def test_a_network_of_several_images_at_once_is_not_timed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = residual_network(scheme="dense")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    with caplog.at_level(logging.WARNING, logger="prunemap"):
        table = measure_networks([save(model, tmp_path / "four.onnx")], tmp_path / "latency.json", FakeTimer())
    assert table.networks == () and "it takes 4 images at once, and latencies are those of one" in caplog.text


def test_networks_are_timed_once_and_kept(tmp_path: Path) -> None:
    model, path = save(residual_network(scheme="dense"), tmp_path / "net.onnx"), tmp_path / "latency.json"
    timer = FakeTimer(network=NetworkSeconds(("pool",), np.full((3, 1), 7e-6), np.full(3, 1e-4)))
    table = measure_networks([model], path, timer)
    (network,) = table.networks
    assert network.name == "net" and network.glue == (SlotTime(name="pool", median_us=network.glue[0].median_us),)
    timer.network = None  # asking it again would fail
    assert measure_networks([model, model], path, timer) == table


def test_networks_can_be_timed_without_their_layers(tmp_path: Path) -> None:
    model = save(residual_network(scheme="dense"), tmp_path / "net.onnx")
    specs = read_specs(model)
    slots = (*(spec.name for spec in specs), "pool")
    timer = FakeTimer(network=NetworkSeconds(slots, np.full((3, len(slots)), 7e-6), np.full(3, 1e-4)))
    table = profile_models([model], tmp_path / "latency.json", timer=timer, networks_only=True)
    assert [each.name for each in table.networks] == ["net"] and table.points == () and timer.batches == []
    settings = [spec.setting for spec in specs]
    lacking = Predictor(table, settings, estimate=True)
    with pytest.raises(UserError) as said:
        lacking.require(each for each in settings if each is not None)
    assert all(str(each) in str(said.value) for each in settings)
    timer.network = None  # it has been timed: only its layers are missing
    table = profile_models([model], tmp_path / "latency.json", timer=timer)
    assert len(table.networks) == 1 and table.points


def test_a_layer_that_is_only_known_from_its_network_takes_dense_what_it_took_there() -> None:
    """Alone it would take 40 µs dense and 20 µs pruned, as the others do for their work; in the network it took 44."""
    table = table_of(network_of(44.0, 40.0, 40.0))
    points = [
        each.model_copy(update={"setting": other, "median_us": each.median_us * other.macs / FIRST.macs})
        for other in SETTINGS[1:5]
        for each in table.points[:2]
    ]
    grid = table.model_copy(update={"points": tuple(points)})
    assert Predictor(grid, estimate=True).dense_us(FIRST) == pytest.approx(40)
    predictor = Predictor(grid, (FIRST, SECOND, SECOND), estimate=True)
    assert predictor.dense_us(FIRST) == pytest.approx(44)
    assert predictor.latency_us(FIRST, FILTER, 0.5) == pytest.approx(22)
    assert predictor.glue_us == 5


def test_a_network_that_cannot_be_compiled_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save(residual_network(scheme="dense"), tmp_path / "net.onnx")

    def refuse(*_: object) -> None:
        raise UserError("model: Det is not supported")

    timer = FakeTimer()
    monkeypatch.setattr(timer, "time_network", refuse)
    with caplog.at_level(logging.WARNING):
        assert measure_networks([model], tmp_path / "latency.json", timer).networks == ()
    assert "net.onnx is not timed as a whole: model: Det is not supported" in caplog.text
