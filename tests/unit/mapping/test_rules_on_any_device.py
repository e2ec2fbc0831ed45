"""Properties of the rules that hold whatever the device, the budget and the wiring are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, example, given, settings, strategies

from prunemap.core.scheme_spec import DENSE
from prunemap.core.wiring import Wiring
from prunemap.errors import UserError
from prunemap.latency import DEFAULT_SCHEMES, Predictor
from prunemap.mapping import Budget, MapRequest, MapResult
from prunemap.mapping.importance import Importance
from prunemap.schemes import SCHEMES, why_illegal
from tests.unit.mapping.conftest import CHAIN, ONLY_FILTER, PRUNABLE, RULES, conv


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=strategies.integers(0, 2**32 - 1),
    energy=strategies.floats(0.4, 0.95),
    wiring=strategies.sampled_from((Wiring(), Wiring((frozenset({"wide", "deep"}),)), CHAIN)),
    weights=strategies.sampled_from(({}, {"wide": 1.8, "point": 0.9, "deep": 0.3})),
    narrow=strategies.booleans(),
)
@example(seed=133656933, energy=0.5, wiring=Wiring(), weights={}, narrow=False)
@example(seed=494, energy=0.8125, wiring=Wiring(), weights={"wide": 1.8, "point": 0.9, "deep": 0.3}, narrow=False)
def test_no_scheme_alone_keeps_as_much_energy_sooner(
    network, make_table, seed: int, energy: float, wiring: Wiring, weights: dict[str, float], narrow: bool
) -> None:
    """Whatever the device, with layers that share filters, and layers that matter more than others."""
    rng = np.random.default_rng(seed)
    if narrow:  # a filter is more than the lowest density measured
        network = [conv(name, 16 if i else 3, 16, 3, 14, i) for i, name in enumerate(("stem", *PRUNABLE, "last"))]
    factors = {str(scheme): rng.uniform(0.5, 4) for scheme in DEFAULT_SCHEMES}
    table = make_table(network, factors)
    request = MapRequest(network, table, Budget(keep_energy=energy), wiring=wiring, importance=Importance(weights))
    together = RULES.map(request)
    for scheme in DEFAULT_SCHEMES:
        points = tuple(point for point in table.points if point.scheme in (DENSE, scheme))
        alone = replace(request, table=table.model_copy(update={"points": points}))
        result = RULES.map(alone)
        assert together.latency_us <= 1.02 * result.latency_us, scheme
        in_time = RULES.map(replace(request, budget=Budget(latency_ms=result.latency_us / 1e3)))
        assert weighed(in_time, weights) >= weighed(result, weights) - 0.02, scheme


def weighed(result: MapResult, weights: dict[str, float]) -> float:
    """The mean energy kept, of layers weighed by their importance."""
    kept = {each.layer: each.chosen.energy if each.chosen else 1.0 for each in result.decisions}
    return float(np.mean([1 - weights.get(name, 1.0) * (1 - kept[name]) for name in PRUNABLE]))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=strategies.integers(0, 2**32 - 1),
    budget=strategies.builds(
        lambda name, value: {name: value},
        strategies.sampled_from(("density", "latency_ms", "keep_energy")),
        strategies.floats(0.01, 1.0),
    ),
    wiring=strategies.sampled_from(
        (Wiring(), Wiring((frozenset({"wide", "deep"}),)), Wiring((frozenset({"wide", "point", "deep"}),)), CHAIN)
    ),
    narrow=strategies.booleans(),
)
@example(seed=0, budget={"keep_energy": 0.1}, wiring=Wiring((frozenset({"wide", "deep"}),)), narrow=True)
def test_never_slower_than_dense_on_any_device(
    network, make_table, seed: int, budget: dict[str, float], wiring: Wiring, narrow: bool
) -> None:
    rng = np.random.default_rng(seed)
    if narrow:  # a filter is more than the lowest density measured
        network = [conv(name, 16 if i else 3, 16, 3, 14, i) for i, name in enumerate(("stem", *PRUNABLE, "last"))]
    table = make_table(network, ONLY_FILTER if narrow else {})
    points = tuple(p.model_copy(update={"median_us": p.median_us * rng.uniform(0.3, 4)}) for p in table.points)
    table = table.model_copy(update={"points": points})
    predictor = Predictor(table)
    if "latency_ms" in budget:
        budget = {"latency_ms": budget["latency_ms"] * sum(predictor.dense_us(m.spec.setting) for m in network) / 1e3}
    request = MapRequest(network, table, Budget(**budget), wiring=wiring)
    try:
        result = RULES.map(request)
    except UserError as error:
        assert "the least possible with this table is" in str(error)
        return
    for layer, entry in zip(network, result.plan.layers, strict=True):
        latency_us = predictor.latency_us(layer.spec.setting, entry.scheme, entry.density)
        assert latency_us <= predictor.dense_us(layer.spec.setting)
        assert why_illegal(entry.scheme, entry.weight_shape, entry.density) is None
        if entry.scheme != DENSE:
            one_group = 1 / SCHEMES[entry.scheme.name].view(entry.weight_shape, entry.scheme).count
            lowest = predictor.lowest_density(layer.spec.setting, entry.scheme)
            assert entry.density >= round(max(lowest, one_group), 4)
    assert result.latency_us <= result.dense_latency_us
