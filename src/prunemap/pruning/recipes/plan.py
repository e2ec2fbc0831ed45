"""From the rules of a recipe to a plan for the layers of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import get_args

from prunemap.core.layer import LayerKind, LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.errors import Problems
from prunemap.pruning.recipes.recipe import LayerChoice, LayerRule

REGEX = "re:"
KINDS: tuple[str, ...] = get_args(LayerKind)
SHOWN_NAMES = 6


def plan_by_rules(rules: Sequence[LayerRule], default: LayerChoice, layers: Sequence[LayerSpec]) -> Plan:
    """Return the plan in which every layer has the choice of the first rule that matches it, else the default.

    Raises:
        UserError: a pattern matches no layer, or none that is left by those before it, or is no regular expression;
            all such are listed.
    """
    problems = Problems("layers: the rules do not fit the model")
    taken: dict[str, tuple[LayerChoice, str]] = {}
    for i, rule in enumerate(rules):
        try:
            matched = [layer.name for layer in layers if matches(rule.match, layer, layers)]
        except re.error as error:
            problems.add(f"layers.{i}.match: {rule.match!r} is no regular expression: {error}")
            continue
        free = [name for name in matched if name not in taken]
        if not matched:
            names = ", ".join(layer.name for layer in layers[:SHOWN_NAMES])
            problems.add(f"layers.{i}.match: {rule.match!r} matches no layer; there are {names}, …")
        elif not free:
            problems.add(f"layers.{i}.match: {rule.match!r} matches only layers that rules before it match")
        taken |= dict.fromkeys(free, (rule, f"rule {rule.match}"))
    problems.raise_if_any()
    return Plan(layers=tuple(_entry(layer, *taken.get(layer.name, (default, "default"))) for layer in layers))


def matches(pattern: str, layer: LayerSpec, layers: Sequence[LayerSpec]) -> bool:
    """Return whether a pattern means a layer: its name, else its kind, ``re:`` and a regular expression, or a glob."""
    if pattern.startswith(REGEX):
        return re.fullmatch(pattern.removeprefix(REGEX), layer.name) is not None
    if pattern in KINDS and all(each.name != pattern for each in layers):
        return layer.kind == pattern
    return fnmatchcase(layer.name, pattern)


def _entry(layer: LayerSpec, choice: LayerChoice, reason: str) -> PlanLayer:
    return PlanLayer.of(layer, choice.scheme, 1.0 if choice.density is None else choice.density, reason)
