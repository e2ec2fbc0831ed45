"""Units of decision: a single layer, or layers coupled through residual sums that share one ``filter`` density."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from prunemap.mapping.choices import FILTER, Filters, LayerChoices, Option
from prunemap.mapping.decision import Decision

GRID_SIZE, FINE_GRID_SIZE = 10, 40
HIGHEST_DENSITY = 0.9

Choice = tuple[Option, ...]
"""One option per layer of a unit."""


def latency_of(choice: Choice) -> float:
    """Sum of the latencies in microseconds."""
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
    weighed: bool = False
    """Whether all that is open at a density is weighed, instead of what the rule chooses."""

    @property
    def dense(self) -> Choice:
        """Every layer dense."""
        return tuple(layer.dense for layer in self.layers)

    def choose(self, density: float) -> Choice | None:
        """Return the rule's choice at a density, None where nothing beats dense."""
        if self.filters == "shared":
            if not all(layer.can_have(FILTER, round(density, 4)) for layer in self.layers):
                return None
            return self._if_faster(tuple(layer.option(FILTER, density) for layer in self.layers))
        option = self.layers[0].choose(density, self.filters == "allowed")
        return None if option is None else (option,)

    def at(self, density: float) -> list[Choice]:
        """Return what the unit may have at a density, the fastest first."""
        if self.weighed and self.filters != "shared":
            options = self.layers[0].open_at(round(density, 4), self.filters == "allowed")
            return [(option,) for option in sorted(options, key=lambda option: option.latency_us)]
        choice = self.choose(density)
        return [] if choice is None else [choice]

    def choices(self) -> list[Choice]:
        """Return dense, then what the unit may have over a grid of densities."""
        return [self.dense, *self._over(GRID_SIZE)]

    @cached_property
    def fine(self) -> list[Choice]:
        """What the unit may have over a fine grid of densities."""
        return list(self._over(FINE_GRID_SIZE))

    def _over(self, size: int) -> Iterator[Choice]:
        only = FILTER if self.filters == "shared" else None
        lowest = max(layer.lowest_density(only) for layer in self.layers)
        if lowest < HIGHEST_DENSITY:
            for density in [lowest, *np.geomspace(lowest, HIGHEST_DENSITY, size)[1:].tolist()]:
                yield from self.at(density)

    def decide(self, choice: Choice) -> list[Decision]:
        """Return the choice as decisions, one per layer."""
        partners = f"shared by the {len(self.layers)} layers of a residual sum" if self.filters == "shared" else ""
        return [
            layer.decide(option, self.filters, self.weighed, partners)
            for layer, option in zip(self.layers, choice, strict=True)
        ]

    def _if_faster(self, choice: Choice) -> Choice | None:
        faster = all(layer.beats_dense(o.latency_us) for layer, o in zip(self.layers, choice, strict=True))
        return choice if faster else None


def make_units(
    layers: Mapping[str, LayerChoices], coupled: Sequence[frozenset[str]], density: float, weighed: bool
) -> list[Unit]:
    """Return the units of a network.

    A coupled set becomes one unit if ``filter`` is the rule's choice for most of its latency, else its layers are
    decided one by one and without ``filter``. A set with a layer that is never pruned cannot share it. Gates of an LSTM
    or GRU never lose filters: a unit has a row in every gate of two layers.

    Args:
        layers: the prunable layers by name.
        coupled: names of layers that must share their ``filter`` choice; disjoint sets.
        density: where the rule is asked.
        weighed: of single layers.
    """
    units, single = [], dict(layers)
    for names in coupled:
        members = [single.pop(name) for name in layers if name in names and name in single]
        if len(members) == len(names) and _filter_wins(members, density):
            units.append(Unit(tuple(members), "shared", weighed))
        else:
            units.extend(Unit((member,), "forbidden", weighed) for member in members)
    return units + _single_units(single, weighed)


def cheapest_units(
    layers: Mapping[str, LayerChoices],
    coupled: Sequence[frozenset[str]],
    cost: Callable[[Choice], float],
    weighed: bool,
) -> list[Unit]:
    """Return the units of a network that can cost least: filters are shared wherever that goes lower."""
    units, single = [], dict(layers)
    for names in coupled:
        members = [single.pop(name) for name in layers if name in names and name in single]
        apart = [Unit((member,), "forbidden", weighed) for member in members]
        together = Unit(tuple(members), "shared", weighed)
        may = len(members) == len(names) and all(member.measured(FILTER) for member in members)
        units.extend([together] if may and least([together], cost) < least(apart, cost) else apart)
    return units + _single_units(single, weighed)


def least(units: Sequence[Unit], cost: Callable[[Choice], float]) -> float:
    """Return the least sum of costs."""
    return sum(min(map(cost, unit.choices())) for unit in units)


def _single_units(layers: Mapping[str, LayerChoices], weighed: bool) -> list[Unit]:
    return [Unit((layer,), "forbidden" if layer.is_recurrent else "allowed", weighed) for layer in layers.values()]


def _filter_wins(members: Sequence[LayerChoices], density: float) -> bool:
    chosen = [member.choose(density) for member in members]
    weights = [member.dense.latency_us for member in members]
    won = sum(w for w, option in zip(weights, chosen, strict=True) if option and option.scheme == FILTER)
    return won > sum(weights) / 2 and all(member.measured(FILTER) for member in members)
