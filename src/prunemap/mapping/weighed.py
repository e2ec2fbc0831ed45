"""Choices for a budget of latency or energy: every layer may have every scheme at every density.

What a choice saves and loses in the layers behind it depends on what those are, so the choices are made several times,
each time at the prices in the network as it was chosen before; of all of them the best is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from prunemap.latency import NetworkLatency
from prunemap.mapping.choices import FILTER, LayerChoices
from prunemap.mapping.mapper import MapRequest
from prunemap.mapping.network_energy import NetworkEnergy, shares_of
from prunemap.mapping.offers import ROUNDING, Offers, impossible
from prunemap.mapping.prices import Prices
from prunemap.mapping.units import Choice, Unit, as_chosen, cheapest_units, latency_of, loss_of, units_apart

BUDGETS_TRIED = 16
"""Halvings down to the least latency that keeps the energy asked for."""
TURNS = 8
"""How often choices are made, each time at the prices in the network as it was chosen before."""

Found = tuple[Sequence[Unit], Sequence[Choice]]
"""The units of a network, and the choice of each."""
Choose = Callable[[Offers, float], "list[Choice] | None"]
"""From what is offered, and what is in none of its costs; None where the budget cannot be met."""


@dataclass(frozen=True)
class Weigher:
    """Chooses for one network."""

    latency: NetworkLatency
    energy: NetworkEnergy

    def best_in(self, limit_us: float, ways: Sequence[Sequence[Unit]]) -> Found:
        """Return what loses least of all that was found to be as fast.

        Raises:
            BudgetError: nothing is.
        """

        def choose(offers: Offers, rest_us: float) -> list[Choice] | None:
            return offers.within(limit_us - rest_us)

        found = [(units, chosen) for units in ways for chosen in self._tries(units, choose)]
        totals = [self._total_us(chosen) for _, chosen in found]
        if min(totals) > limit_us * ROUNDING:
            raise impossible("latency_ms", limit_us / 1e3, min(totals) / 1e3)
        met = [each for each, total_us in zip(found, totals, strict=True) if total_us <= limit_us * ROUNDING]
        return min(met, key=lambda each: self._loss(each[1]))

    def fastest_keeping(self, energy: float, ways: Sequence[Sequence[Unit]]) -> Found:
        """Return the fastest of all that was found to keep so much of the weights' energy."""

        def keeps(chosen: Sequence[Choice]) -> bool:
            return 1 - self._loss(chosen) / max(1, sum(map(len, chosen))) >= energy

        def choose(offers: Offers, _: float) -> list[Choice]:
            return _least_cost(offers, keeps)

        found = [(units, chosen) for units in ways for chosen in self._tries(units, choose)]
        return min((each for each in found if keeps(each[1])), key=lambda each: self._total_us(each[1]))

    def _total_us(self, chosen: Sequence[Choice]) -> float:
        return self.latency.total_us(as_chosen(chosen))

    def _loss(self, chosen: Sequence[Choice]) -> float:
        return self.energy.total_loss(shares_of(chosen))

    def _tries(self, units: Sequence[Unit], choose: Choose) -> Iterator[Sequence[Choice]]:
        """Yield the dense network, and what is chosen from two starts: each layer by itself, and filters everywhere."""
        dense = [unit.dense for unit in units]
        yield dense
        yield from self._turns(units, choose, dense, alone=True)
        if self.latency.wiring.sources:
            yield from self._turns(units, choose, [_most_filters(unit) for unit in units], held=True)

    def _turns(
        self,
        units: Sequence[Unit],
        choose: Choose,
        now: Sequence[Choice],
        *,
        alone: bool = False,
        held: bool = False,
    ) -> Iterator[Sequence[Choice]]:
        """Yield the fastest choices and those chosen, time after time, at the prices in the network as it is now.

        Every other time those that lost filters must lose some again: else they got them back before the layers behind
        them, which read so few channels, were chosen anew.

        Args:
            alone: whether the first time a layer counts by itself, as if none were behind it.
            held: whether the first time is such a one.
        """
        seen = []
        for _ in range(TURNS):
            prices = Prices(self.latency, self.energy, now)
            cost, loss = (latency_of, loss_of) if alone else (prices.cost, prices.loss)
            offers = Offers(_held(units, now) if held else units, cost, loss)
            yield offers.cheapest
            chosen = choose(offers, self._total_us(now) - sum(map(cost, now)))
            if chosen is None or (chosen in seen and not held):
                return
            yield chosen
            seen.append(chosen)
            now, alone, held = chosen, False, not held and any(choice[0].scheme == FILTER for choice in chosen)


def weighed(
    request: MapRequest, layers: Mapping[str, LayerChoices], latency: NetworkLatency, energy: NetworkEnergy
) -> Found:
    """Return the choices; filters are shared nowhere, or wherever that goes lower.

    Raises:
        BudgetError: the budget cannot be met.
    """
    coupled, budget = request.wiring.coupled, request.budget
    apart, cheapest = units_apart(layers, coupled), cheapest_units(layers, coupled, latency_of)
    ways = [apart] if cheapest == apart else [apart, cheapest]
    weigher = Weigher(latency, energy)
    if budget.keep_energy is not None:
        return weigher.fastest_keeping(budget.keep_energy, ways)
    assert budget.latency_ms is not None, "a budget has one of the three"
    return weigher.best_in(1e3 * budget.latency_ms, ways)


def _most_filters(unit: Unit) -> Choice:
    """Return whole filters at the highest density, dense where there are none."""
    filters = [choice for choice in unit.choices if choice[0].scheme == FILTER]
    return min(filters, key=loss_of, default=unit.dense)


def _held(units: Sequence[Unit], now: Sequence[Choice]) -> list[Unit]:
    """Return the units of which those that lose filters must lose some."""
    return [replace(unit, held=choice[0].scheme == FILTER) for unit, choice in zip(units, now, strict=True)]


def _least_cost(offers: Offers, keeps: Callable[[Sequence[Choice]], bool]) -> list[Choice]:
    """Return the choices of about the least sum of costs that keep enough; those that lose least if none does."""
    best = offers.start
    floor, high = offers.bounds
    tried = floor
    for _ in range(BUDGETS_TRIED):
        found = offers.within(tried)
        if found is not None and keeps(found):
            best, high = found, tried
        else:
            floor = tried
        tried = (floor + high) / 2
    return best
