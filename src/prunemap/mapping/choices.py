"""The rule for one layer: which scheme suits it best at a given density on this device."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from prunemap.compiler import ModelLayer
from prunemap.core.layer import GATES
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.latency import Predictor
from prunemap.mapping.decision import Yardstick
from prunemap.mapping.energy import EnergyAt, as_counted, kept_share
from prunemap.mapping.importance import EQUAL, Importance
from prunemap.mapping.mapper import DEFAULT_BETA, MapRequest
from prunemap.schemes import SCHEMES, why_illegal

FILTER = SchemeSpec("filter")
Filters = Literal["allowed", "forbidden", "shared"]
"""Whether a layer may lose filters alone, never, or only together with others."""
MIN_GAIN = 1.03
"""How much faster than dense a scheme must be; less is lost in the noise of the table."""
HIGHEST_DENSITY = 0.9
"""Of the grids; above it a layer is dense."""
WEIGHED_DENSITIES, RULED_DENSITIES = 37, 10
"""How many densities are offered. Few where the rule chooses: between them it falls from one scheme to another, and
multiply-accumulates alone do not say what that takes (at 19 of them, ResNet-20 at 40 % keeps 0.007 more energy and is
8 % slower)."""
HALVINGS = 12
"""Of a range of densities, to find the one that keeps so much energy."""


@dataclass(frozen=True)
class Option:
    """One way to have one layer."""

    layer: str
    scheme: SchemeSpec
    density: float
    """As it goes into the plan."""
    kept: float
    """The share of the weights that a mask of that density keeps."""
    latency_us: float
    """With all its input channels."""
    share: float
    """Of Σ w², kept in the layer itself."""
    energy: float
    """Share of the weight energy kept; of whole filters its power of 2.5: it stands for those behind."""
    macs: float
    """Multiply-accumulates kept, with all its input channels."""
    loss: float
    """Share of the weight energy lost, times the importance of the layer."""


class LayerChoices:
    """One prunable layer: what each measured scheme costs and keeps, and the rule that chooses among them.

    The yardstick at a density is coarse structured pruning: the ``filter`` curve of the table, a layer compiled
    dense with ⌈density·O⌉ filters (dense latency × density where ``filter`` was not measured). Candidates are the
    schemes within (1 + beta) of it and faster than dense; the rule chooses the one that keeps the most energy.

    Args:
        beta: None = DEFAULT_BETA, or no limit where schemes are weighed.
        weighed: whether a budget of latency or energy weighs all candidates, instead of the rule choosing one.
    """

    def __init__(
        self,
        layer: ModelLayer,
        predictor: Predictor,
        beta: float | None = None,
        importance: Importance = EQUAL,
        *,
        weighed: bool = False,
    ) -> None:
        setting = layer.spec.setting
        assert setting is not None, "a prunable layer has a setting"
        self.spec = layer.spec
        self.importance = importance
        self.weighed = weighed
        self.dense = Option(
            layer.spec.name, DENSE, 1.0, 1.0, predictor.dense_us(setting), 1.0, 1.0, float(layer.spec.macs), 0.0
        )
        self._setting = setting
        self._weight = layer.weight
        self._predictor = predictor
        self._beta = beta if beta is not None else inf if weighed else DEFAULT_BETA
        self._grids: dict[bool, Sequence[Option]] = {}
        self._shares: dict[SchemeSpec, EnergyAt] = {}
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

    def lowest_density(self, scheme: SchemeSpec | None = None) -> float:
        """Return the lowest density that a scheme was measured at and can meet; 1 if there is none.

        Args:
            scheme: None = whichever goes lowest.
        """
        return min(self._floors.values(), default=1.0) if scheme is None else self._floors.get(scheme, 1.0)

    def measured(self, scheme: SchemeSpec) -> bool:
        """Return whether the layer can have the scheme and it was measured."""
        return scheme in self._floors

    @property
    def schemes(self) -> Collection[SchemeSpec]:
        """What it can have beside dense."""
        return self._floors.keys()

    def can_have(self, scheme: SchemeSpec, density: float) -> bool:
        """Return whether the layer can have the scheme at a density: legal, and not below what was measured."""
        floor = self._floors.get(scheme)
        return floor is not None and round(floor, 4) <= density <= SCHEMES[scheme.name].max_density

    def latencies(self, density: float) -> dict[SchemeSpec, float]:
        """Return the latency in microseconds of every scheme that the layer can have at this density."""
        return {
            scheme: self._predictor.latency_us(self._setting, scheme, density)
            for scheme in self._floors
            if self.can_have(scheme, density)
        }

    def yardstick(self, density: float, filters: bool = True) -> Yardstick:
        """Return what latencies at this density are compared with.

        Args:
            filters: whether ``filter`` may be chosen. Where it may not and nothing else comes near it, the yardstick
                is the fastest of the others, as it is where nothing is as fast as the share of the dense latency.
        """
        latencies = self.latencies(density)
        coarse_us = latencies.get(FILTER)
        coarse = (
            Yardstick(name="its share of dense", latency_us=self.dense.latency_us * density)
            if coarse_us is None
            else Yardstick(name="whole filters", latency_us=coarse_us)
        )
        others = {scheme: us for scheme, us in latencies.items() if filters or scheme != FILTER}
        fastest = min(others, key=lambda scheme: others[scheme], default=None)
        if fastest is None or others[fastest] <= coarse.latency_us:
            return coarse
        return Yardstick(name=f"the fastest, {fastest}", latency_us=others[fastest])

    def candidates(self, density: float, filters: bool = True) -> list[SchemeSpec]:
        """Return the schemes that are fast enough at this density.

        Args:
            filters: whether ``filter`` may be one.
        """
        limit_us = self.limit_us(density, filters)
        return [
            scheme
            for scheme, latency_us in self.latencies(density).items()
            if latency_us <= limit_us and self.beats_dense(latency_us) and (filters or scheme != FILTER)
        ]

    def limit_us(self, density: float, filters: bool) -> float:
        """Return how slow a scheme may be at this density: (1 + beta) times the yardstick."""
        return inf if self._beta == inf else (1 + self._beta) * self.yardstick(density, filters).latency_us

    def over_densities(self, filters: bool = True) -> Sequence[Option]:
        """Return what the layer may have beside dense over a grid of densities; made once.

        By the rule one option per density; where schemes are weighed each has a grid of its own, from the lowest
        density to the highest that it can have.
        """
        if filters not in self._grids:
            self._grids[filters] = tuple(
                self._weighed_options(filters) if self.weighed else self._ruled_options(filters)
            )
        return self._grids[filters]

    def _ruled_options(self, filters: bool) -> Iterator[Option]:
        for density in self.densities(self.lowest_density()):
            option = self.choose(density, filters)
            if option is not None:
                yield option

    def _weighed_options(self, filters: bool) -> Iterator[Option]:
        for scheme, lowest in self._floors.items():
            if scheme == FILTER and not filters:
                continue
            for density in self.densities(lowest, SCHEMES[scheme.name].max_density):
                option = self.option(scheme, density)
                if option.latency_us <= self.limit_us(density, filters) and self.beats_dense(option.latency_us):
                    yield option

    def densities(self, lowest: float, highest: float = HIGHEST_DENSITY) -> list[float]:
        """Return densities at equal ratios, up to HIGHEST_DENSITY; none where the lowest is above it."""
        highest = min(highest, HIGHEST_DENSITY)
        size = WEIGHED_DENSITIES if self.weighed else RULED_DENSITIES
        return [] if lowest >= highest else [lowest, *np.geomspace(lowest, highest, size)[1:].tolist()]

    def beats_dense(self, latency_us: float) -> bool:
        """Return whether a latency is clearly below that of the dense layer."""
        return latency_us * MIN_GAIN <= self.dense.latency_us

    def option(self, scheme: SchemeSpec, density: float) -> Option:
        """Return what a scheme costs and keeps at a density, rounded to four digits as plans have it."""
        density = round(density, 4)
        if scheme not in self._shares:
            self._shares[scheme] = kept_share(self._weight, scheme)
        kept, share = self._shares[scheme](density)
        energy = as_counted(share, scheme)
        latency_us = self._predictor.latency_us(self._setting, scheme, density)
        loss = self.importance.of(self.spec.name, scheme) * (1 - energy)
        return Option(self.spec.name, scheme, density, kept, latency_us, share, energy, self.spec.macs * kept, loss)

    def least_keeping(self, energy: float, scheme: SchemeSpec) -> Option:
        """Return a scheme at about the least density at which it keeps so much energy, else at its highest."""
        low, high = self._floors[scheme], SCHEMES[scheme.name].max_density
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.option(scheme, middle).energy >= energy else (middle, high)
        return self.option(scheme, high)

    def choose(self, density: float, filters: bool = True) -> Option | None:
        """Return the candidate that keeps the most energy, the faster one at a tie; None where nothing beats dense."""
        density = round(density, 4)
        options = [self.option(scheme, density) for scheme in self.candidates(density, filters)]
        return max(options, key=lambda option: (option.energy, -option.latency_us), default=None)


def layer_choices(request: MapRequest, predictor: Predictor) -> dict[str, LayerChoices]:
    """Return what can be chosen for the layers that are not fixed, by name, in the order of the network."""
    return {
        layer.spec.name: LayerChoices(
            layer, predictor, request.beta, request.importance, weighed=request.budget.density is None
        )
        for layer in request.layers
        if layer.spec.name not in request.fixed
    }
