"""What is said of every layer: what it got, what else it could have had, and why it did not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.wiring import Wiring
from prunemap.latency import Predictor
from prunemap.mapping import Budget, Decision, MapRequest, MapResult, Yardstick
from prunemap.mapping.importance import Importance
from tests.unit.mapping.conftest import COARSE, ONLY_FILTER, RULES, SPARSE_NEVER_PAYS


def decision_of(result: MapResult, name: str) -> Decision:
    return next(each for each in result.decisions if each.layer == name)


def test_a_reason_names_the_finer_scheme_that_is_too_slow_and_the_next_best_that_is_fast(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, COARSE), Budget(density=0.1)))
    decision = decision_of(result, "wide")
    rated = {str(each.scheme): each for each in decision.rated}
    chosen, fine = rated["punched:8x4"], rated["punched:4x1"]
    next_best = max((each for each in decision.rated if each.verdict == "keeps less"), key=lambda each: each.energy)
    assert decision.yardstick == Yardstick(name="whole filters", latency_us=rated["filter"].latency_us)
    assert fine.energy > chosen.energy > next_best.energy and fine.verdict == "too slow"
    assert chosen == decision.chosen
    less = 100 * (1 - next_best.energy / chosen.energy)
    assert decision.reason == (
        f"{chosen.latency_us:.3g} µs, {decision.dense_us / chosen.latency_us:.1f}x faster than dense, "
        f"{100 * chosen.energy:.0f} % of the energy; "
        f"punched:4x1 {fine.latency_us:.3g} µs is outside 1+β of whole filters {rated['filter'].latency_us:.3g} µs; "
        f"{next_best.scheme} keeps {less:.{0 if less >= 9.95 else 1}f} % less energy"
    )


def test_where_energy_is_asked_for_the_others_are_rated_where_they_keep_as_much(network, make_table) -> None:
    result = RULES.map(MapRequest(network, make_table(network, COARSE), Budget(keep_energy=0.8)))
    decision = decision_of(result, "wide")
    assert decision.yardstick is None and decision.chosen is not None
    slower = sorted((e for e in decision.rated if e.verdict == "slower"), key=lambda each: each.latency_us)
    for each in slower:
        assert each.latency_us >= decision.chosen.latency_us
        assert decision.chosen.energy <= each.energy < decision.chosen.energy + 0.05
    first, second = (f"{each.scheme} {each.latency_us:.3g} µs" for each in slower[:2])
    assert decision.reason.endswith(f"; to keep as much takes {first} and {second}")
    table = make_table(network, {**COARSE, "unstructured": 50.0})
    decision = decision_of(RULES.map(MapRequest(network, table, Budget(keep_energy=0.8))), "wide")
    assert {str(each.scheme): each.verdict for each in decision.rated}["unstructured"] == "no gain"


@pytest.mark.parametrize("factors", [{}, COARSE, ONLY_FILTER, SPARSE_NEVER_PAYS])
@pytest.mark.parametrize("density", [0.1, 0.45, 1.0])
def test_decisions_are_the_plan_with_what_each_layer_could_have_instead(network, make_table, factors, density) -> None:
    if factors is SPARSE_NEVER_PAYS:
        density = 1.0
    table = make_table(network, factors)
    result = RULES.map(MapRequest(network, table, Budget(density=density)))
    of = Predictor(table)
    for layer, entry, decision in zip(network, result.plan.layers, result.decisions, strict=True):
        assert (decision.layer, decision.scheme, decision.density) == (entry.name, entry.scheme, entry.density)
        assert decision.reason == entry.reason != ""
        for each in decision.rated:
            assert each.latency_us == of.latency_us(layer.spec.setting, each.scheme, each.density)
        if decision.chosen is None:
            assert entry.scheme == DENSE and "chosen" not in {each.verdict for each in decision.rated}
            continue
        assert (decision.chosen.scheme, decision.chosen.density) == (entry.scheme, entry.density)
        fast = [each for each in decision.rated if each.verdict == "keeps less"]
        assert all(each.energy <= decision.chosen.energy for each in fast), "the rule holds at the density in the plan"


def test_weighed_a_reason_names_what_would_be_sooner_and_why_it_may_not(network, make_table) -> None:
    table = make_table(network, {**COARSE, "unstructured": 1.4})
    request = MapRequest(network, table, Budget(keep_energy=0.6), beta=0.1)
    decision = decision_of(RULES.map(request), "wide")
    rated = {str(each.scheme): each for each in decision.rated}
    assert decision.chosen is not None and rated["unstructured"].latency_us < decision.chosen.latency_us
    assert rated["unstructured"].verdict == "too slow"
    us = f"{rated['unstructured'].latency_us:.3g} µs"
    assert f"unstructured is outside 1+β, else would keep as much in {us}; to keep as much takes " in decision.reason

    sensitive = Importance({"wide": 1.0}, {("wide", SchemeSpec("unstructured")): 9.0})
    decision = decision_of(RULES.map(replace(request, beta=None, importance=sensitive)), "wide")
    rated = {str(each.scheme): each for each in decision.rated}
    assert rated["unstructured"].verdict == "sooner"
    assert f"unstructured keeps as much in {rated['unstructured'].latency_us:.3g} µs" in decision.reason


def test_weighed_layers_share_filters_only_where_that_is_the_fastest(network, make_table) -> None:
    coupled = (frozenset({"wide", "point", "deep"}),)
    filters = {**SPARSE_NEVER_PAYS, "filter": 1.0}
    request = MapRequest(network, make_table(network, filters), Budget(keep_energy=0.5), wiring=Wiring(coupled))
    decision = decision_of(RULES.map(request), "wide")
    assert str(decision.scheme) == "filter" and decision.reason.endswith("shared by the 3 layers of a residual sum")
    fast = replace(request, table=make_table(network, {**filters, "unstructured": 1.0}))
    assert {str(decision_of(RULES.map(fast), name).scheme) for name in coupled[0]} == {"unstructured"}


def test_a_dense_layer_says_what_pruning_it_would_have_given(network, make_table) -> None:
    table = make_table(network, {})
    reason = decision_of(RULES.map(MapRequest(network, table, Budget(density=1.0))), "wide").reason
    assert "the budget is met without it: " in reason and ", dense " in reason and "and keep " in reason
    reason = decision_of(RULES.map(MapRequest(network, table, Budget(density=1.0))), "stem").reason
    assert reason.startswith("first convolution: few MACs and sensitive; dense ") and reason.endswith(" µs")
    nothing = table.model_copy(update={"points": tuple(p for p in table.points if p.scheme == DENSE)})
    reason = decision_of(RULES.map(MapRequest(network, nothing, Budget(density=1.0))), "wide").reason
    assert reason == "no scheme was measured for it"


def test_layers_that_share_filters_say_what_one_of_them_would_rather_have(network, make_table) -> None:
    factors = {**ONLY_FILTER, "pattern": 1.1}
    coupled = (frozenset({"wide", "point", "deep"}),)
    table = make_table(network, factors)
    slow = network[1].spec.setting
    points = tuple(
        p.model_copy(update={"median_us": 1e3}) if p.setting != slow and p.scheme.name == "pattern" else p
        for p in table.points
    )
    table = table.model_copy(update={"points": points})
    result = RULES.map(MapRequest(network, table, Budget(density=0.3), wiring=Wiring(coupled)))
    decision = decision_of(result, "wide")
    assert str(decision.scheme) == "filter"
    assert {str(each.scheme): each.verdict for each in decision.rated}["pattern"] == "not shared"
    assert "pattern" in decision.reason and "alone would keep" in decision.reason
    assert decision.reason.endswith("shared by the 3 layers of a residual sum")
