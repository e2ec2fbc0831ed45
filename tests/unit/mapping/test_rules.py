from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prunemap.compiler import ModelLayer
from prunemap.core.latency_table import LatencyTable, LayerTime, NetworkTimes, SlotTime
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.wiring import Wiring
from prunemap.errors import UserError
from prunemap.latency import Predictor
from prunemap.mapping import Budget, MapRequest, MapResult
from prunemap.mapping.fixed import why_fixed
from prunemap.mapping.importance import Importance
from prunemap.schemes import make_mask
from tests.unit.mapping.conftest import COARSE, ONLY_FILTER, PRUNABLE, RULES, SPARSE_NEVER_PAYS


def schemes_of(result: MapResult) -> dict[str, str]:
    return {layer.name: str(layer.scheme) for layer in result.plan.layers}


def choices_of(result: MapResult) -> list[tuple[str, float]]:
    return [(str(layer.scheme), layer.density) for layer in result.plan.layers]


def test_first_last_and_depthwise_stay_dense(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, {}), Budget(density=0.2)))
    assert [layer.name for layer in result.plan.layers] == [layer.spec.name for layer in network]
    dense = {layer.name: layer for layer in result.plan.layers if layer.scheme == DENSE}
    assert set(dense) == {"stem", "depthwise", "classifier"}
    assert "first convolution" in dense["stem"].reason
    assert "last layer" in dense["classifier"].reason


def test_a_device_where_unstructured_is_fast_gets_unstructured(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, {}), Budget(density=0.2)))
    assert {schemes_of(result)[name] for name in PRUNABLE} == {"unstructured"}


def test_a_device_where_only_filter_is_fast_gets_filter(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, ONLY_FILTER), Budget(density=0.1)))
    assert {schemes_of(result)[name] for name in PRUNABLE} == {"filter"}


def test_a_device_that_needs_coarse_blocks_gets_the_finest_that_is_fast(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, COARSE), Budget(density=0.1)))
    assert {schemes_of(result)[name] for name in PRUNABLE} == {"punched:8x4"}


def test_beta_lets_slower_and_finer_schemes_in(network, make_table) -> None:
    table = make_table(network, {"unstructured": 1.4, "pattern": 5.0})
    strict = RULES.map(MapRequest(network, table, Budget(density=0.2), beta=0.1))
    loose = RULES.map(MapRequest(network, table, Budget(density=0.2), beta=0.6))
    assert "unstructured" not in schemes_of(strict).values()
    assert schemes_of(loose)["wide"] == "unstructured"
    assert loose.energy_kept > strict.energy_kept
    assert loose.latency_us > strict.latency_us


def test_where_nothing_beats_dense_everything_stays_dense(network, make_table) -> None:
    table = make_table(network, SPARSE_NEVER_PAYS)
    result = RULES.map(MapRequest(network, table, Budget(density=1.0)))
    assert set(schemes_of(result).values()) == {"dense"}
    with pytest.raises(UserError, match=r"density: got 0\.2, the least possible with this table is 1"):
        RULES.map(MapRequest(network, table, Budget(density=0.2)))


def test_one_layer_where_sparse_loses_stays_dense_with_the_reason(network, make_table) -> None:
    table = make_table(network, {})
    point = network[3].spec.setting
    points = tuple(
        p.model_copy(update={"median_us": 1e4}) if p.setting == point and p.scheme != DENSE else p for p in table.points
    )
    result = RULES.map(MapRequest(network, table.model_copy(update={"points": points}), Budget(density=0.4)))
    entry = next(layer for layer in result.plan.layers if layer.name == "point")
    assert entry.scheme == DENSE
    assert "nothing measured beats dense" in entry.reason


@pytest.mark.parametrize(("gain", "pruned"), [(1.02, False), (1.04, True)])
@pytest.mark.parametrize("budget", [Budget(density=0.4), Budget(keep_energy=0.9)], ids=["ruled", "weighed"])
def test_what_is_faster_than_dense_by_less_than_the_noise_does_not_count(
    network, make_table, budget: Budget, gain: float, pruned: bool
) -> None:
    table, point = make_table(network, {}), network[3].spec.setting
    dense_us = Predictor(table).dense_us(point)
    points = tuple(
        p.model_copy(update={"median_us": dense_us / gain}) if p.setting == point and p.scheme != DENSE else p
        for p in table.points
    )
    found = RULES.map(MapRequest(network, table.model_copy(update={"points": points}), budget))
    assert (schemes_of(found)["point"] != "dense") == pruned


@pytest.mark.parametrize("density", [0.06, 0.1, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("factors", [{}, COARSE, ONLY_FILTER])
def test_density_budget_is_met_and_used(network, make_table, factors, density) -> None:
    result = RULES.map(MapRequest(network, make_table(network, factors), Budget(density=density)))
    assert density - 0.04 < result.density <= density + 1e-6
    macs = {layer.spec.name: layer.spec.macs for layer in network if layer.spec.name in PRUNABLE}
    masks = {
        layer.name: make_mask(weight_of(network, layer.name), layer.scheme, layer.density)
        for layer in result.plan.layers
        if layer.name in PRUNABLE
    }
    kept = sum(macs[name] * masks[name].mean() for name in PRUNABLE) / sum(macs.values())
    assert kept == pytest.approx(result.density, abs=1e-3)


def weight_of(network, name: str) -> np.ndarray:
    return next(layer.weight for layer in network if layer.spec.name == name)


def test_latency_budget_is_met_and_used(network, make_table) -> None:
    table = make_table(network, COARSE)
    dense_ms = RULES.map(MapRequest(network, table, Budget(density=1.0))).dense_latency_us / 1e3
    for share in (0.3, 0.5, 0.9):
        result = RULES.map(MapRequest(network, table, Budget(latency_ms=share * dense_ms)))
        assert 0.96 * share * dense_ms < result.latency_us / 1e3 <= share * dense_ms * (1 + 1e-6)
        assert result.latency_us == pytest.approx(predicted_us(table, network, result))


@pytest.mark.parametrize("energy", [0.3, 0.7, 0.9])
def test_the_energy_asked_for_is_kept_and_no_slower_plan_would_keep_less(network, make_table, energy: float) -> None:
    table = make_table(network, COARSE)
    result = RULES.map(MapRequest(network, table, Budget(keep_energy=energy)))
    assert energy <= result.energy_kept < energy + 0.03
    faster = RULES.map(MapRequest(network, table, Budget(latency_ms=0.97 * result.latency_us / 1e3)))
    assert faster.energy_kept < energy


def test_a_beta_limits_what_is_weighed(network, make_table) -> None:
    """Unstructured is slower at equal density, and yet the fastest way to keep so much energy."""
    request = MapRequest(network, make_table(network, {"unstructured": 1.4, "pattern": 5.0}), Budget(keep_energy=0.7))
    weighed, limited = RULES.map(request), RULES.map(replace(request, beta=0.1))
    assert {schemes_of(weighed)[name] for name in PRUNABLE} == {"unstructured"}
    assert "unstructured" not in schemes_of(limited).values()
    assert weighed.latency_us < limited.latency_us


def test_all_of_the_energy_is_the_dense_network(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, {}), Budget(keep_energy=1.0)))
    assert set(schemes_of(result).values()) == {"dense"}


def test_what_lies_between_the_layers_is_in_both_latencies(network, make_table) -> None:
    """The table has the network: glue, and a layer that takes more in it than alone."""
    table, predictor = make_table(network, {}), Predictor(make_table(network, {}))
    times = [1.0 if layer.spec.setting is None else predictor.dense_us(layer.spec.setting) for layer in network]
    timed = NetworkTimes(
        name="net",
        layers=tuple(
            LayerTime(name=layer.spec.name, setting=layer.spec.setting, median_us=us * (1.2 if i == 0 else 1))
            for i, (layer, us) in enumerate(zip(network, times, strict=True))
        ),
        glue=(SlotTime(name="pool", median_us=40),),
        runs=3,
    )
    known = table.model_copy(update={"networks": (timed,)})
    for budget, more in ((Budget(density=0.3), 40), (Budget(keep_energy=0.8), 40)):
        alone, inside = (RULES.map(MapRequest(network, each, budget)) for each in (table, known))
        more_us = more + 0.2 * times[0]
        assert inside.dense_latency_us == pytest.approx(alone.dense_latency_us + more_us)
        assert inside.latency_us == pytest.approx(alone.latency_us + more_us)
        assert schemes_of(inside) == schemes_of(alone)
    fast = alone.latency_us / 1e3
    with pytest.raises(UserError, match="the least possible"):
        RULES.map(MapRequest(network, known, Budget(latency_ms=40e-3)))
    assert RULES.map(MapRequest(network, known, Budget(latency_ms=fast + 41e-3 + 0.2e-3 * times[0]))).latency_us > 40


def test_a_layer_that_the_table_lacks_can_be_estimated(network, make_table) -> None:
    deep = next(layer for layer in network if layer.spec.name == "deep")
    others = [
        replace(deep, spec=deep.spec.model_copy(update={"setting": deep.spec.setting.model_copy(update=change)}))
        for change in ({"size": (7, 7)}, {"size": (28, 28)}, {"in_channels": 32}, {"out_channels": 128})
    ]
    rest = [layer for layer in network if layer is not deep]
    table, whole = (make_table([*layers, *others], {}) for layers in (rest, network))
    request = MapRequest(network, table, Budget(density=0.3))
    with pytest.raises(UserError, match="it lacks layers of this model"):
        RULES.map(request)
    estimated, measured = RULES.map(replace(request, estimate=True)), RULES.map(replace(request, table=whole))
    assert schemes_of(estimated)["deep"] == schemes_of(measured)["deep"] != "dense"
    assert estimated.latency_us == pytest.approx(measured.latency_us, rel=0.1)


def predicted_us(table: LatencyTable, network, result: MapResult) -> float:
    predictor = Predictor(table)
    return sum(
        predictor.latency_us(layer.spec.setting, entry.scheme, entry.density)
        for layer, entry in zip(network, result.plan.layers, strict=True)
    )


def test_a_budget_above_dense_prunes_nothing(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, {}), Budget(latency_ms=1e3)))
    assert set(schemes_of(result).values()) == {"dense"}
    assert result.latency_us == result.dense_latency_us
    assert "the budget is met without" in result.plan.layers[1].reason


def test_tighter_budgets_are_faster_and_keep_less(network, make_table) -> None:
    table = make_table(network, COARSE)
    results = [RULES.map(MapRequest(network, table, Budget(density=d))) for d in (0.8, 0.5, 0.3, 0.15, 0.07)]
    latencies, energies = [r.latency_us for r in results], [r.energy_kept for r in results]
    assert latencies == sorted(latencies, reverse=True)
    assert energies == sorted(energies, reverse=True)


def test_an_impossible_latency_says_what_is_possible(network, make_table) -> None:
    table = make_table(network, {})
    with pytest.raises(UserError, match=r"latency_ms: got 0\.001, the least possible with this table is ") as caught:
        RULES.map(MapRequest(network, table, Budget(latency_ms=0.001)))
    least = float(str(caught.value).split("table is ")[1].split(";")[0])
    possible = RULES.map(MapRequest(network, table, Budget(latency_ms=least)))
    assert possible.latency_us / 1e3 == pytest.approx(least, rel=2e-3)


def test_important_layers_keep_more(network, make_table) -> None:
    request = MapRequest(network, make_table(network, {}), Budget(density=0.2))
    plain = RULES.map(request)
    weighted = RULES.map(replace(request, importance=Importance({"deep": 20.0})))
    density = {name: [r.plan.layers[4].density for r in (plain, weighted)] for name in ["deep"]}
    assert density["deep"][1] > density["deep"][0]


def test_coupled_layers_share_one_filter_density(network, make_table) -> None:
    coupled = (frozenset({"wide", "deep"}),)
    request = MapRequest(network, make_table(network, ONLY_FILTER), Budget(density=0.3), wiring=Wiring(coupled))
    layers = {layer.name: layer for layer in RULES.map(request).plan.layers}
    assert layers["wide"].scheme == layers["deep"].scheme == SchemeSpec("filter")
    assert layers["wide"].density == layers["deep"].density
    assert "shared by the 2 layers" in layers["wide"].reason


def test_coupled_layers_that_do_better_without_filter_are_decided_one_by_one(network, make_table) -> None:
    coupled = (frozenset({"wide", "deep"}),)
    request = MapRequest(network, make_table(network, COARSE), Budget(density=0.1), wiring=Wiring(coupled))
    assert choices_of(RULES.map(request)) == choices_of(RULES.map(replace(request, wiring=Wiring())))


def test_layers_coupled_to_one_that_stays_dense_get_no_filter(network, make_table) -> None:
    coupled = (frozenset({"stem", "wide"}),)
    request = MapRequest(network, make_table(network, ONLY_FILTER), Budget(density=0.3), wiring=Wiring(coupled))
    chosen = schemes_of(RULES.map(request))
    assert chosen["wide"] != "filter"
    assert chosen["deep"] == "filter"


def test_missing_layers_are_listed_with_the_command(network, make_table) -> None:
    table = make_table(network[:3], {})
    with pytest.raises(UserError, match="prunemap profile") as caught:
        RULES.map(MapRequest(network, table, Budget(density=0.2)))
    assert "conv 1x1/1 32→64 at 28x28" in str(caught.value)
    assert "linear 64→10" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of density, latency_ms and keep_energy"),
        ({"density": 0.1, "latency_ms": 1.0}, "exactly one of density, latency_ms and keep_energy"),
        ({"density": 0.0}, "density: got 0"),
        ({"density": 1.1}, "density: got 1.1"),
        ({"latency_ms": -1.0}, "latency_ms: got -1"),
        ({"keep_energy": 1.5}, "keep_energy: got 1.5"),
        ({"density": float("nan")}, "density: got nan"),
    ],
)
def test_budgets_out_of_range_are_refused(arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        Budget(**arguments)


def test_what_is_fixed_and_why(network: list[ModelLayer]) -> None:
    lstm = LayerSpec(name="lstm", kind="lstm", weight_shape=(64, 16), macs=1024, params=1024, setting=None)
    setting = LayerSetting(kind="lstm", in_channels=16, out_channels=64, size=(4, 1))
    unknown, known = (replace(network[0], spec=lstm.model_copy(update={"setting": each})) for each in (None, setting))
    assert "sizes of its tensors are not known" in why_fixed([*network, unknown])["lstm"]
    assert "lstm" not in why_fixed([*network, known]), "a recurrent layer is no classifier"


def test_layers_to_be_ignored_stay_dense(network: list[ModelLayer], make_table) -> None:
    request = MapRequest(network, make_table(network, {}), Budget(density=0.5))
    first, second = [each.layer for each in RULES.map(request).decisions if each.rated][:2]
    ignoring = replace(request, ignore=[first, f"re:nothing|{second}"], budget=Budget(density=0.9))
    found = {decision.layer: decision for decision in RULES.map(ignoring).decisions}
    assert list(found) == [layer.spec.name for layer in network]
    for name in (first, second):
        assert found[name].scheme == DENSE and "to be ignored: " in found[name].reason
    with pytest.raises(UserError, match=r"(?s)ignore: 'no\*' matches no layer; there are .*'re:\[' is no regular"):
        RULES.map(replace(request, ignore=["no*", "re:["]))


def test_results_go_to_json_and_back(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, {}), Budget(density=0.2)))
    assert MapResult.model_validate_json(result.to_json()) == result
    assert Plan.model_validate_json(result.plan.to_json()) == result.plan


def test_a_budget_that_only_shared_filters_meet_is_met(network, make_table) -> None:
    """At the density of an impossible budget blocks win, so filters are not shared; the least is with shared ones."""
    factors = {"unstructured": 5.0, "pattern": 5.0, "punched": 1.1, "block": 1.1, "filter": 1.0}
    request = MapRequest(
        network, make_table(network, factors), Budget(density=0.5), wiring=Wiring((frozenset(PRUNABLE),))
    )
    with pytest.raises(UserError, match="the least possible with this table") as caught:
        RULES.map(replace(request, budget=Budget(latency_ms=0.001)))
    least = float(str(caught.value).split("table is ")[1].split(";")[0])
    result = RULES.map(replace(request, budget=Budget(latency_ms=least)))
    assert {schemes_of(result)[name] for name in PRUNABLE} == {"filter"}
    for share in (1.0, 1.1, 1.3, 1.6):
        assert RULES.map(replace(request, budget=Budget(latency_ms=share * least))).latency_us <= share * least * 1e3
