"""Masks of the pruned weights of a torch module, made by the schemes of :mod:`prunemap.schemes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.errors import InternalError
from prunemap.pruning.weights import PrunableWeight, prunable_weights
from prunemap.schemes import ArrayOps, make_mask

Masks = Mapping[str, Tensor]
"""Name of the weight → bool tensor of the parameter's shape, True = kept. Who is not named keeps every weight."""


class TorchOps:
    """ArrayOps for torch: what a scheme's view needs to be applied to tensors, gradients included."""

    def pad(self, array: Any, after: Sequence[int]) -> Any:
        return functional.pad(array, [n for count in reversed(after) for n in (0, count)])

    def permute(self, array: Any, axes: Sequence[int]) -> Any:
        return array.permute(*axes)

    def expand(self, array: Any, shape: Sequence[int]) -> Any:
        return array.expand(*shape)


TORCH: ArrayOps = TorchOps()


@dataclass(frozen=True)
class Kept:
    """Shares that masks keep of some layers, 0 to 1."""

    weights: float
    macs: float


def magnitude_mask(weight: PrunableWeight, choice: PlanLayer, density: float, values: Tensor) -> Tensor:
    """Return the mask of one weight by its scheme's own keep rule, of the parameter's shape.

    Args:
        values: what the magnitudes are taken of, of the parameter's shape.
    """
    seen = weight.seen(values.detach())
    mask = torch.from_numpy(make_mask(seen.float().cpu().numpy(), choice.scheme, density))
    return weight.stored(mask).to(seen.device)


def apply_masks(module: nn.Module, masks: Masks, optimizer: Optimizer | None = None) -> None:
    """Set the pruned weights to zero; see :func:`hold_zeros`."""
    if masks:
        hold_zeros(prunable_weights(module), masks, optimizer)


@torch.no_grad()
def hold_zeros(weights: Mapping[str, PrunableWeight], masks: Masks, optimizer: Optimizer | None = None) -> None:
    """Set the pruned weights to zero, and what an optimizer remembers of them: momentum, averages of gradients."""
    for name, mask in masks.items():
        parameter, pruned = weights[name].parameter, ~mask
        parameter.masked_fill_(pruned, 0.0)
        for value in optimizer.state.get(parameter, {}).values() if optimizer else ():
            if isinstance(value, Tensor) and value.shape == pruned.shape:
                value.masked_fill_(pruned, 0.0)


def check_zeros(module: nn.Module, masks: Masks) -> None:
    """Check that every pruned weight is zero.

    Raises:
        InternalError: one is not.
    """
    for name, weight in prunable_weights(module).items():
        if name in masks and weight.parameter.detach()[~masks[name]].any():
            raise InternalError(f"pruned weights of layer {name!r} are not zero any more")


def kept(masks: Masks, layers: Iterable[LayerSpec]) -> Kept:
    """Return what the masks keep of ``layers``."""
    layers = list(layers)
    shares = [_share(masks[layer.module]) if layer.module in masks else 1.0 for layer in layers]

    def share(sizes: list[int]) -> float:
        return sum(share * size for share, size in zip(shares, sizes, strict=True)) / max(1, sum(sizes))

    return Kept(weights=share([layer.params for layer in layers]), macs=share([layer.macs for layer in layers]))


def _share(mask: Tensor) -> float:
    return int(mask.sum()) / mask.numel()
