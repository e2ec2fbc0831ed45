"""PrunedRates: what every pruned layer keeps, to print and to save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.pruning.masks import Masks, kept


class LayerRate(Value):
    """One layer that the plan prunes."""

    name: str
    scheme: SchemeSpec
    density: float
    """Kept / all weights."""
    macs: int
    """Dense."""


class PrunedRates(Value):
    """What is kept of the layers that the plan prunes, and of all layers."""

    layers: tuple[LayerRate, ...]
    density: float
    """Kept / all MACs of the layers that the plan prunes."""
    macs_kept: float
    """The same of all layers."""
    weights_kept: float

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=0)
        rows = [f"{layer.name:{width}}  {layer.scheme!s:14} {layer.density:6.1%}" for layer in self.layers]
        total = f"density {self.density:.1%} of the MACs to prune; of all: MACs {self.macs_kept:.1%}"
        return "\n".join([*rows, f"{total}, weights {self.weights_kept:.1%}"])


def rates_of(masks: Masks, choices: Mapping[str, PlanLayer], layers: Sequence[LayerSpec]) -> PrunedRates:
    """Return what the masks keep.

    Args:
        choices: of the layers that the plan prunes.
        layers: all.
    """
    pruned = [layer for layer in layers if layer.module in choices]
    everything = kept(masks, layers)
    return PrunedRates(
        layers=tuple(
            LayerRate(
                name=layer.module,
                scheme=choices[layer.module].scheme,
                density=kept(masks, [layer]).weights,
                macs=layer.macs,
            )
            for layer in pruned
        ),
        density=kept(masks, pruned).macs,
        macs_kept=everything.macs,
        weights_kept=everything.weights,
    )
