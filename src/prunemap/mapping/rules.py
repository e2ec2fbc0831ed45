"""Rule-based mapping: no training, only the weights, the latency table and the budget.

With a budget of density each layer has one choice at every density of a grid, made by the rule of
:class:`LayerChoices`; with one of latency or energy it has every scheme at every density, for then the budget itself
says what a microsecond is worth. The densities are allocated over those choices. So scheme and density of a layer agree
by construction, where choosing schemes and allocating densities in turns only approaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prunemap.core.plan import Plan, PlanLayer
from prunemap.latency import Predictor
from prunemap.mapping.allocate import Point, allocate
from prunemap.mapping.choices import LayerChoices, layer_choices
from prunemap.mapping.decision import Decision, never_pruned
from prunemap.mapping.mapper import BudgetError, MapRequest, MapResult, mean_of
from prunemap.mapping.units import (
    Choice,
    Unit,
    cheapest_units,
    latency_of,
    least,
    loss_of,
    macs_of,
    units_apart,
    units_by_rule,
)

LEAST_ASKED = 0.05
"""Density at which the rule is asked whether coupled layers lose filters, where the budget is lower still."""
BUDGETS_TRIED = 16
"""Halvings down to the least latency that keeps the energy asked for."""


class Rules:
    """The rule-based mapper."""

    name = "rules"

    def map(self, request: MapRequest) -> MapResult:
        """Return the plan that keeps the most weight energy within the budget, or the fastest that keeps enough of it.

        It is never predicted slower than dense.

        Raises:
            UserError: the table lacks layers of the network.
            BudgetError: the budget cannot be met.
        """
        predictor = request.predictor()
        fixed = fixed_decisions(request, predictor)
        fixed_us = predictor.glue_us + sum(each.dense_us or 0.0 for each in fixed.values())
        layers = layer_choices(request, predictor)
        by_rule = request.budget.density is not None
        units, chosen = _by_rule(request, layers) if by_rule else _weighed(request, layers, fixed_us)
        return _result(request, fixed, fixed_us, units, chosen)


Found = tuple[Sequence[Unit], Sequence[Choice]]
"""The units of a network, and the choice of each."""


def _by_rule(request: MapRequest, layers: Mapping[str, LayerChoices]) -> Found:
    """Return the choices for a budget of density."""
    assert request.budget.density is not None, "the budget is one of density"
    macs = sum(layer.spec.macs for layer in layers.values())
    constraint = _Constraint("density", request.budget.density, macs_of, scale=float(macs))
    units = units_by_rule(layers, request.coupled, max(LEAST_ASKED, request.budget.density))
    chosen = _choose(constraint, units)
    if chosen is None:  # who shares filters was asked at one density; going lower may need another answer
        units = cheapest_units(layers, request.coupled, macs_of)
        chosen = _choose(constraint, units)
    if chosen is None:
        raise constraint.impossible(least(units, macs_of))
    return units, chosen


def _weighed(request: MapRequest, layers: Mapping[str, LayerChoices], fixed_us: float) -> Found:
    """Return the choices for a budget of latency or energy; filters are shared nowhere, or wherever that goes lower."""
    apart, cheapest = units_apart(layers, request.coupled), cheapest_units(layers, request.coupled, latency_of)
    ways = [apart] if cheapest == apart else [apart, cheapest]
    energy, latency_ms = request.budget.keep_energy, request.budget.latency_ms
    if energy is not None:
        fastest = [(units, _fastest_keeping(energy, units)) for units in ways]
        return min(fastest, key=lambda found: sum(map(latency_of, found[1])))
    assert latency_ms is not None, "a budget has one of the three"
    constraint = _Constraint("latency_ms", latency_ms, latency_of, scale=1e3, offset=fixed_us)
    met = [(units, chosen) for units in ways if (chosen := _choose(constraint, units)) is not None]
    if not met:
        raise constraint.impossible(min(least(units, latency_of) for units in ways))
    return min(met, key=lambda found: sum(map(loss_of, found[1])))


def fixed_decisions(request: MapRequest, predictor: Predictor) -> dict[str, Decision]:
    """Return, by name, the decisions for the layers that stay dense whatever the device."""
    settings = {layer.spec.name: layer.spec.setting for layer in request.layers}
    return {
        name: never_pruned(name, why, None if setting is None else predictor.dense_us(setting))
        for name, why in request.fixed.items()
        for setting in [settings[name]]
    }


@dataclass(frozen=True)
class _Constraint:
    """The budget in the unit of its costs: cost = value · scale − offset."""

    argument: str
    value: float
    cost: Callable[[Choice], float]
    scale: float
    offset: float = 0.0

    @property
    def allowed(self) -> float:
        return (self.value * self.scale - self.offset) * (1 + 1e-9)

    def impossible(self, cheapest: float) -> BudgetError:
        least = (cheapest + self.offset) / self.scale * 1.0005  # so that rounding never says too little
        return BudgetError(
            f"{self.argument}: got {self.value:g}, the least possible with this table is {least:.4g}; layers where "
            "nothing measured beats dense stay dense; lower densities can be measured"
        )


def _choose(constraint: _Constraint, units: Sequence[Unit]) -> list[Choice] | None:
    """Return the choice of every unit, None where the constraint cannot be met."""
    cost = constraint.cost
    points = [[Point(cost(choice), loss_of(choice), i) for i, choice in enumerate(unit.choices)] for unit in units]
    allocation = allocate(points, constraint.allowed)
    if allocation.cost > constraint.allowed:
        return None
    chosen = [unit.choices[point.index] for unit, point in zip(units, allocation.chosen, strict=True)]
    if allocation.last is None:
        return chosen
    place, before = allocation.last
    undone = [*chosen]
    undone[place] = units[place].choices[before.index]
    return _last_step(constraint, units, undone, (place, chosen[place]))


def _last_step(
    constraint: _Constraint, units: Sequence[Unit], chosen: Sequence[Choice], known: tuple[int, Choice]
) -> list[Choice]:
    """Return the choices with the one step that loses least of those that meet the budget.

    The last step of the allocation may save more than is needed, where another saves enough.

    Args:
        chosen: over the budget.
        known: a step that meets it: the place of a unit, and what it gets.
    """
    cost = constraint.cost
    excess = sum(map(cost, chosen)) - constraint.allowed
    steps = [known]
    for place, unit in enumerate(units):
        most = cost(chosen[place]) - excess
        steps += [(place, choice) for choice in unit.fine_choices if cost(choice) <= most]
    place, choice = min(steps, key=lambda step: loss_of(step[1]) - loss_of(chosen[step[0]]))
    return [choice if i == place else had for i, had in enumerate(chosen)]


def _fastest_keeping(energy: float, units: Sequence[Unit]) -> list[Choice]:
    """Return the choices of the least latency budget that still keeps so much of the weights' energy."""
    cheapest = [min(unit.choices, key=latency_of) for unit in units]
    best = [unit.dense for unit in units]
    floor, high = (sum(map(latency_of, each)) for each in (cheapest, best))
    tried = floor
    for _ in range(BUDGETS_TRIED):
        found = _choose(_Constraint("keep_energy", tried, latency_of, scale=1.0), units)
        if found is not None and _weighed_energy(found) >= energy:
            best, high = found, tried
        else:
            floor = tried
        tried = (floor + high) / 2
    return best


def _weighed_energy(chosen: Sequence[Choice]) -> float:
    """Return the mean energy kept, of layers weighed by their importance."""
    return 1 - sum(map(loss_of, chosen)) / max(1, sum(map(len, chosen)))


def _result(
    request: MapRequest, fixed: Mapping[str, Decision], fixed_us: float, units: Sequence[Unit], chosen: Sequence[Choice]
) -> MapResult:
    decided = dict(fixed)
    for unit, choice in zip(units, chosen, strict=True):
        decided |= {decision.layer: decision for decision in unit.decide(choice)}
    decisions = [decided[layer.spec.name] for layer in request.layers]
    entries = [
        PlanLayer.of(layer.spec, each.scheme, each.density, each.reason)
        for layer, each in zip(request.layers, decisions, strict=True)
    ]
    specs = [layer.spec for unit in units for layer in unit.layers]
    options = [option for choice in chosen for option in choice]
    weights = [spec.params for spec in specs]
    return MapResult(
        plan=Plan(model=request.model, layers=tuple(entries)),
        latency_us=fixed_us + latency_of(tuple(options)),
        dense_latency_us=fixed_us + sum(latency_of(unit.dense) for unit in units),
        density=mean_of([option.kept for option in options], [spec.macs for spec in specs]),
        weights_kept=mean_of([option.kept for option in options], weights),
        energy_kept=mean_of([option.energy for option in options], [1] * len(options)),
        decisions=tuple(decisions),
    )
