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
from prunemap.errors import InternalError, Problems
from prunemap.pruning.weights import PrunableWeight, prunable_weights
from prunemap.schemes import ArrayOps, make_mask, why_illegal

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


def check_choices(module: nn.Module, choices: Mapping[str, PlanLayer]) -> None:
    """Check that every layer can have what the plan says.

    Raises:
        UserError: some cannot; all such are listed.
    """
    weights, problems = prunable_weights(module), Problems("plan: it cannot be applied")
    for name, choice in choices.items():
        why = why_illegal(choice.scheme, choice.weight_shape, choice.density)
        if why is None and choice.density < 1 and weights[name].computed:
            why = "its weight is computed by a parametrization (such as weight norm); remove that first"
        if why is not None:
            problems.add(f"layer {name!r} {list(choice.weight_shape)}: {why}")
    problems.raise_if_any()


def make_masks(module: nn.Module, choices: Mapping[str, PlanLayer]) -> Masks:
    """Return the masks that prune the weights by magnitude; at least one group of every layer is kept.

    Args:
        choices: the plan's entry by the name of the weight.

    Raises:
        UserError: a layer cannot have its scheme at its density; all such are listed.
    """
    check_choices(module, choices)
    weights = prunable_weights(module)
    masks = {name: magnitude_mask(weights[name], choice, choice.density) for name, choice in choices.items()}
    return {name: mask for name, mask in masks.items() if not mask.all()}


def magnitude_mask(weight: PrunableWeight, choice: PlanLayer, density: float, values: Tensor | None = None) -> Tensor:
    """Return the mask of one weight, of the parameter's shape.

    Args:
        values: what the magnitudes are taken of, of the parameter's shape; None = the parameter.
    """
    seen = weight.seen((weight.parameter if values is None else values).detach())
    mask = torch.from_numpy(make_mask(seen.float().cpu().numpy(), choice.scheme, density))
    return weight.stored(mask).to(seen.device)


def apply_masks(module: nn.Module, masks: Masks, optimizer: Optimizer | None = None) -> None:
    """Set the pruned weights to zero, and what an optimizer remembers of them: momentum, averages of gradients."""
    with torch.no_grad():
        for name, weight in prunable_weights(module).items() if masks else ():
            if name in masks:
                pruned = ~masks[name]
                weight.parameter.masked_fill_(pruned, 0.0)
                for value in optimizer.state.get(weight.parameter, {}).values() if optimizer else ():
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
    shares = [float(masks[layer.module].float().mean()) if layer.module in masks else 1.0 for layer in layers]

    def share(sizes: list[int]) -> float:
        return sum(share * size for share, size in zip(shares, sizes, strict=True)) / max(1, sum(sizes))

    return Kept(weights=share([layer.params for layer in layers]), macs=share([layer.macs for layer in layers]))
