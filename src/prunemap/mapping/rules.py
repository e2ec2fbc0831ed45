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
from prunemap.mapping.mapper import Budget, BudgetError, MapRequest, MapResult, mean_of
from prunemap.mapping.units import Choice, Unit, cheapest_units, latency_of, least, loss_of, macs_of, make_units

ASKED_DENSITY = 0.25
"""Where the rule is asked whether coupled layers lose filters, if the budget gives no density."""
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
        dense = tuple(layer.dense for layer in layers.values())
        weighed = request.budget.density is None
        if request.budget.keep_energy is not None:
            units = make_units(layers, request.coupled, ASKED_DENSITY, weighed)
            return _result(request, fixed, fixed_us, units, _fastest_keeping(request.budget.keep_energy, units))
        constraint = _constraint(request.budget, layers, fixed_us)
        asked = min(1.0, max(0.05, constraint.allowed / (constraint.cost(dense) or 1.0)))
        units = make_units(layers, request.coupled, asked, weighed)
        found = _choose(constraint, units, _choices(units))
        if found is None:  # who shares filters was asked at one density; going lower may need another answer
            units = cheapest_units(layers, request.coupled, constraint.cost, weighed)
            found = _choose(constraint, units, _choices(units))
        if found is None:
            raise constraint.impossible(least(units, constraint.cost))
        return _result(request, fixed, fixed_us, units, found)


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


def _constraint(budget: Budget, layers: Mapping[str, LayerChoices], fixed_us: float) -> _Constraint:
    if budget.latency_ms is not None:
        return _Constraint("latency_ms", budget.latency_ms, latency_of, scale=1e3, offset=fixed_us)
    assert budget.density is not None, "a budget has one of the three"
    macs = sum(layer.spec.macs for layer in layers.values())
    return _Constraint("density", budget.density, macs_of, scale=float(macs))


def _choices(units: Sequence[Unit]) -> list[list[Choice]]:
    return [unit.choices() for unit in units]


def _choose(constraint: _Constraint, units: Sequence[Unit], choices: Sequence[Sequence[Choice]]) -> list[Choice] | None:
    """Return the choice of every unit, None where the constraint cannot be met.

    Args:
        choices: of every unit, dense first.
    """
    cost = constraint.cost
    points = [[Point(cost(choice), loss_of(choice), i) for i, choice in enumerate(row)] for row in choices]
    allocation = allocate(points, constraint.allowed)
    if allocation.cost > constraint.allowed:
        return None
    chosen = [row[point.index] for row, point in zip(choices, allocation.chosen, strict=True)]
    if allocation.last is None:
        return chosen
    unit, before = allocation.last
    return _last_step(constraint, units, chosen, unit, choices[unit][before.index])


def _last_step(
    constraint: _Constraint, units: Sequence[Unit], chosen: list[Choice], unit: int, before: Choice
) -> list[Choice]:
    """Return the choices with the last step undone and the one step instead that loses least and meets the budget.

    Args:
        chosen: with the last step, which may save more than is needed.
        unit: whose step it was.
        before: what that unit had before.
    """
    cost, undone = constraint.cost, [*chosen]
    undone[unit] = before
    excess = sum(map(cost, undone)) - constraint.allowed
    steps = [(loss_of(chosen[unit]) - loss_of(before), unit, chosen[unit])]
    for place, (each, had) in enumerate(zip(units, undone, strict=True)):
        fitting = [choice for choice in each.fine if cost(choice) <= cost(had) - excess]
        steps += [(loss_of(choice) - loss_of(had), place, choice) for choice in fitting]
    _, place, choice = min(steps, key=lambda step: step[0])
    undone[place] = choice
    return undone


def _fastest_keeping(energy: float, units: Sequence[Unit]) -> list[Choice]:
    """Return the choices of the least latency budget that still keeps so much of the weights' energy."""
    choices = _choices(units)
    cheapest = [min(row, key=latency_of) for row in choices]
    best = [unit.dense for unit in units]
    floor, high = (sum(map(latency_of, each)) for each in (cheapest, best))
    tried = floor
    for _ in range(BUDGETS_TRIED):
        found = _choose(_Constraint("keep_energy", tried, latency_of, scale=1.0), units, choices)
        if found is not None and _energy_kept(found) >= energy:
            best, high = found, tried
        else:
            floor = tried
        tried = (floor + high) / 2
    return best


def _energy_kept(chosen: Sequence[Choice]) -> float:
    options = [option for choice in chosen for option in choice]
    return mean_of([option.energy for option in options], [1] * len(options))


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
        energy_kept=_energy_kept(chosen),
        decisions=tuple(decisions),
    )
