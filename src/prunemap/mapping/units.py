"""Units of decision: a single layer, or layers coupled through residual sums that share one ``filter`` density."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from prunemap.core.scheme_spec import SchemeSpec
from prunemap.mapping.choices import FILTER, Filters, LayerChoices, Option
from prunemap.mapping.decision import Decision
from prunemap.mapping.rating import decide

Choice = tuple[Option, ...]
"""One option per layer of a unit."""


def as_chosen(choices: Iterable[Choice]) -> dict[str, tuple[SchemeSpec, float]]:
    """Return scheme and density by layer."""
    return {option.layer: (option.scheme, option.density) for choice in choices for option in choice}


def latency_of(choice: Choice) -> float:
    """Sum of the latencies in microseconds, of layers with all their input channels."""
    return sum(option.latency_us for option in choice)


def macs_of(choice: Choice) -> float:
    """Sum of the multiply-accumulates kept."""
    return sum(option.macs for option in choice)


def loss_of(choice: Choice) -> float:
    """Sum of the losses."""
    return sum(option.loss for option in choice)


@dataclass(frozen=True)
class Unit:
    """One layer whose scheme may or may not be ``filter``, or several that share ``filter`` at one density."""

    layers: tuple[LayerChoices, ...]
    filters: Filters
    held: bool = False
    """Whether it must lose filters."""

    @property
    def dense(self) -> Choice:
        """Every layer dense."""
        return tuple(layer.dense for layer in self.layers)

    @cached_property
    def choices(self) -> list[Choice]:
        """What the unit may have: dense, where it may be, and everything over a grid of densities."""
        pruned = self._pruned()
        return pruned if self.held else [self.dense, *pruned]

    def sharing(self, density: float) -> Choice | None:
        """Return shared filters at a density, None where some layer would not be faster, or cannot have it."""
        if not all(layer.can_have(FILTER, round(density, 4)) for layer in self.layers):
            return None
        choice = tuple(layer.option(FILTER, density) for layer in self.layers)
        faster = all(layer.beats_dense(o.latency_us) for layer, o in zip(self.layers, choice, strict=True))
        return choice if faster else None

    def _pruned(self) -> list[Choice]:
        if self.filters != "shared":
            options = self.layers[0].over_densities(self.filters == "allowed")
            return [(option,) for option in options if not self.held or option.scheme == FILTER]
        lowest = max(layer.lowest_density(FILTER) for layer in self.layers)
        return [choice for d in self.layers[0].densities(lowest) if (choice := self.sharing(d)) is not None]

    def decide(self, choice: Choice) -> list[Decision]:
        """Return the choice as decisions, one per layer."""
        partners = f"shared by the {len(self.layers)} layers of a residual sum" if self.filters == "shared" else ""
        pairs = zip(self.layers, choice, strict=True)
        return [decide(layer, option, self.filters, partners) for layer, option in pairs]


def units_by_rule(layers: Mapping[str, LayerChoices], coupled: Sequence[frozenset[str]], density: float) -> list[Unit]:
    """Return the units of a network, where the rule chooses.

    A coupled set becomes one unit if ``filter`` is the rule's choice for most of its latency, else its layers are
    decided one by one and without ``filter``. A set with a layer that is never pruned cannot share it. Gates of an LSTM
    or GRU never lose filters: a unit has a row in every gate of two layers.

    Args:
        layers: the prunable layers by name.
        coupled: names of layers that must share their ``filter`` choice; disjoint sets.
        density: where the rule is asked.
    """
    return _units(layers, coupled, lambda members: _filter_wins(members, density))


def units_apart(layers: Mapping[str, LayerChoices], coupled: Sequence[frozenset[str]]) -> list[Unit]:
    """Return the units of a network in which no filters are shared."""
    return _units(layers, coupled, lambda _: False)


def cheapest_units(
    layers: Mapping[str, LayerChoices], coupled: Sequence[frozenset[str]], cost: Callable[[Choice], float]
) -> list[Unit]:
    """Return the units of a network that can cost least: filters are shared wherever that goes lower."""

    def goes_lower(members: Sequence[LayerChoices]) -> bool:
        apart = [Unit((member,), "forbidden") for member in members]
        return least([Unit(tuple(members), "shared")], cost) < least(apart, cost)

    return _units(layers, coupled, goes_lower)


def least(units: Sequence[Unit], cost: Callable[[Choice], float]) -> float:
    """Return the least sum of costs."""
    return sum(min(map(cost, unit.choices)) for unit in units)


def _units(
    layers: Mapping[str, LayerChoices],
    coupled: Sequence[frozenset[str]],
    shares: Callable[[Sequence[LayerChoices]], bool],
) -> list[Unit]:
    """Return the units of a network.

    Args:
        shares: whether the layers of a set lose filters together; asked where all of them can.
    """
    units, single = list[Unit](), dict(layers)
    for names in coupled:
        members = [single.pop(name) for name in layers if name in names and name in single]
        can_share = len(members) == len(names) and all(member.measured(FILTER) for member in members)
        if can_share and shares(members):
            units.append(Unit(tuple(members), "shared"))
        else:
            units.extend(Unit((member,), "forbidden") for member in members)
    return [*units, *(Unit((layer,), "forbidden" if layer.is_recurrent else "allowed") for layer in single.values())]


def _filter_wins(members: Sequence[LayerChoices], density: float) -> bool:
    chosen = [member.choose(density) for member in members]
    weights = [member.dense.latency_us for member in members]
    won = sum(w for w, option in zip(weights, chosen, strict=True) if option and option.scheme == FILTER)
    return won > sum(weights) / 2
