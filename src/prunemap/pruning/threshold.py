"""One threshold τ for all layers: prune where r_g < τ. Each layer thus gets its own density.

τ is bisected to the smallest that meets a budget: overall density, or latency. At least one group of every layer stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from prunemap.core.layer import LayerSpec
from prunemap.errors import UserError
from prunemap.pruning.prune_config import PruneConfig

LOWEST, STEPS = 1e-30, 80
"""Bisection is of log τ; so many steps find it to the precision of float64."""

Densities = Mapping[str, float]
"""Name of the weight → kept / all of its weights."""


@dataclass(frozen=True)
class Budget:
    """What τ has to meet: a cost of the densities that falls with them."""

    argument: str
    value: float
    cost: Callable[[Densities], float]

    def met(self, densities: Densities) -> bool:
        """Whether the densities are within the budget."""
        return self.cost(densities) <= self.value * (1 + 1e-9)


def budget_of(
    config: PruneConfig, layers: Sequence[LayerSpec], pruned: Set[str], latency: Callable[[Densities], float] | None
) -> Budget | None:
    """Return the budget that the config asks for, None for none.

    Args:
        pruned: names of the layers that the plan prunes; the others count as dense.

    Raises:
        UserError: latency_ms without a function that predicts it, or the other way round.
    """
    if (config.latency_ms is None) != (latency is None):
        raise UserError("latency_ms and latency: got one of them; a latency budget needs a function that predicts it")
    if config.latency_ms is not None and latency is not None:
        dense = {layer.module: 1.0 for layer in layers}
        return Budget("latency_ms", config.latency_ms, lambda densities: float(latency({**dense, **densities})))
    if config.density is None:
        return None
    macs = {layer.module: layer.macs for layer in layers if layer.module in pruned}
    total = sum(macs.values())
    return Budget("density", config.density, lambda found: sum(found[name] * macs[name] for name in macs) / total)


class Threshold:
    """The density of every layer as a function of τ."""

    def __init__(self, survival: Mapping[str, Tensor], kernels: Mapping[str, int]) -> None:
        """Take the τ up to which every weight survives.

        Args:
            kernels: of layers with the scheme ``pattern``, the kernels per filter: all filters keep as many.
        """
        self._kernels = kernels
        self._sorted = {n: np.sort(values.detach().cpu().double().numpy(), axis=None) for n, values in survival.items()}

    @property
    def highest(self) -> float:
        """A τ at which every layer keeps one group."""
        return 2 * max(float(values[-1]) for values in self._sorted.values()) + LOWEST

    def of_layer(self, name: str, tau: float) -> float:
        """Return τ, lowered where the layer would lose every weight."""
        return min(tau, float(self._sorted[name][-1]))

    def single(self, tau: float) -> list[str]:
        """Return the layers for which it is lowered."""
        return [name for name in self._sorted if self.of_layer(name, tau) < tau]

    def densities(self, tau: float) -> dict[str, float]:
        """Return the density of every layer."""
        return {name: self._density(name, values, tau) for name, values in self._sorted.items()}

    def find(self, budget: Budget) -> float:
        """Return the smallest τ that meets the budget; ``highest`` if none does."""
        if budget.met(self.densities(0.0)):
            return 0.0
        low, high = np.log(LOWEST), np.log(self.highest)
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if budget.met(self.densities(float(np.exp(middle)))) else (middle, high)
        return float(np.exp(high))

    def _density(self, name: str, values: NDArray[np.floating[Any]], tau: float) -> float:
        share = 1 - float(np.searchsorted(values, self.of_layer(name, tau), "left")) / values.size
        if name not in self._kernels:
            return share
        kernels = self._kernels[name]
        return 4 / 9 * min(kernels, max(1, round(share * 9 / 4 * kernels))) / kernels
