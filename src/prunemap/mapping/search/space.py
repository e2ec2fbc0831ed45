"""Space: the plans that a search chooses among, and all that is known of each without training.

A decision is a layer with its actions: dense, or a measured scheme at one of a few densities. Layers whose outputs are
added have one decision more, before their own: the filters that they lose together, or none; where they lose filters,
their own decisions have no effect. Densities are part of the actions, so that the budget is met by the penalty alone:
a search may then trade density between layers, which an allocation by kept energy has fixed already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np

from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE
from prunemap.errors import UserError
from prunemap.latency import NetworkLatency
from prunemap.mapping.choices import FILTER, LayerChoices, Option, layer_choices
from prunemap.mapping.mapper import MapRequest, MapResult, mean_of
from prunemap.mapping.network_energy import NetworkEnergy, shares_of
from prunemap.mapping.prices import Prices
from prunemap.mapping.search.config import SearchConfig
from prunemap.mapping.search.features import action_features, decision_features
from prunemap.mapping.search.problem import Candidate, Problem
from prunemap.mapping.units import Choice, Unit, as_chosen, latency_of


@dataclass(frozen=True, eq=False)
class SearchDecision:
    """How to have one layer, or which filters the layers of a residual sum share."""

    name: str
    unit: Unit
    choices: tuple[Choice, ...]
    """Of one layer dense is the first; of several it is (), every layer by itself."""
    set_at: int | None = None
    """Place of the decision on the residual sum that the layer belongs to."""

    def action_name(self, action: int) -> str:
        """Return what an action is called, such as ``punched:4x1@0.2``."""
        choice = self.choices[action]
        if not choice:
            return "each by itself"
        return str(choice[0].scheme) if choice[0].scheme == DENSE else f"{choice[0].scheme}@{choice[0].density:g}"


@dataclass(frozen=True, eq=False)
class Space:
    """All decisions about one network."""

    request: MapRequest
    latency: NetworkLatency
    energy: NetworkEnergy
    fixed_us: float
    """Latency of the layers that stay dense whatever is decided, with all their input channels."""
    decisions: tuple[SearchDecision, ...]
    rules: MapResult | None
    """The rule plan; None where the rules cannot meet the budget."""
    first: Candidate | None
    """The rule plan, where it is to be the first candidate."""

    @property
    def budget_us(self) -> float:
        """The budget in microseconds."""
        assert self.request.budget.latency_ms is not None, "make_space has checked it"
        return self.request.budget.latency_ms * 1e3

    @property
    def dense_us(self) -> float:
        """Predicted latency of the dense network."""
        return self.latency.total_us({})

    @property
    def least_us(self) -> float:
        """The least predicted latency of the candidates that are fastest layer by layer, as the network is when dense.

        Without layers that read lost filters that is the least of all.
        """
        costs = (latency_of, Prices(self.latency, self.energy, [each.unit.dense for each in self.decisions]).cost)
        return min(self.latency_us(self._fastest(cost)) for cost in costs)

    def _fastest(self, cost: Callable[[Choice], float]) -> Candidate:
        """Return the candidate with the least sum of costs."""
        costs = [[cost(choice) if choice else inf for choice in each.choices] for each in self.decisions]
        best = [int(np.argmin(row)) for row in costs]
        for place, decision in enumerate(self.decisions):
            apart = sum(min(row) for row, each in zip(costs, self.decisions, strict=True) if each.set_at == place)
            if decision.unit.filters == "shared" and apart <= min(costs[place]):
                best[place] = 0
        return self.problem.canonical(tuple(best))

    @cached_property
    def problem(self) -> Problem:
        """The space as searchers see it."""
        largest = max(len(each.choices) for each in self.decisions)
        features, costs, keeps = action_features(
            [each.unit for each in self.decisions], [each.choices for each in self.decisions], largest, self.budget_us
        )
        return Problem(
            sizes=tuple(len(each.choices) for each in self.decisions),
            overruled_by=tuple(each.set_at for each in self.decisions),
            decisions=decision_features([each.unit for each in self.decisions]),
            actions=features,
            costs=costs,
            keeps=keeps,
            fixed_cost=self.fixed_us / self.budget_us,
            first=self.first,
        )

    def latency_us(self, candidate: Candidate) -> float:
        """Return the predicted latency of all layers that the table models."""
        return self.latency.total_us(as_chosen(choice for _, choice in self._chosen(candidate)))

    def result(self, candidate: Candidate) -> MapResult:
        """Return the plan with what it is predicted to cost."""
        options = [
            (layer.spec, option)
            for unit, choice in self._chosen(candidate)
            for layer, option in zip(unit.layers, choice, strict=True)
        ]
        kept = [option.kept for _, option in options]
        return MapResult(
            plan=self.plan(candidate),
            latency_us=self.latency_us(candidate),
            dense_latency_us=self.dense_us,
            density=mean_of(kept, [spec.macs for spec, _ in options]),
            weights_kept=mean_of(kept, [spec.params for spec, _ in options]),
            energy_kept=self.energy.kept(shares_of(choice for _, choice in self._chosen(candidate))),
        )

    def plan(self, candidate: Candidate) -> Plan:
        """Return the plan."""
        fixed = self.request.fixed
        chosen = {
            layer.spec.name: (option, _why(layer, option, unit))
            for unit, choice in self._chosen(candidate)
            for layer, option in zip(unit.layers, choice, strict=True)
        }
        entries = []
        for each in self.request.layers:
            option, why = chosen.get(each.spec.name, (None, fixed.get(each.spec.name, "")))
            scheme, density = (option.scheme, option.density) if option else (DENSE, 1.0)
            entries.append(PlanLayer.of(each.spec, scheme, density, why))
        return Plan(model=self.request.model, layers=tuple(entries))

    def _chosen(self, candidate: Candidate) -> Iterator[tuple[Unit, Choice]]:
        """Yield every decision that has an effect, and what was chosen."""
        for decision, action in zip(self.decisions, candidate, strict=True):
            overruled = decision.set_at is not None and candidate[decision.set_at] > 0
            if not overruled and decision.choices[action]:
                yield decision.unit, decision.choices[action]


def plan_key(plan: Plan) -> str:
    """Return the hash of a plan's choices; reasons do not count."""
    content = repr([(e.name, str(e.scheme), e.density) for e in plan.layers if e.scheme != DENSE])
    return hashlib.sha256(content.encode()).hexdigest()


def make_space(request: MapRequest, rules: MapResult | None, config: SearchConfig) -> Space:
    """Return the space of a network.

    Args:
        rules: the plan by the rules, for the same request; None where they have none: then it is not the first
            candidate, whatever the config says.

    Raises:
        UserError: the table lacks layers, there is nothing to decide, or the budget is none of latency.
    """
    if request.budget.latency_ms is None:
        raise UserError("budget: a search needs one of latency (latency_ms, --latency-ms)")
    predictor = request.predictor()
    fixed = request.fixed
    layers = layer_choices(request, predictor)
    planned = {entry.name: (entry.scheme, entry.density) for entry in rules.plan.layers} if rules else {}
    seeded = config.seeded and rules is not None
    decisions, first = list[SearchDecision](), list[int]()
    for unit, set_at in _units(layers, request.wiring.coupled):
        choices = _choices(unit, config)
        ruled = _ruled(unit, [planned[layer.spec.name] for layer in unit.layers]) if seeded else None
        if ruled is not None and ruled not in choices:
            choices = (*choices, ruled)
        decisions.append(SearchDecision(_name(unit), unit, choices, set_at))
        first.append(choices.index(ruled) if ruled is not None else 0)
    if all(len(each.choices) < 2 for each in decisions):
        raise UserError("search: nothing measured beats dense in any layer, so there is nothing to search")
    fixed_us = predictor.glue_us + sum(
        predictor.dense_us(layer.spec.setting)
        for layer in request.layers
        if layer.spec.name in fixed and layer.spec.setting is not None
    )
    space = Space(
        request, request.network(predictor), NetworkEnergy.of(request), fixed_us, tuple(decisions), rules, None
    )
    return replace(space, first=space.problem.canonical(tuple(first))) if seeded else space


def _units(layers: dict[str, LayerChoices], coupled: Sequence[frozenset[str]]) -> Iterator[tuple[Unit, int | None]]:
    """Yield what is decided on, in the order of the network, each set of coupled layers before its first one."""
    sets = {min(names, key=list(layers).index): names for names in coupled if names <= layers.keys()}
    members = {name for names in coupled for name in names}
    place, set_of = 0, dict[str, int]()
    for name, layer in layers.items():
        if name in sets:
            together = tuple(layers[each] for each in layers if each in sets[name])
            if all(each.measured(FILTER) for each in together):
                yield Unit(together, "shared"), None
                set_of |= dict.fromkeys(sets[name], place)
                place += 1
        yield Unit((layer,), "forbidden" if name in members or layer.is_recurrent else "allowed"), set_of.get(name)
        place += 1


def _name(unit: Unit) -> str:
    names = [layer.spec.name for layer in unit.layers]
    return names[0] if unit.filters != "shared" else f"filters of {', '.join(names)}"


def _choices(unit: Unit, config: SearchConfig) -> tuple[Choice, ...]:
    """Return the actions of a decision, by rising latency after the first one."""
    if unit.filters == "shared":
        start: Choice = ()
        measured = [d for d in config.densities if all(FILTER in layer.latencies(d) for layer in unit.layers)]
        found = [choice for density in measured if (choice := unit.sharing(density)) is not None]
    else:
        start, layer = unit.dense, unit.layers[0]
        options = [layer.option(s, d) for d in config.densities for s in layer.latencies(d) if _may(unit, s.name)]
        found = [(option,) for option in _worthwhile(layer, options, config.slack)]
    return (start, *sorted(dict.fromkeys(found), key=latency_of))


def _may(unit: Unit, scheme: str) -> bool:
    return scheme != FILTER.name or unit.filters == "allowed"


def _worthwhile(layer: LayerChoices, options: Sequence[Option], slack: float) -> list[Option]:
    """Return the options that beat dense and that none beats clearly in latency without keeping less energy."""
    faster = [option for option in options if layer.beats_dense(option.latency_us)]
    return [
        option
        for option in faster
        if not any(
            other.latency_us * (1 + slack) < option.latency_us and other.energy >= option.energy for other in faster
        )
    ]


def _ruled(unit: Unit, wanted: Sequence[tuple[object, float]]) -> Choice | None:
    """Return what the rule plan has of a decision, None where it says nothing of it."""
    schemes = [scheme for scheme, _ in wanted]
    if unit.filters == "shared":
        if any(scheme != FILTER for scheme in schemes):
            return None
    elif schemes[0] == DENSE or (schemes[0] == FILTER and unit.filters != "allowed"):
        return None
    return tuple(
        next(layer.option(s, density) for s in layer.latencies(density) if s == scheme)
        for layer, (scheme, density) in zip(unit.layers, wanted, strict=True)
    )


def _why(layer: LayerChoices, option: Option, unit: Unit) -> str:
    """Return the reason that the plan gives."""
    partners = f"; shared by the {len(unit.layers)} layers of a residual sum" if unit.filters == "shared" else ""
    if option.scheme == DENSE:
        return f"found by search: dense, {layer.dense.latency_us:.0f} µs"
    faster = layer.dense.latency_us / option.latency_us
    return (
        f"found by search: {option.latency_us:.0f} µs, {faster:.1f}x faster than dense, "
        f"{option.energy:.0%} of the energy{partners}"
    )
