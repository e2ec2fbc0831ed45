"""The space: legal actions, latencies that add up, plans that mean what was chosen, the rule plan among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from prunemap.core.scheme_spec import DENSE
from prunemap.core.wiring import Wiring
from prunemap.errors import UserError
from prunemap.latency import PlanLatency, Predictor
from prunemap.mapping import Budget, BudgetError, MapRequest, Rules
from prunemap.mapping.choices import FILTER
from prunemap.mapping.search import SEARCHERS, SearchConfig, Space, make_space, plan_key
from prunemap.plan_search import space_of
from prunemap.schemes import why_illegal
from tests.made_up_table import made_up_table
from tests.unit.mapping.conftest import CHAIN, conv

MakeSpace = Callable[..., Space]
COUPLED = (frozenset({"point", "deep"}),)


def test_the_first_candidate_is_the_rule_plan(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig())
    assert space.first is not None
    plan = space.plan(space.first)
    assert plan_key(plan) == plan_key(space.rules.plan)
    assert space.latency_us(space.first) == pytest.approx(space.rules.latency_us)
    found = space.result(space.first)
    for name in ("latency_us", "dense_latency_us", "density", "weights_kept", "energy_kept"):
        assert getattr(found, name) == pytest.approx(getattr(space.rules, name)), name
    assert make_test_space(SearchConfig(seeded=False)).first is None


@pytest.mark.parametrize("coupled", [(), COUPLED])
def test_every_candidate_is_a_legal_plan_of_the_predicted_latency(
    make_test_space: MakeSpace, coupled: tuple[frozenset[str], ...]
) -> None:
    space = make_test_space(SearchConfig(), wiring=Wiring(coupled))
    searcher = SEARCHERS["random"].make(space.problem, SearchConfig(seed=1))
    predictor = Predictor(space.request.table)
    for _ in range(30):
        candidate = searcher.ask()
        plan = space.plan(candidate)
        latency_us = 0.0
        for entry, layer in zip(plan.layers, space.request.layers, strict=True):
            assert why_illegal(entry.scheme, entry.weight_shape, entry.density) is None
            assert layer.spec.setting is not None
            latency_us += predictor.latency_us(layer.spec.setting, entry.scheme, entry.density)
            if entry.scheme != DENSE:
                assert entry.density >= predictor.lowest_density(layer.spec.setting, entry.scheme)
                assert entry.reason.startswith("found by search: ") and "faster than dense" in entry.reason
        assert space.latency_us(candidate) == pytest.approx(latency_us)
        assert space.result(candidate).latency_us == pytest.approx(latency_us)


def test_the_stem_the_depthwise_layer_and_the_classifier_are_not_decided_on(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig())
    assert [each.name for each in space.decisions] == ["wide", "point", "deep"]
    assert all(each.choices[0] == each.unit.dense for each in space.decisions)


def test_coupled_layers_lose_filters_together_or_not_at_all(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig(seeded=False), wiring=Wiring(COUPLED))
    names = [each.name for each in space.decisions]
    assert names == ["wide", "filters of point, deep", "point", "deep"]
    assert space.problem.overruled_by == (None, None, 1, 1)
    alone = {space.decisions[i].action_name(k) for i in (2, 3) for k in range(space.problem.sizes[i])}
    assert not any(name.startswith("filter") for name in alone)
    together = space.problem.canonical((0, 1, 2, 2))
    assert together == (0, 1, 0, 0)
    chosen = {entry.name: str(entry.scheme) for entry in space.plan(together).layers}
    assert (chosen["point"], chosen["deep"]) == ("filter", "filter")
    apart = {entry.name: str(entry.scheme) for entry in space.plan((0, 0, 2, 2)).layers}
    assert "filter" not in (apart["point"], apart["deep"])


def test_a_set_with_a_layer_that_is_never_pruned_shares_nothing(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig(seeded=False), wiring=Wiring((frozenset({"stem", "wide"}),)))
    assert space.problem.overruled_by == (None, None, None)
    wide = space.decisions[0]
    assert not any(wide.action_name(k).startswith("filter") for k in range(len(wide.choices)))


def test_actions_that_others_clearly_beat_are_left_out(make_test_space: MakeSpace) -> None:
    slack = make_test_space(SearchConfig(seeded=False, slack=100.0)).decisions
    tight = make_test_space(SearchConfig(seeded=False, slack=0.0)).decisions
    for few, many in zip(tight, slack, strict=True):
        assert set(few.choices) < set(many.choices)
        options = [choice[0] for choice in few.choices[1:]]
        for option in options:
            assert not any(o.latency_us < option.latency_us and o.energy >= option.energy for o in options)
            assert option.latency_us * 1.03 <= few.choices[0][0].latency_us


def test_features_are_finite_and_costs_are_shares_of_the_budget(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig(), wiring=Wiring(COUPLED))
    problem = space.problem
    assert np.isfinite(problem.decisions).all() and np.isfinite(problem.actions).all()
    assert np.abs(problem.decisions).max() <= 2 and np.abs(problem.actions).max() <= 2
    assert problem.first is not None
    shares = sum(
        problem.costs[i, action]
        for i, action in enumerate(problem.first)
        if problem.canonical(problem.first)[i] == action
    )
    assert space.fixed_us / space.budget_us + shares == pytest.approx(
        space.rules.latency_us / space.budget_us, rel=1e-3
    )


def test_equal_choices_have_one_key_whatever_the_reasons(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig(seeded=False))
    plan = space.plan((1, 0, 0))
    other = plan.model_copy(update={"layers": tuple(e.model_copy(update={"reason": "x"}) for e in plan.layers)})
    assert plan_key(plan) == plan_key(other) != plan_key(space.plan((2, 0, 0)))


def test_layers_behind_lost_filters_count_in_latency_and_energy(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig(), wiring=CHAIN)
    specs = [layer.spec for layer in space.request.layers]
    rng = np.random.default_rng(0)
    for _ in range(20):
        candidate = tuple(int(rng.integers(size)) for size in space.problem.sizes)
        predicted = PlanLatency(space.request.table, specs, space.plan(candidate), CHAIN)
        assert space.latency_us(candidate) == pytest.approx(1e3 * predicted())
    lost = [max(i for i, c in enumerate(each.choices) if c[0].scheme == FILTER) for each in space.decisions]
    options = [each.choices[i][0] for each, i in zip(space.decisions, lost, strict=True)]
    result = space.result(tuple(lost))
    assert space.least_us <= result.latency_us < space.fixed_us + sum(option.latency_us for option in options)
    wide, point, deep = (option.share for option in options)
    kept = 1 - (1 - wide) - (1 - point * wide**1.5) - (1 - deep * point**1.5) - (1 - deep**1.5)
    assert result.energy_kept == pytest.approx(max(0.0, (2 + kept) / 3))


def test_a_budget_of_another_kind_is_refused(make_test_space: MakeSpace) -> None:
    space = make_test_space(SearchConfig())
    request = space.request
    with pytest.raises(UserError, match="a search needs one of latency"):
        make_space(type(request)(request.layers, request.table, Budget(density=0.2)), space.rules, SearchConfig())


@pytest.mark.parametrize("latency_ms", [0.0175, 0.018, 0.03])
def test_a_plan_by_the_rules_with_shared_filters_is_in_the_space(latency_ms: float) -> None:
    """One filter of 16 is more than the lowest density that other schemes were measured at."""
    layers = [conv(name, 16 if i else 3, 16, 3, 14, seed=i) for i, name in enumerate(("stem", "a", "b", "c", "last"))]
    table = made_up_table((layer.spec.setting for layer in layers), {"unstructured": 5, "pattern": 5, "punched": 5})
    coupled = (frozenset({"a", "b"}),)
    request = MapRequest(layers, table, Budget(latency_ms=latency_ms), wiring=Wiring(coupled))
    rules = Rules().map(request)
    space = make_space(request, rules, SearchConfig())
    assert space.first is not None and plan_key(space.plan(space.first)) == plan_key(rules.plan)


def test_a_search_can_run_where_only_the_rules_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [conv(name, 16 if i else 3, 16, 3, 14, seed=i) for i, name in enumerate(("stem", "a", "b", "c", "last"))]
    table = made_up_table(layer.spec.setting for layer in layers)
    request = MapRequest(layers, table, Budget(latency_ms=0.001), wiring=Wiring((frozenset({"a", "b"}),)))
    with pytest.raises(BudgetError, match="by a search too"):
        space_of(request, SearchConfig())
    least_us = make_space(request, None, SearchConfig()).least_us
    request = replace(request, budget=Budget(latency_ms=1.001 * least_us / 1e3))

    def fail(*_: object) -> None:
        raise BudgetError("latency_ms: too little")

    monkeypatch.setattr(Rules, "map", fail)
    with pytest.raises(BudgetError, match=r"too little.*--unseeded"):
        space_of(request, SearchConfig())
    space = space_of(request, SearchConfig(seeded=False))
    assert space.rules is None and space.first is None
    possible = [space.latency_us(each) for each in product(*map(range, space.problem.sizes))]
    assert min(possible) == pytest.approx(space.least_us) and space.least_us < space.budget_us
    assert space.result((0,) * len(space.decisions)).latency_us == pytest.approx(space.dense_us)
