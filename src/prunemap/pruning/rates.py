"""PrunedRates: what every pruned layer keeps, to print and to save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.value import Value
from prunemap.pruning.masks import Masks, kept
from prunemap.pruning.weights import prunable_weights


class LayerRate(Value):
    """One layer that the plan prunes."""

    name: str
    shape: tuple[int, ...] = ()
    """Of the weight, as schemes see it."""
    scheme: SchemeSpec
    density: float
    """Kept / all weights."""
    macs: int
    """Dense."""
    energy: float | None = None
    """Σ w² of what is kept / of all, of the dense network's weights; None where that network is not known."""


class PrunedRates(Value):
    """What is kept of the layers that the plan prunes, and of all layers."""

    layers: tuple[LayerRate, ...]
    density: float
    """Kept / all MACs of the layers that the plan prunes."""
    macs_kept: float
    """The same of all layers."""
    weights_kept: float
    latency_ms: float | None = None
    """Predicted, where a latency was asked for."""

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=0)
        rows = [f"{layer.name:{width}}  {layer.scheme!s:14} {layer.density:6.1%}" for layer in self.layers]
        total = f"density {self.density:.1%} of the MACs to prune; of all: MACs {self.macs_kept:.1%}"
        latency = "" if self.latency_ms is None else f"; predicted latency {self.latency_ms:.4g} ms"
        return "\n".join([*rows, f"{total}, weights {self.weights_kept:.1%}{latency}"])


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
                shape=layer.weight_shape,
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


def with_energy(rates: PrunedRates, dense: nn.Module, masks: Masks) -> PrunedRates:
    """Return the rates with the energy kept of every layer of the ``dense`` network."""
    weights, layers = prunable_weights(dense), []
    for layer in rates.layers:
        squares = weights[layer.name].parameter.detach().double().square()
        kept_squares = (squares * masks[layer.name].to(squares.device)).sum() if layer.name in masks else squares.sum()
        energy = float(kept_squares / squares.sum()) if squares.any() else 1.0
        layers.append(layer.model_copy(update={"energy": energy}))
    return rates.model_copy(update={"layers": tuple(layers)})
