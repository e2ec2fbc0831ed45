"""From the rules of a recipe to a plan for the layers of a network."""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.core.layer import LayerSpec
from prunemap.core.layer_pattern import matching_layers
from prunemap.core.plan import Plan, PlanLayer
from prunemap.errors import Problems
from prunemap.pruning.recipes.recipe import LayerChoice, LayerRule


def plan_by_rules(rules: Sequence[LayerRule], default: LayerChoice, layers: Sequence[LayerSpec]) -> Plan:
    """Return the plan in which every layer has the choice of the first rule that matches it, else the default.

    Raises:
        UserError: a pattern matches no layer, or none that is left by those before it, or is no regular expression;
            all such are listed.
    """
    problems = Problems("layers: the rules do not fit the model")
    taken: dict[str, tuple[LayerChoice, str]] = {}
    for i, rule in enumerate(rules):
        matched = [layer.name for layer in matching_layers(rule.match, layers, f"layers.{i}.match", problems)]
        free = [name for name in matched if name not in taken]
        if matched and not free:
            problems.add(f"layers.{i}.match: {rule.match!r} matches only layers that rules before it match")
        taken |= dict.fromkeys(free, (rule, f"rule {rule.match}"))
    problems.raise_if_any()
    return Plan(layers=tuple(_entry(layer, *taken.get(layer.name, (default, "default"))) for layer in layers))


def _entry(layer: LayerSpec, choice: LayerChoice, reason: str) -> PlanLayer:
    return PlanLayer.of(layer, choice.scheme, 1.0 if choice.density is None else choice.density, reason)
