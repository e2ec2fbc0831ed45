"""Predictions of a table beside measurements."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from prunemap.benchmarking import PLANS, Effort, NetworkCheck, Predicted, check_network, check_table, table_check
from prunemap.benchmarking.compare import Samples
from prunemap.benchmarking.table_check import ANCHOR_ENGINE, SLOTS, SUBJECT, shares_run
from prunemap.compiler import read_specs
from prunemap.compiler.onnx.prune import write_pruned
from prunemap.core.latency_table import LatencyPoint, LatencyTable, LayerTime, NetworkTimes, SlotTime
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import write_json
from prunemap.errors import UserError
from prunemap.latency import LocalTimer, PlanLatency, make_probes, probe_settings
from prunemap.latency.check import held_out_probes
from prunemap.report import check_tables
from tests.networks import residual_network, save

FILTER = SchemeSpec("filter")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save(residual_network(scheme="dense"), tmp_path / "net.onnx")


@pytest.fixture
def table(model: Path) -> LatencyTable:
    """1 µs per thousand multiply-accumulates, kept ones; 7 µs of glue; at an anchor of 100 µs."""
    specs, timer = read_specs(model), LocalTimer()
    points = [
        LatencyPoint(
            setting=probe.setting,
            scheme=probe.scheme,
            density=probe.density,
            median_us=probe.setting.macs * probe.density / 1e3,
            p10_us=1,
            p90_us=1,
            runs=9,
            anchor_us=100,
        )
        for probe in make_probes(probe_settings(spec.setting for spec in specs))
    ]
    network = NetworkTimes(
        name="net",
        layers=tuple(LayerTime(name=spec.name, setting=spec.setting, median_us=spec.macs / 1e3) for spec in specs),
        glue=(SlotTime(name="pool", median_us=7),),
        anchor_us=100,
        runs=3,
    )
    return LatencyTable(machine=timer.machine(), threads=1, points=tuple(points), networks=(network,))


def test_a_block_size_that_a_layer_was_not_measured_with_gives_way_to_one_that_was(
    model: Path, table: LatencyTable
) -> None:
    specs, wanted, other = read_specs(model), SchemeSpec.parse("punched:8x4"), SchemeSpec.parse("punched:2x1")
    pruned = [entry for entry in PLANS["punched"].make(Predicted(model, table)).layers if entry.scheme != DENSE]
    assert pruned and {entry.scheme for entry in pruned} == {wanted}
    first = next(spec.setting for spec in specs if spec.name == pruned[0].name)
    less = table.model_copy(
        update={"points": tuple(p for p in table.points if (p.setting, p.scheme) != (first, wanted))}
    )
    found = {entry.name: entry.scheme for entry in PLANS["punched"].make(Predicted(model, less)).layers}
    assert found[pruned[0].name] == other


def test_a_network_is_compared_with_the_anchor_round_by_round(
    model: Path, table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The medians of the two are of different rounds here."""
    slowness, of_network = np.array([1.0, 1.0, 1.0, 1.6, 1.6]), np.array([5.0, 3.0, 3.0, 3.0, 3.0])

    def rounds(engines: dict[str, table_check._Timed], *_: object) -> dict[str, Samples]:
        for _ in slowness:
            engines[SLOTS].time_runs({}, 1)
        seconds = {SUBJECT: of_network * slowness * 1e-4, ANCHOR_ENGINE: slowness * 1e-4}
        return {name: Samples(each, len(each)) for name, each in seconds.items()}

    monkeypatch.setattr(table_check, "interleave", rounds)
    found = check_network(Predicted(model, table), LocalTimer(), "dense", tune=False)
    assert found.measured_us / found.anchor_us == pytest.approx(3)


def test_what_the_compiler_drops_is_known_from_the_zeros(model: Path, tmp_path: Path) -> None:
    assert set(shares_run(model).values()) == {1.0}
    specs = read_specs(model)
    conv = next(spec for spec in specs[1:] if spec.kind == "conv")
    plan = Plan(layers=(PlanLayer.of(conv, FILTER, 0.5),))
    write_pruned(model, plan, tmp_path / "pruned.onnx")
    shares = shares_run(tmp_path / "pruned.onnx")
    assert shares[conv.name] <= 1 and min(shares.values()) < 1, "the layer behind reads channels that are gone"


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_prunes_what_it_may(model: Path, table: LatencyTable, plan: str) -> None:
    specs = read_specs(model)
    made = PLANS[plan].make(Predicted(model, table))
    resolved = [entry for entry in made.resolve(specs) if entry is not None]
    assert len(resolved) == len(specs)
    assert resolved[0].scheme == DENSE
    assert any(entry.scheme != DENSE for entry in resolved) == (plan != "dense")


def test_a_budget_is_half_of_the_dense_latency_and_the_plan_is_predicted_to_meet_it(
    model: Path, table: LatencyTable
) -> None:
    network, budget = Predicted(model, table), PLANS["budget"]
    assert budget.asked_us is not None
    asked_us = budget.asked_us(network)
    dense_us = sum(spec.macs for spec in network.specs) / 1e3 + 7
    assert asked_us == pytest.approx(dense_us / 2)
    predicted_us = 1e3 * PlanLatency(table, network.specs, budget.make(network))()
    assert 0.9 * asked_us < predicted_us <= asked_us * (1 + 1e-6)
    assert all(each.asked_us is None for name, each in PLANS.items() if name != "budget")


def test_a_network_that_the_table_lacks_is_checked_by_estimates_where_that_is_allowed(
    model: Path, table: LatencyTable, tmp_path: Path
) -> None:
    """The table has layers with other channels, which take as long for their multiply-accumulates."""
    others = {
        spec.setting: [
            spec.setting.model_copy(update={"in_channels": wide * spec.setting.in_channels}) for wide in (2, 3, 4)
        ]
        for spec in read_specs(model)
        if spec.setting is not None
    }
    points = tuple(
        point.model_copy(update={"setting": other, "median_us": other.macs * point.density / 1e3})
        for point in table.points
        for other in others[point.setting]
    )
    grid = table.model_copy(update={"points": points, "networks": ()})
    by_estimates = Predicted(model, grid, estimate=True)
    for plan in PLANS.values():
        chosen = plan.make(by_estimates)
        kept_us = 1e3 * Predicted(model, table).plan_latency(chosen)() - 7
        assert 1e3 * by_estimates.plan_latency(chosen)() == pytest.approx(kept_us), plan.name
    with pytest.raises(UserError, match="it lacks layers of this model"):
        PLANS["rules"].make(Predicted(model, grid))


def test_networks_are_measured_beside_the_anchor(model: Path, table: LatencyTable, tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    write_json(path, table)
    result = check_table([model], path, LocalTimer(), held_out=2, effort=Effort(rounds=2, seconds=0.01), tune=False)
    assert [each.plan for each in result.networks] == list(PLANS)
    assert len(result.densities) == 2
    assert all(each.measured_us > 0 and each.anchor_us > 0 for each in result.networks)
    assert all(each.slots_us > 0 for each in result.networks)
    networks, summary = check_tables(result)
    assert networks.row_count == len(PLANS) and summary.row_count >= 2


def test_a_plan_that_the_table_cannot_predict_is_left_out(
    model: Path, table: LatencyTable, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunemap.benchmarking.table_check.compile_model", lambda *_, **__: None)
    monkeypatch.setattr("prunemap.benchmarking.table_check._time_beside_anchor", lambda *_: (1e-3, 1e-3, 1e-4, 3))
    points = tuple(point for point in table.points if point.scheme.name in ("dense", "filter"))
    fewer = table.model_copy(update={"points": points})
    with caplog.at_level(logging.WARNING):
        result = check_table([model], fewer, LocalTimer(), held_out=0)
    assert [each.plan for each in result.networks] == ["dense", "budget"], "half of the latency is filters, too"
    assert "is not checked as punched" in caplog.text and "was not measured as punched:8x4" in caplog.text
    with pytest.raises(UserError, match="it lacks layers of this model"):
        check_table([model], table.model_copy(update={"points": ()}), LocalTimer(), held_out=0)


def test_an_error_is_of_times_in_anchors() -> None:
    check = NetworkCheck(
        network="net",
        plan="dense",
        predicted_us=1100,
        measured_us=2000,
        slots_us=1990,
        table_anchor_us=100,
        anchor_us=200,
        rounds=3,
    )
    assert check.error == pytest.approx(0.1) and check.over_budget is None
    assert check.model_copy(update={"asked_us": 800}).over_budget == pytest.approx(0.25)
    assert check.model_copy(update={"table_anchor_us": None}).error == pytest.approx(-0.45)


def test_held_out_points_lie_between_measured_ones(table: LatencyTable) -> None:
    known = {(point.setting, point.scheme, point.density) for point in table.points}
    probes = held_out_probes(table, 1000)
    assert len(probes) > 10
    for probe in probes:
        assert (probe.setting, probe.scheme, probe.density) not in known
        assert probe.scheme != DENSE
        densities = [d for setting, scheme, d in known if (setting, scheme) == (probe.setting, probe.scheme)]
        assert min(densities) < probe.density < max(densities)
    assert held_out_probes(table, 5) == held_out_probes(table, 5) != held_out_probes(table, 5, seed=1)


def test_a_table_of_another_machine_is_not_checked_here(table: LatencyTable) -> None:
    other = table.model_copy(update={"machine": table.machine.model_copy(update={"cpu": "other"})})
    with pytest.raises(UserError, match=r"latency table: it is of other.*check it where it was measured"):
        check_table([], other, LocalTimer())
