"""PlanLatency: what a network takes by a plan, as a function of the densities of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from prunemap.core.latency_table import LatencyTable
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan
from prunemap.core.wiring import Wiring
from prunemap.latency.network_latency import NetworkLatency
from prunemap.latency.predict import Predictor

NOTHING: Mapping[str, float] = MappingProxyType({})


class PlanLatency:
    """Predicts the latency of a network by the schemes of a plan; see :class:`NetworkLatency`."""

    def __init__(
        self,
        table: LatencyTable,
        layers: Sequence[LayerSpec],
        plan: Plan,
        wiring: Wiring | None = None,
        graph_sha256: str = "",
        *,
        estimate: bool = False,
    ) -> None:
        """Take the network's layers, in graph order.

        Args:
            wiring: says which layers read fewer channels where the plan prunes filters; None = none does.
            graph_sha256: of the network; "" = any in the table with such layers may be it.
            estimate: whether layers that the table lacks are estimated from others of their kind.

        Raises:
            UserError: the table lacks layers of it, or a scheme of the plan, or the plan does not fit the layers.
        """
        predictor = Predictor(table, [layer.setting for layer in layers], graph_sha256=graph_sha256, estimate=estimate)
        predictor.require(layer.setting for layer in layers if layer.setting is not None)
        self._network = NetworkLatency(predictor, layers, wiring or Wiring())
        pairs = zip(layers, plan.resolve(layers), strict=True)
        self._pruned = [(layer, entry) for layer, entry in pairs if entry is not None]
        self()

    def __call__(self, densities: Mapping[str, float] = NOTHING, shares: Mapping[str, float] | None = None) -> float:
        """Return the latency in milliseconds.

        Args:
            densities: by the module of a layer, where they are not those of the plan.
            shares: by name, what is run of a layer's kept multiply-adds; None = by the filters that the plan prunes.
        """
        chosen = {
            layer.name: (entry.scheme, densities.get(layer.module, entry.density)) for layer, entry in self._pruned
        }
        return self._network.total_us(chosen, shares) / 1e3
