"""Rule-based mapping: no training, only the weights, the latency table and the budget.

With a budget of density each layer has one choice at every density of a grid, made by the rule of
:class:`LayerChoices`; with one of latency or energy it has every scheme at every density, for then the budget itself
says what a microsecond is worth. The densities are allocated over those choices. So scheme and density of a layer agree
by construction, where choosing schemes and allocating densities in turns only approaches it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunemap.core.plan import Plan, PlanLayer
from prunemap.latency import NetworkLatency, Predictor
from prunemap.mapping.choices import LayerChoices, layer_choices
from prunemap.mapping.decision import Decision, never_pruned
from prunemap.mapping.mapper import MapRequest, MapResult, mean_of
from prunemap.mapping.network_energy import NetworkEnergy, shares_of
from prunemap.mapping.offers import Offers, impossible
from prunemap.mapping.prices import channel_notes
from prunemap.mapping.units import Choice, Unit, as_chosen, cheapest_units, least, macs_of, units_by_rule
from prunemap.mapping.weighed import Found, weighed

LEAST_ASKED = 0.05
"""Density at which the rule is asked whether coupled layers lose filters, where the budget is lower still."""


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
        fixed, latency = fixed_decisions(request, predictor), request.network(predictor)
        layers = layer_choices(request, predictor)
        by_rule = request.budget.density is not None
        energy = NetworkEnergy.of(request)
        units, chosen = _by_rule(request, layers) if by_rule else weighed(request, layers, latency, energy)
        return _result(request, fixed, latency, energy, units, chosen)


def _by_rule(request: MapRequest, layers: Mapping[str, LayerChoices]) -> Found:
    """Return the choices for a budget of density."""
    density = request.budget.density
    assert density is not None, "the budget is one of density"
    allowed = density * sum(layer.spec.macs for layer in layers.values())
    units = units_by_rule(layers, request.wiring.coupled, max(LEAST_ASKED, density))
    chosen = Offers(units, macs_of).within(allowed)
    if chosen is None:  # who shares filters was asked at one density; going lower may need another answer
        units = cheapest_units(layers, request.wiring.coupled, macs_of)
        chosen = Offers(units, macs_of).within(allowed)
    if chosen is None:
        raise impossible("density", density, density * least(units, macs_of) / allowed)
    return units, chosen


def fixed_decisions(request: MapRequest, predictor: Predictor) -> dict[str, Decision]:
    """Return, by name, the decisions for the layers that stay dense whatever the device."""
    settings = {layer.spec.name: layer.spec.setting for layer in request.layers}
    return {
        name: never_pruned(name, why, None if setting is None else predictor.dense_us(setting))
        for name, why in request.fixed.items()
        for setting in [settings[name]]
    }


def _result(
    request: MapRequest,
    fixed: Mapping[str, Decision],
    latency: NetworkLatency,
    energy: NetworkEnergy,
    units: Sequence[Unit],
    chosen: Sequence[Choice],
) -> MapResult:
    decided = dict(fixed)
    for unit, choice in zip(units, chosen, strict=True):
        decided |= {decision.layer: decision for decision in unit.decide(choice)}
    notes = channel_notes(latency, energy, units, chosen)
    decisions = [decided[layer.spec.name].noting(notes.get(layer.spec.name, "")) for layer in request.layers]
    entries = [
        PlanLayer.of(layer.spec, each.scheme, each.density, each.reason)
        for layer, each in zip(request.layers, decisions, strict=True)
    ]
    specs = [layer.spec for unit in units for layer in unit.layers]
    options = [option for choice in chosen for option in choice]
    weights = [spec.params for spec in specs]
    return MapResult(
        plan=Plan(model=request.model, layers=tuple(entries)),
        latency_us=latency.total_us(as_chosen(chosen)),
        dense_latency_us=latency.total_us({}),
        density=mean_of([option.kept for option in options], [spec.macs for spec in specs]),
        weights_kept=mean_of([option.kept for option in options], weights),
        energy_kept=energy.kept(shares_of(chosen)),
        decisions=tuple(decisions),
    )
