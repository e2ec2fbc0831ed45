"""The rule for one layer: which scheme suits it best at a given density on this device."""

from __future__ import annotations

from dataclasses import dataclass

from prunemap.compiler import ModelLayer
from prunemap.core.layer import GATES
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.latency import Predictor
from prunemap.mapping.energy import EnergyAt, kept_energy
from prunemap.mapping.importance import EQUAL, Importance
from prunemap.schemes import SCHEMES, why_illegal

FILTER = SchemeSpec("filter")
MIN_GAIN = 1.03
"""How much faster than dense a scheme must be; less is lost in the noise of the table."""


@dataclass(frozen=True)
class Option:
    """One way to have one layer."""

    scheme: SchemeSpec
    density: float
    """As it goes into the plan."""
    kept: float
    """The share of the weights that a mask of that density keeps."""
    latency_us: float
    energy: float
    """Share of the weight energy kept."""
    macs: float
    """Multiply-accumulates kept."""
    loss: float
    """Share of the weight energy lost, times the importance of the layer."""


class LayerChoices:
    """One prunable layer: what each measured scheme costs and keeps, and the rule that chooses among them.

    The yardstick at a density is coarse structured pruning: the ``filter`` curve of the table, a layer compiled
    dense with ⌈density·O⌉ filters (dense latency × density where ``filter`` was not measured). Candidates are the
    schemes within (1 + beta) of it and faster than dense; the one that keeps the most energy is chosen.
    """

    def __init__(self, layer: ModelLayer, predictor: Predictor, beta: float, importance: Importance = EQUAL) -> None:
        setting = layer.spec.setting
        assert setting is not None, "a prunable layer has a setting"
        self.spec = layer.spec
        self.dense = Option(DENSE, 1.0, 1.0, predictor.dense_us(setting), 1.0, float(layer.spec.macs), 0.0)
        self._setting = setting
        self._weight = layer.weight
        self._predictor = predictor
        self._beta = beta
        self._importance = importance
        self._energies: dict[SchemeSpec, EnergyAt] = {}
        self._floors = {
            scheme: max(predictor.lowest_density(setting, scheme), self._one_group(scheme))
            for scheme in predictor.schemes(setting)
            if why_illegal(scheme, layer.spec.weight_shape) is None
        }

    def _one_group(self, scheme: SchemeSpec) -> float:
        return 1 / SCHEMES[scheme.name].view(self.spec.weight_shape, scheme).count

    @property
    def is_recurrent(self) -> bool:
        """Whether it belongs to an LSTM or GRU."""
        return self.spec.kind in GATES

    @property
    def lowest_density(self) -> float:
        """The lowest density that some scheme was measured at and can meet; 1 if there is none."""
        return min(self._floors.values(), default=1.0)

    def measured(self, scheme: SchemeSpec) -> bool:
        """Return whether the layer can have the scheme and it was measured."""
        return scheme in self._floors

    def latencies(self, density: float) -> dict[SchemeSpec, float]:
        """Return the latency in microseconds of every scheme that the layer can have at this density."""
        return {
            scheme: self._predictor.latency_us(self._setting, scheme, density)
            for scheme, floor in self._floors.items()
            if floor <= density <= SCHEMES[scheme.name].max_density
        }

    def candidates(self, density: float, filters: bool = True) -> list[SchemeSpec]:
        """Return the schemes that are fast enough at this density.

        Args:
            filters: whether ``filter`` may be one. Where it may not and nothing else comes near it, the yardstick
                is the fastest of the others.
        """
        latencies = self.latencies(density)
        yardstick = latencies.get(FILTER, self.dense.latency_us * density)
        if not filters:
            latencies.pop(FILTER, None)
        limit = (1 + self._beta) * max(yardstick, min(latencies.values(), default=0.0))
        return [s for s, latency in latencies.items() if latency <= limit and self.beats_dense(latency)]

    def beats_dense(self, latency_us: float) -> bool:
        """Return whether a latency is clearly below that of the dense layer."""
        return latency_us * MIN_GAIN <= self.dense.latency_us

    def option(self, scheme: SchemeSpec, density: float) -> Option:
        """Return what a scheme costs and keeps at a density, rounded to four digits as plans have it."""
        density = round(density, 4)
        if scheme not in self._energies:
            self._energies[scheme] = kept_energy(self._weight, scheme)
        kept, energy = self._energies[scheme](density)
        latency_us = self._predictor.latency_us(self._setting, scheme, density)
        loss = self._importance.of(self.spec.name, scheme) * (1 - energy)
        return Option(scheme, density, kept, latency_us, energy, self.spec.macs * kept, loss)

    def choose(self, density: float, filters: bool = True) -> Option | None:
        """Return the candidate that keeps the most energy, the faster one at a tie; None where nothing beats dense."""
        options = [self.option(scheme, density) for scheme in self.candidates(density, filters)]
        return max(options, key=lambda option: (option.energy, -option.latency_us), default=None)

    def why(self, option: Option) -> str:
        """Return the reason for an option in words, with the figures behind it."""
        if option.scheme == DENSE:
            return self._why_dense()
        yardstick = self.latencies(option.density).get(FILTER)
        beside = "" if yardstick is None or option.scheme == FILTER else f", whole filters {yardstick:.0f} µs"
        return (
            f"{self.dense.latency_us / option.latency_us:.1f}x faster than dense ({option.latency_us:.0f} µs{beside}); "
            f"most energy kept: {option.energy:.0%}"
        )

    def _why_dense(self) -> str:
        if not self._floors:
            return "no scheme was measured for it"
        lowest_us = {s: self._predictor.latency_us(self._setting, s, floor) for s, floor in self._floors.items()}
        best = min(lowest_us, key=lambda scheme: lowest_us[scheme])
        pays = self.beats_dense(lowest_us[best])
        return (
            f"{'the budget is met without it' if pays else 'nothing measured beats dense'}: {best} at density "
            f"{self._floors[best]:.2g} would take {lowest_us[best]:.0f} µs, dense {self.dense.latency_us:.0f} µs"
        )
