"""Prices: what a choice costs and loses in the network as it was chosen last, the layers behind it counted."""

from __future__ import annotations

from collections.abc import Sequence

from prunemap.core.scheme_spec import DENSE
from prunemap.latency import NetworkLatency
from prunemap.latency.network_latency import filters_in
from prunemap.mapping.choices import FILTER, Option
from prunemap.mapping.decision import in_words, percent_of
from prunemap.mapping.network_energy import NetworkEnergy, shares_of
from prunemap.mapping.units import Choice, Unit, as_chosen


class Prices:
    """Latency in microseconds and loss of one choice while all others stay as they are.

    Behind a layer that loses filters others read fewer channels. How much that saves and loses depends on what those
    are, so prices hold beside the choices that they were made for: their sum is exact there, near it an estimate.
    """

    def __init__(self, latency: NetworkLatency, energy: NetworkEnergy, now: Sequence[Choice]) -> None:
        self._latency = latency
        self._energy = energy
        self._shares = shares_of(now)
        self._chosen = as_chosen(now)
        self._filters = filters_in(self._chosen)
        self._left = latency.inputs_left(self._chosen)
        self._inputs = {name: energy.inputs_kept(name, self._shares) for name in self._shares}

    def cost(self, choice: Choice) -> float:
        """Return what the layers of the choice take, and what those behind them take more than now."""
        left, behind_us = self._left, 0.0
        if self._changes_filters(choice):
            left = self._latency.wiring.inputs_left(self._filters_with(choice), [option.layer for option in choice])
            behind_us = self.behind_us(choice)
        return behind_us + sum(self._own_us(option, left.get(option.layer, 1.0)) for option in choice)

    def loss(self, choice: Choice) -> float:
        """Return what the layers of the choice lose, and what those behind them lose more than now."""
        if not self._changes_filters(choice):
            return sum(self._energy.loss_with(self._inputs[o.layer], o.layer, o.scheme, o.share) for o in choice)
        layers = {option.layer for option in choice}
        shares = self._shares | shares_of([choice])
        own = sum(self._energy.loss(name, shares) for name in layers)
        behind = self._energy.readers(layers) - layers
        return own + sum(self._energy.loss(name, shares) - self._energy.loss(name, self._shares) for name in behind)

    def behind_us(self, choice: Choice) -> float:
        """Return what the layers behind those of the choice take more than now: below 0 where it loses filters."""
        layers = {option.layer for option in choice}
        behind = {reader for name in layers for reader in self._latency.wiring.readers.get(name, ())} - layers
        left = self._latency.wiring.inputs_left(self._filters_with(choice), behind)
        return sum(self._layer_us(name, left) - self._layer_us(name, self._left) for name in behind)

    def _changes_filters(self, choice: Choice) -> bool:
        return any(option.scheme.name == FILTER.name or option.layer in self._filters for option in choice)

    def _own_us(self, option: Option, left: float) -> float:
        if left == 1:
            return option.latency_us
        return self._latency.layer_us(option.layer, option.scheme, option.density, left)

    def _filters_with(self, choice: Choice) -> dict[str, float]:
        layers = {option.layer for option in choice}
        others = {name: kept for name, kept in self._filters.items() if name not in layers}
        return others | filters_in(as_chosen([choice]))

    def _layer_us(self, name: str, left: dict[str, float]) -> float:
        return self._latency.layer_us(name, *self._chosen.get(name, (DENSE, 1.0)), left.get(name, 1.0))


def channel_notes(
    latency: NetworkLatency, energy: NetworkEnergy, units: Sequence[Unit], chosen: Sequence[Choice]
) -> dict[str, str]:
    """Return, by layer, what lost filters save behind it, and what it takes itself where it reads fewer channels."""
    now, prices, notes = as_chosen(chosen), Prices(latency, energy, chosen), dict[str, list[str]]()
    for unit, choice in zip(units, chosen, strict=True):
        behind_us = prices.behind_us(unit.dense) if filters_in(as_chosen([choice])) else 0.0
        if behind_us > 0:
            those = "their" if len(choice) > 1 else "its"
            for option in choice:
                notes.setdefault(option.layer, []).append(f"{those} lost filters save {in_words(behind_us)} behind")
    for name, left in latency.inputs_left(now).items():
        latency_us = latency.layer_us(name, *now.get(name, (DENSE, 1.0)), left)
        notes.setdefault(name, []).append(f"reads {percent_of(left)} of its channels: {in_words(latency_us)}")
    return {name: "; ".join(each) for name, each in notes.items()}
