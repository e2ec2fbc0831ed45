"""Masks of the pruned layers of a torch module, made by the schemes of :mod:`prunemap.schemes`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunemap.core.layer import LayerSpec
from prunemap.core.plan import PlanLayer
from prunemap.errors import InternalError, Problems
from prunemap.pruning.layers import prunable_modules
from prunemap.schemes import ArrayOps, make_mask, why_illegal

Masks = Mapping[str, Tensor]
"""Module name → bool tensor of the weight's shape, True = kept. A layer that is not named keeps every weight."""


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


def make_masks(module: nn.Module, choices: Mapping[str, PlanLayer]) -> Masks:
    """Return the masks that prune the weights by magnitude; at least one group of every layer is kept.

    Args:
        choices: the plan's entry by module name.

    Raises:
        UserError: a layer cannot have its scheme at its density; all such are listed.
    """
    problems = Problems("plan: it cannot be applied")
    for name, choice in choices.items():
        why = why_illegal(choice.scheme, choice.weight_shape, choice.density)
        if why is not None:
            problems.add(f"layer {name!r} {list(choice.weight_shape)}: {why}")
    problems.raise_if_any()
    weights = {name: layer.weight for name, layer in prunable_modules(module).items()}
    masks = {
        name: torch.from_numpy(make_mask(weights[name].detach().cpu().numpy(), choice.scheme, choice.density))
        for name, choice in choices.items()
    }
    return {name: mask.to(weights[name].device) for name, mask in masks.items() if not mask.all()}


def apply_masks(module: nn.Module, masks: Masks) -> None:
    """Set the pruned weights to zero."""
    with torch.no_grad():
        for name, layer in prunable_modules(module).items():
            if name in masks:
                layer.weight.masked_fill_(~masks[name], 0.0)


def check_zeros(module: nn.Module, masks: Masks) -> None:
    """Check that every pruned weight is zero.

    Raises:
        InternalError: one is not.
    """
    for name, layer in prunable_modules(module).items():
        if name in masks and layer.weight.detach()[~masks[name]].any():
            raise InternalError(f"pruned weights of layer {name!r} are not zero any more")


def kept(masks: Masks, layers: Iterable[LayerSpec]) -> Kept:
    """Return what the masks keep of ``layers``."""
    layers = list(layers)
    shares = [float(masks[layer.module].float().mean()) if layer.module in masks else 1.0 for layer in layers]

    def share(sizes: list[int]) -> float:
        return sum(share * size for share, size in zip(shares, sizes, strict=True)) / max(1, sum(sizes))

    return Kept(weights=share([layer.params for layer in layers]), macs=share([layer.macs for layer in layers]))
