"""What a choice costs and loses in the network as it was chosen last, and what that changes in the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.wiring import ChannelSource, Wiring
from prunemap.errors import UserError
from prunemap.latency import PlanLatency
from prunemap.mapping import Budget, MapRequest, MapResult
from prunemap.mapping.choices import FILTER, layer_choices
from prunemap.mapping.decision import percent_of
from prunemap.mapping.network_energy import NetworkEnergy, shares_of
from prunemap.mapping.prices import Prices
from prunemap.mapping.units import Unit, as_chosen, units_apart
from tests.unit.mapping.conftest import CHAIN, ONLY_FILTER, RULES, conv


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=strategies.integers(0, 2**32 - 1), coupled=strategies.booleans())
def test_the_price_of_a_change_is_what_it_costs_the_network(network, make_table, seed: int, coupled: bool) -> None:
    """Whatever was chosen: of one unit that changes, the others as they are."""
    rng = np.random.default_rng(seed)
    request = MapRequest(network, make_table(network, {}), Budget(keep_energy=0.5), wiring=CHAIN)
    predictor = request.predictor()
    layers, latency, energy = layer_choices(request, predictor), request.network(predictor), NetworkEnergy.of(request)
    units = [Unit((layers["wide"], layers["deep"]), "shared")] if coupled else []
    units += units_apart({n: layer for n, layer in layers.items() if not coupled or n == "point"}, ())
    now = [unit.choices[rng.integers(len(unit.choices))] for unit in units]
    prices = Prices(latency, energy, now)
    before_us, before = latency.total_us(as_chosen(now)), energy.total_loss(shares_of(now))
    for place, unit in enumerate(units):
        for choice in unit.choices:
            changed = [choice if i == place else each for i, each in enumerate(now)]
            costs_us, loses = (of(choice) - of(now[place]) for of in (prices.cost, prices.loss))
            assert latency.total_us(as_chosen(changed)) - before_us == pytest.approx(costs_us, abs=1e-6)
            assert energy.total_loss(shares_of(changed)) - before == pytest.approx(loses, abs=1e-9)


def test_filters_are_worth_what_they_save_behind(network, make_table) -> None:
    table = make_table(network, ONLY_FILTER)
    request = MapRequest(network, table, Budget(keep_energy=0.3), wiring=CHAIN)
    others = table.model_copy(update={"points": tuple(p for p in table.points if p.scheme != FILTER)})
    with_filters, without = RULES.map(request), RULES.map(replace(request, table=others))
    assert FILTER in {each.scheme for each in with_filters.plan.layers}
    assert with_filters.energy_kept >= 0.3 and with_filters.latency_us < 0.9 * without.latency_us
    specs = [layer.spec for layer in network]
    assert with_filters.latency_us == pytest.approx(1e3 * PlanLatency(table, specs, with_filters.plan, CHAIN)())


def test_what_lost_filters_save_is_said(network, make_table) -> None:
    request = MapRequest(network, make_table(network, ONLY_FILTER), Budget(keep_energy=0.3), wiring=CHAIN)
    plan = {each.name: each for each in RULES.map(request).plan.layers}
    point, deep = plan["point"], plan["deep"]
    assert point.scheme == FILTER and deep.scheme != FILTER
    latency = request.network(request.predictor())
    whole_us, left_us = (latency.layer_us("deep", deep.scheme, deep.density, share) for share in (1.0, point.density))
    assert deep.reason.endswith(f"reads {percent_of(point.density)} of its channels: {left_us:.3g} µs")
    assert point.reason.endswith(f"its lost filters save {whole_us - left_us:.3g} µs behind")


@pytest.mark.parametrize("share", [0.15, 0.3, 0.65])
def test_a_latency_budget_counts_what_lies_behind(network, make_table, share: float) -> None:
    """By the layers alone a plan keeps less in the same time."""
    table = make_table(network, ONLY_FILTER)
    dense_us = RULES.map(MapRequest(network, table, Budget(density=1.0))).dense_latency_us
    request = MapRequest(network, table, Budget(latency_ms=share * dense_us / 1e3), wiring=CHAIN)
    result, alone = RULES.map(request), RULES.map(replace(request, wiring=Wiring()))
    assert result.latency_us <= share * dense_us * (1 + 1e-6)
    assert result.energy_kept > energy_of(request, alone) + 0.01
    assert result.energy_kept == pytest.approx(energy_of(request, result))


def energy_of(request: MapRequest, result: MapResult) -> float:
    layers = layer_choices(request, request.predictor())
    chosen = {each.name: each for each in result.plan.layers if each.name in layers}
    options = [
        layer.dense if chosen[name].scheme == DENSE else layer.option(chosen[name].scheme, chosen[name].density)
        for name, layer in layers.items()
    ]
    return NetworkEnergy.of(request).kept(shares_of([tuple(options)]))


def test_a_budget_that_only_the_layers_behind_can_meet(network, make_table) -> None:
    """Filters of a layer shorten the next one, so the least possible is lower than that of layers by themselves."""
    layers = [conv(name, 16 if i else 3, 16, 3, 14, i) for i, name in enumerate(("stem", "wide", "point", "last"))]
    behind = Wiring(sources={"last": (ChannelSource(frozenset({"point"}), 1.0),)})
    request = MapRequest(layers, make_table(layers, ONLY_FILTER), Budget(latency_ms=1e-4), wiring=behind)
    with pytest.raises(UserError, match="the least possible") as caught:
        RULES.map(request)
    least_ms = float(str(caught.value).split("table is ")[1].split(";")[0])
    possible = replace(request, budget=Budget(latency_ms=least_ms))
    assert RULES.map(possible).latency_us / 1e3 <= least_ms
    with pytest.raises(UserError, match="the least possible"):
        RULES.map(replace(possible, wiring=Wiring()))


def test_a_network_that_loses_filters_everywhere_keeps_the_power(network, make_table) -> None:
    """A layer loses its own, and what read those of the one before it; the depthwise layer between only passes on."""
    request = MapRequest(network, make_table(network, {}), Budget(density=0.5), wiring=CHAIN)
    layers, energy = layer_choices(request, request.predictor()), NetworkEnergy.of(request)
    shares = shares_of([(layer.option(FILTER, 0.5),) for layer in layers.values()])
    wide, point, deep = (shares[name][1] for name in ("wide", "point", "deep"))
    kept = {name: energy.energy(name, shares) for name in ("wide", "depthwise", "point", "deep", "classifier")}
    assert kept == pytest.approx(
        {"wide": wide, "depthwise": 1, "point": point * wide**1.5, "deep": deep * point**1.5, "classifier": deep**1.5}
    )
    assert energy.kept(shares) == pytest.approx(1 - sum(1 - each for each in kept.values()) / 3)
    assert energy.kept({}) == 1 and energy.total_loss({}) == 0


def test_filters_that_nobody_is_known_to_read_lose_for_those_behind(network, make_table) -> None:
    request = MapRequest(network, make_table(network, {}), Budget(density=0.5))
    option = layer_choices(request, request.predictor())["wide"].option(FILTER, 0.5)
    assert NetworkEnergy.of(request).energy("wide", shares_of([(option,)])) == option.energy == option.share**2.5


def test_what_reads_a_sum_loses_the_mean_of_what_its_layers_lose(network, make_table) -> None:
    request = MapRequest(network, make_table(network, {}), Budget(density=0.5))
    layers = layer_choices(request, request.predictor())
    both = Wiring(sources={"deep": (ChannelSource(frozenset({"wide", "point"}), 0.5),)})
    energy = NetworkEnergy.of(replace(request, wiring=both))
    wide, point = (layers[name].option(FILTER, 0.5) for name in ("wide", "point"))
    for other in (point, layers["point"].dense):
        mean = (wide.share + other.share) / 2
        assert energy.energy("deep", shares_of([(wide, other)])) == pytest.approx(1 - 0.5 * (1 - mean**1.5))
    blocks = layers["wide"].option(SchemeSpec("unstructured"), 0.5)
    assert energy.energy("deep", shares_of([(blocks, layers["point"].dense)])) == 1, "all channels are there"
