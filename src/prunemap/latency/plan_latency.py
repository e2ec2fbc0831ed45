"""PlanLatency: what a network takes by a plan, as a function of the densities of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSetting, LayerSpec
from prunemap.core.plan import Plan
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.latency.predict import Predictor

FILTER = SchemeSpec("filter")
NOTHING: Mapping[str, float] = MappingProxyType({})


class PlanLatency:
    """Predicts the latency of a network: its layers by the schemes of a plan, and what lies between them.

    A layer whose zeros would not pay counts as dense: that is how it is compiled.
    """

    def __init__(self, table: LatencyTable, layers: Sequence[LayerSpec], plan: Plan) -> None:
        """Take the network's layers, in graph order.

        Raises:
            UserError: the table lacks layers of it, or a scheme of the plan, or the plan does not fit the layers.
        """
        self._predictor = Predictor(table, [layer.setting for layer in layers])
        self._predictor.require(layer.setting for layer in layers if layer.setting is not None)
        self._layers = [
            (layer, layer.setting, entry)
            for layer, entry in zip(layers, plan.resolve(layers), strict=True)
            if layer.setting is not None
        ]
        self()

    def __call__(self, densities: Mapping[str, float] = NOTHING, shares: Mapping[str, float] = NOTHING) -> float:
        """Return the latency in milliseconds.

        Args:
            densities: by the module of a layer, where they are not those of the plan.
            shares: by name, what is run of a layer's kept multiply-adds; the rest is not compiled. All by default.
        """
        total_us = self._predictor.glue_us
        for layer, setting, entry in self._layers:
            scheme, planned = (DENSE, 1.0) if entry is None else (entry.scheme, entry.density)
            density = densities.get(layer.module, planned)
            total_us += self._layer_us(setting, scheme, density, shares.get(layer.name, 1.0))
        return total_us / 1e3

    def _layer_us(self, setting: LayerSetting, scheme: SchemeSpec, density: float, share: float) -> float:
        predictor = self._predictor
        dense_us = share * predictor.dense_us(setting)
        if scheme != DENSE:
            return min(dense_us, predictor.latency_us(setting, scheme, density * share))
        if share < 1 and FILTER in predictor.schemes(setting):
            return predictor.latency_us(setting, FILTER, share)
        return dense_us
