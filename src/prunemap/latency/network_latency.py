"""NetworkLatency: what a network takes by the schemes of its layers, filters that layers before them lost counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunemap.core.layer import LayerSpec
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.wiring import Wiring
from prunemap.latency.predict import Predictor

FILTER = SchemeSpec("filter")
Chosen = Mapping[str, tuple[SchemeSpec, float]]
"""Scheme and density by layer; who is not in it is dense."""


class NetworkLatency:
    """Latency of layers, and of the whole: the layers that the table models, and the glue.

    A layer behind one that lost filters reads the channels that are left, and runs that share of its multiply-adds. It
    is taken to need what the table says of it at that share of its density; dense, with that share of its filters.
    """

    def __init__(self, predictor: Predictor, layers: Sequence[LayerSpec], wiring: Wiring) -> None:
        self.wiring = wiring
        self._predictor = predictor
        self._settings = {layer.name: layer.setting for layer in layers if layer.setting is not None}
        self._known: dict[tuple[str, SchemeSpec, float, float], float] = {}

    def layer_us(self, name: str, scheme: SchemeSpec = DENSE, density: float = 1.0, share: float = 1.0) -> float:
        """Return the latency of a layer in microseconds.

        A layer whose zeros would not pay counts as dense: that is how it is compiled. Fewer channels never cost more.

        Args:
            share: what is run of its kept multiply-adds.

        Raises:
            UserError: the table lacks the scheme for it.
        """
        asked = (name, scheme, density, share)
        if asked not in self._known:
            self._known[asked] = self._predict(*asked)
        return self._known[asked]

    def _predict(self, name: str, scheme: SchemeSpec, density: float, share: float) -> float:
        predictor, setting = self._predictor, self._settings.get(name)
        if setting is None:
            return 0.0
        candidates = [predictor.dense_us(setting)]
        if share < 1:
            by_filters = FILTER in predictor.schemes(setting)
            candidates += [predictor.latency_us(setting, FILTER, share) if by_filters else share * candidates[0]]
        if scheme != DENSE:
            candidates += [predictor.latency_us(setting, scheme, density * share)]
        return min(candidates)

    def inputs_left(self, chosen: Chosen) -> dict[str, float]:
        """Return the share of its input channels that is left of each layer that lost some."""
        return self.wiring.inputs_left(filters_in(chosen))

    def total_us(self, chosen: Chosen, shares: Mapping[str, float] | None = None) -> float:
        """Return the latency of the network in microseconds.

        Args:
            shares: what is run of the layers' kept multiply-adds; None = by the filters that are lost.
        """
        if shares is None:
            shares = self.inputs_left(chosen)
        layers = (self.layer_us(n, *chosen.get(n, (DENSE, 1.0)), shares.get(n, 1.0)) for n in self._settings)
        return self._predictor.glue_us + sum(layers)


def filters_in(chosen: Chosen) -> dict[str, float]:
    """Return the share kept by the layers that lose whole filters."""
    return {name: density for name, (scheme, density) in chosen.items() if scheme == FILTER}
